"""The sky: gradient, sun or moon with its glow, stars, northern lights, clouds, a rainbow, lightning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from genpulse.engines.sketching.light import Light, rgb
from genpulse.engines.sketching.noise import Field, Noise, Rng, blur, mix, smoothstep
from genpulse.engines.sketching.view import Camera


@dataclass(frozen=True, slots=True)
class Heaven:
    """What the sky holds. `sun_at` is a column as a share of the width."""

    light: Light
    sun_at: float
    clouds: float
    """Cover, 0–1."""
    stars: float = 0.0
    moon: bool = False
    aurora: bool = False
    rainbow: bool = False
    lightning: bool = False
    veil: float = 0.0
    """How much of it fog hides, 0–1."""


def paint_sky(camera: Camera, heaven: Heaven, rng: Rng) -> Field:
    """The whole picture as sky, linear RGB."""
    light = heaven.light
    rows = np.arange(camera.rows, dtype=np.float32)[:, None]
    columns = np.arange(camera.width, dtype=np.float32)[None, :]
    up = np.clip((camera.horizon - rows) / max(camera.horizon, camera.rows * 0.35), 0, 1)
    sky = _gradient(light, up * np.ones_like(columns))
    distance = _sun_distance(camera, heaven, rows, columns)
    sky += _glow(light, distance)
    if heaven.stars:
        sky += _stars(camera, up, heaven.stars, rng)
    if heaven.aurora:
        sky += _aurora(camera, up, columns, rng)
    if heaven.rainbow:
        sky += _rainbow(camera, heaven, rows, columns)
    if light.sun_height > 0 and heaven.clouds < 0.9:
        sky = _disc(sky, camera, heaven, distance, rng)
    if heaven.clouds > 0:
        sky = _clouds(sky, camera, heaven, distance, rng)
    if heaven.lightning:
        sky += _lightning(camera, rng)
    if heaven.veil:
        low = sky[int(np.clip(camera.horizon, 1, camera.rows) - 1)].mean(axis=0)
        sky = mix(
            sky, low * np.ones_like(sky), np.clip(heaven.veil * (1.15 - up * 0.55), 0, 1) * np.ones_like(distance)
        )
    return sky


def sun_row(camera: Camera, light: Light) -> float:
    return camera.horizon * (1 - light.sun_height * 0.9)


def _sun_distance(camera: Camera, heaven: Heaven, rows: Field, columns: Field) -> Field:
    """From the sun, in units of the picture's size."""
    size = (camera.width * camera.rows) ** 0.5
    dx = (columns - heaven.sun_at * camera.width) / size
    dy = (rows - sun_row(camera, heaven.light)) / size
    return np.sqrt(dx * dx + dy * dy).astype(np.float32)


