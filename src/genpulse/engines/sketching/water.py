"""Lakes, rivers and the sea: a mirror that waves bend, deep water under it, the sun's path on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genpulse.engines.sketching.light import Light, rgb
from genpulse.engines.sketching.noise import Field, Noise, Rng, lookup, mix, smoothstep
from genpulse.engines.sketching.view import Camera


@dataclass(frozen=True, slots=True)
class Water:
    """How rough it is: 0 a mirror, 1 a storm."""

    rough: float = 0.25
    colour: str = "1d4c5a"


def paint_water(
    picture: Field,
    mirror: Field,
    where: NDArray[np.bool_],
    camera: Camera,
    water: Water,
    *,
    light: Light,
    sun_at: float,
    shallow: Field,
    rng: Rng,
) -> Field:
    """The picture with its water painted.

    Args:
        mirror: the mirrored camera's picture, upright.
        shallow: 1 at the shore, 0 where it is deep.
    """
    noise = Noise(rng)
    first = int(np.argmax(where.any(axis=1)))
    rows = np.arange(first, camera.rows, dtype=np.float32)[:, None]
    columns = np.arange(camera.width, dtype=np.float32)[None, :]
    z = camera.height * camera.focal / np.maximum(rows - camera.horizon, 0.35)
    x = (columns - camera.width / 2) / camera.focal * z
    z = z * np.ones_like(x)
    slope_x, slope_z, crest = _waves(noise, x, z, water.rough)
    # Far waves are smaller than a pixel: their slopes average out, the mirror only blurs upwards.
    reach = np.float32(camera.focal * 0.16)
    bent_rows = 2 * camera.horizon - rows - np.abs(slope_z) * reach * 0.9 - slope_z * reach * 0.5
    bent_columns = columns + slope_x * reach * 0.6
    reflected = lookup(mirror, bent_rows, bent_columns * np.ones_like(bent_rows))
    away = camera.height / np.sqrt(z * z + camera.height**2)
    facing = np.clip(away + slope_z * 0.35, 0, 1)
    strength = 0.10 + 0.86 * (1 - facing) ** 3.2
    ambient = light.shade * 0.75 + light.sun * (0.05 if light.night else 0.28)
    deep = rgb(water.colour) * ambient * np.float32(1.2)
    body = mix(deep * np.ones_like(reflected), rgb("5fa39a") * ambient, shallow[first:] * 0.7)
    body = body * (1 + 0.55 * crest[..., None])
    painted = mix(body, reflected, strength)
    painted += _sun_path(camera, light, sun_at, noise, columns=columns, x=x, z=z, slope_x=slope_x)
    if water.rough > 0.45:
        foam = smoothstep(0.62, 0.95, crest + noise.fractal(x / 1.7, z / 1.7, 3) * 0.35) * smoothstep(0.4, 1, z / 12)
        painted = mix(painted, (ambient * 1.1 + 0.03) * np.ones_like(painted), foam * np.float32(water.rough))
    edge = smoothstep(0.72, 0.97, shallow[first:] + noise.fractal(x / 2.5, z / 2.5, 3) * 0.14)
    painted = mix(painted, (light.shade * 0.8 + light.sun * 0.45) * np.ones_like(painted), edge * 0.5)
    picture = picture.copy()
    picture[first:] = np.where(where[first:, :, None], painted, picture[first:])
    return picture


def _waves(noise: Noise, x: Field, z: Field, rough: float) -> tuple[Field, Field, Field]:
    """Slopes along x and z, and the height of the crests (about ±1)."""
    slope_x, slope_z = np.zeros_like(x), np.zeros_like(x)
    crest = np.zeros_like(x)
    for octave, (size, weight) in enumerate([(9.0, 1.0), (3.1, 0.8), (1.05, 0.6), (0.4, 0.4)]):
        u, v = x / (size * 2.6), z / size
        seen = np.clip(size * 55 / z, 0, 1)  # smaller than a pixel far away
        here = noise.at(u, v, octave)
        step = np.float32(0.12)
        slope_z += (noise.at(u, v + step, octave) - here) * seen * np.float32(weight * 3.2)
        slope_x += (noise.at(u + step, v, octave) - here) * seen * np.float32(weight * 1.6)
        if octave < 3:
            crest += (here * 2 - 1) * seen * np.float32(weight * 0.55)
    strength = np.float32(0.12 + 0.9 * rough)
    return slope_x * strength, slope_z * strength, crest * np.float32(min(1.0, 0.3 + rough))


def _sun_path(
    camera: Camera, light: Light, sun_at: float, noise: Noise, *, columns: Field, x: Field, z: Field, slope_x: Field
) -> Field:
    """Sparkles between us and a low sun."""
    if light.sun_height <= 0 or light.glow < 0.3:
        return np.zeros((*x.shape, 3), np.float32)
    offset = (columns - sun_at * camera.width) / camera.width + slope_x * 0.25
    width = 0.020 + 0.09 * np.exp(-z / 60)
    path = np.exp(-((offset / width) ** 2))
    sparkle = smoothstep(0.50, 0.86, noise.at(x / 0.9, z / 0.35, 6) * 0.6 + noise.at(x / 3, z / 1.2, 7) * 0.5)
    far = smoothstep(60, 400, z) * 0.28
    strength = path * (sparkle * 1.2 + far) * light.glow * (0.55 if light.night else 0.9)
    return (strength[..., None] * light.sun).astype(np.float32)