def _gradient(light: Light, up: Field) -> Field:
    stops = np.linspace(1, 0, len(light.sky)) ** 1.35
    channels = [np.interp(up, stops[::-1], [colour[c] for colour in light.sky][::-1]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _glow(light: Light, distance: Field) -> Field:
    near = np.exp(-distance * 14) * 0.6
    wide = np.exp(-distance * 3.6) * 0.42
    return ((near + wide) * np.float32(light.glow))[..., None] * light.sun


def _disc(sky: Field, camera: Camera, heaven: Heaven, distance: Field, rng: Rng) -> Field:
    size = (camera.width * camera.rows) ** 0.5
    radius = 0.034 if heaven.moon else (0.030 if heaven.light.sun_height < 0.3 else 0.022)
    edge = 1.2 / size
    disc = 1 - smoothstep(radius - edge, radius + edge, distance)
    if not heaven.moon:
        return mix(sky, heaven.light.sun * np.float32(3.2), disc)
    noise = Noise(rng)
    rows, columns = np.mgrid[0 : camera.rows, 0 : camera.width].astype(np.float32) / np.float32(size * 0.012)
    seas = smoothstep(0.05, 0.5, noise.fractal(columns, rows, 3))
    face = rgb("fff8e4") * (1.25 - 0.45 * seas)[..., None]
    return mix(sky, face.astype(np.float32), disc)


def _stars(camera: Camera, up: Field, amount: float, rng: Rng) -> Field:
    """Points of all magnitudes, denser along the band of the Milky Way."""
    height, width = camera.rows, camera.width
    noise = Noise(rng)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32((height * width) ** 0.5)
    tilt = rng.uniform(0.5, 1.1) * rng.choice([-1.0, 1.0])
    across = (columns - 0.5) * np.float32(np.cos(tilt)) + (rows - 0.28) * np.float32(np.sin(tilt))
    band = np.exp(-((across / 0.13) ** 2)) * (0.55 + 0.6 * noise.fractal(columns * 7, rows * 7, 4))
    band = np.clip(band, 0, 1) * np.float32(amount > 0.9)
    count = int(height * width * 0.0011 * amount)
    y, x = rng.integers(0, height, count), rng.integers(0, width, count)
    magnitude = rng.random(count, dtype=np.float32) ** 7
    keep = rng.random(count) < 0.45 + 0.55 * band[y, x]
    stars = np.zeros((height, width, 3), np.float32)
    tint = np.stack([0.8 + 0.3 * rng.random(count), np.full(count, 0.9), 0.85 + 0.3 * rng.random(count)], -1)
    stars[y[keep], x[keep]] = (tint * (0.05 + 1.5 * magnitude)[:, None])[keep]
    halo = blur(np.maximum(stars - 0.5, 0), 2.5) * 2.0
    milk = band[..., None] * (rgb("5f6aa8") * 0.13 + rgb("c79a86") * 0.05)
    return ((stars + halo) * smoothstep(0.02, 0.3, up)[..., None] + milk * smoothstep(0, 0.4, up)[..., None]).astype(
        np.float32
    )


def _aurora(camera: Camera, up: Field, columns: Field, rng: Rng) -> Field:
    """Curtains: a few bent lines, each shining upwards from its lower edge."""
    noise = Noise(rng)
    u = columns / np.float32(camera.width)
    glow = np.zeros((camera.rows, camera.width, 3), np.float32)
    for curtain in range(3):
        shift = np.float32(curtain * 7.3)
        edge = 0.24 + 0.17 * curtain + 0.16 * noise.fractal(u * 2.2 + shift, np.full_like(u, shift), 3)
        rays = 0.35 + 0.65 * noise.at(u * 70 + up * 5, np.full_like(u, shift) + up, curtain)
        above = up - edge
        body = np.where(above > 0, np.exp(-above * 5.5), np.exp(above * 60))
        strength = body * rays * (0.4 + 0.6 * noise.at(u * 3 + shift, np.full_like(u, 3.3), 5))
        high = np.clip(above * 2.4, 0, 1)[..., None]
        glow += strength[..., None] * (rgb("42f5a0") * (1 - high) + rgb("9a5cff") * high) * np.float32(0.8)
    return glow * smoothstep(0.02, 0.15, up)[..., None]


def _clouds(sky: Field, camera: Camera, heaven: Heaven, distance: Field, rng: Rng) -> Field:
    """A layer of clouds on a plane above, so that they grow small towards the horizon; brighter towards the sun."""
    light, noise = heaven.light, Noise(rng)
    step = 2  # clouds are soft: half the resolution is enough
    rows = np.arange(0, camera.rows, step, dtype=np.float32)[:, None]
    columns = np.arange(0, camera.width, step, dtype=np.float32)[None, :]
    elevation = np.clip((camera.horizon - rows) / camera.focal, 0, None) + 0.05
    x = (columns - camera.width / 2) / camera.focal / elevation * np.float32(1.25) + np.float32(rng.uniform(0, 99))
    z = np.float32(1.0) / elevation * np.ones_like(x) * np.float32(1.15) + np.float32(rng.uniform(0, 99))
    bend = noise.fractal(x * 0.6, z * 0.6, 2)
    x, z = x + bend * np.float32(0.5), z + bend * np.float32(0.4)
    thick = noise.fractal(x, z, 6, 0.55)
    towards = np.float32(0.16 if heaven.sun_at > 0.5 else -0.16)
    lit = np.clip(0.5 + (thick - noise.fractal(x + towards, z + np.float32(0.10), 4, 0.55)) * 1.9, 0, 1)
    threshold = 0.62 - 1.25 * heaven.clouds
    cover = smoothstep(threshold, threshold + 0.5, thick)
    cover, lit = _full(cover, sky.shape), _full(lit, sky.shape)
    shine = np.exp(-distance * 4.5) * light.glow
    dark = mix(light.cloud_dark * np.ones_like(sky), light.cloud_lit, (1 - cover) * 0.6)
    colour = mix(dark, light.cloud_lit * np.ones_like(sky), np.clip(lit + shine * 0.35 * (1.2 - cover), 0, 1))
    colour = colour + shine[..., None] * light.sun * (1 - cover)[..., None] * 0.8
    above = np.clip((camera.horizon - np.arange(camera.rows, dtype=np.float32)) / camera.horizon, 0, 1)[:, None]
    fade = smoothstep(0.0, 0.22, above) * np.float32(0.94)
    return mix(sky, colour.astype(np.float32), cover * fade)


def _full(values: Field, shape: tuple[int, ...]) -> Field:
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def _rainbow(camera: Camera, heaven: Heaven, rows: Field, columns: Field) -> Field:
    centre = (1 - heaven.sun_at) * camera.width
    size = camera.rows * 0.62
    radius = np.sqrt((columns - centre) ** 2 + (rows - camera.horizon * 1.12) ** 2) / np.float32(size)
    bow = np.zeros((*radius.shape, 3), np.float32)
    for index, code in enumerate(["ff4040", "ff9a3c", "fff04a", "4be06a", "46a4ff", "8a5cff"]):
        band = np.exp(-(((radius - 0.90 + index * 0.014) / 0.011) ** 2))
        bow += band[..., None] * rgb(code) * np.float32(0.38)
    return bow


def _lightning(camera: Camera, rng: Rng) -> Field:
    """A branching bolt and the light it throws on the clouds around it."""
    picture = Image.new("L", (camera.width, camera.rows), 0)
    draw = ImageDraw.Draw(picture)
    scale = camera.rows / 1024
    bolts = [(camera.width * rng.uniform(0.25, 0.75), 0.0, 1.0)]
    while bolts:
        x, y, strength = bolts.pop()
        while y < camera.horizon and strength > 0.15:
            nx, ny = x + rng.normal(0, 16 * scale), y + rng.uniform(8, 26) * scale
            draw.line([(x, y), (nx, ny)], fill=int(255 * strength), width=max(1, round(3.2 * strength * scale)))
            x, y = nx, ny
            if rng.random() < 0.07 and strength > 0.4:
                bolts.append((x, y, strength * 0.5))
            strength *= 1.0 if strength == 1.0 else 0.985
    bolt = np.asarray(picture, np.float32) / 255
    glow = blur(bolt, 12 * scale) * 2.5 + blur(bolt, 120 * scale) * 9
    return ((bolt * 2.2 + glow)[..., None] * rgb("c4ccff")).astype(np.float32)
