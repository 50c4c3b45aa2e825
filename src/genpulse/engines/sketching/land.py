"""The ground: its shape as a function of place, and its colours by height, slope, season and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genpulse.engines.sketching.light import Light, rgb
from genpulse.engines.sketching.noise import Field, Noise, Rng, mix, smoothstep
from genpulse.engines.sketching.view import Grid

Profile = tuple[tuple[float, float], ...]
"""Values by distance: (z, value) pairs, linear in between."""


FLAT: Profile = ((1.0, 0.0),)


@dataclass(frozen=True, slots=True)
class Terrain:
    """What the ground is made of. All heights are metres over the water."""

    base: Profile
    hills: Profile = FLAT
    mountains: Profile = FLAT
    dunes: Profile = FLAT
    peaks: float = 900.0
    """Distance between peaks."""
    opening: float = 0.0
    """How much the mountains leave the middle of the picture open, 0–1."""
    river: bool = False
    shore_bend: float = 0.0
    """How far the shore wanders, in metres of height."""
    canopy: float = 0.0
    """Height of a forest's roof where it is too far for single trees."""
    headland: float = 0.0
    """A cape with this height at one side; the sign is the side."""
    knoll: tuple[float, float, float] | None = None
    """A round hill: its column as a share of the picture's width, its distance, its height."""
    cone: float = 0.0
    """Height of a volcano in the middle distance."""


@dataclass(frozen=True, slots=True)
class Cover:
    """What grows or lies on it."""

    ground: str = "grass"
    """grass, meadow, sand, forest, snow, rock."""
    season: str = "summer"
    snow_line: float = 1e9


def height_at(terrain: Terrain, noises: tuple[Noise, Noise], x: Field, z: Field) -> Field:
    """The ground's height."""
    large, fine = noises
    height = _profile(terrain.base, z)
    hills = _profile(terrain.hills, z)
    if terrain.shore_bend:
        height = height + large.fractal(x / 60, z / 60, 3) * terrain.shore_bend * smoothstep(4, 60, z)
    if hills.any():
        height = height + hills * (0.35 + large.fractal(x / 260, z / 260, 5, 0.46))
    if any(value for _, value in terrain.mountains):
        rise = _profile(terrain.mountains, z)
        slant = 1 - terrain.opening * np.exp(-((x / (0.32 * z)) ** 2))
        massif = 0.45 + 0.55 * large.at(x / (terrain.peaks * 2.2), z / (terrain.peaks * 2.2), 7)
        bend = fine.fractal(x / 500, z / 500, 3) * np.float32(90)
        height = height + rise * slant * massif * large.ridged(
            (x + bend) / terrain.peaks, (z - bend) / terrain.peaks, 6
        )
    if any(value for _, value in terrain.dunes):
        height = height + _profile(terrain.dunes, z) * _dunes(large, fine, x, z)
    if terrain.headland:
        height = height + _headland(terrain.headland, fine, x, z)
    if terrain.knoll:
        column, far, top = terrain.knoll
        away = np.hypot(x - (column - 0.5) * far, (z - far) * 0.8)
        height = height * (1 - np.exp(-((away / 90) ** 2))) + top * np.exp(-((away / 80) ** 2))
    if terrain.cone:
        r = np.hypot(x - 250, z - 2600) / 1500
        cone = np.clip(1 - r, 0, 1) ** 1.7 * terrain.cone
        crater = np.clip(terrain.cone * 0.82 - cone, None, 0) * 1.5
        height = height + cone + crater + fine.ridged(x / 300, z / 300, 4) * np.clip(cone, 0, 400) * 0.14
    if terrain.river:
        middle = 0.22 * z * np.sin(np.log(z) * 2.3 + 0.6) * np.exp(-z / 900) + 0.03 * z
        bank = np.abs(x - middle) - (2.0 + 0.035 * z)
        height = np.minimum(height, -0.6 + np.clip(bank, -3, None) * 0.16 + np.clip(bank, 0, None) ** 1.35 * 0.05)
    if terrain.canopy:
        roof = fine.fractal(x / 9, z / 9, 3) * terrain.canopy
        height = height + roof * smoothstep(1.0, 6.0, height) * smoothstep(60, 400, z)
    near = z < 110
    height[near] += fine.fractal(x[near] / 2.2, z[near] / 2.2, 4) * 0.10 * (1 - smoothstep(20, 110, z[near]))
    return height


def _profile(points: Profile, z: Field) -> Field:
    distances, values = zip(*points, strict=True)
    return np.interp(np.log(z), np.log(distances), values).astype(np.float32)


def _dunes(large: Noise, fine: Noise, x: Field, z: Field) -> Field:
    """Long crests across the wind, gentle on one side and steep on the other."""
    bend = large.fractal(x / 300, z / 300, 3) * np.float32(1.1) + fine.fractal(x / 80, z / 80, 2) * np.float32(0.12)
    phase = z / 230 + x / 125 + bend  # across the light, which comes from the side
    saw = phase - np.floor(phase)
    ridge = np.where(saw < 0.72, saw / 0.72, (1 - saw) / 0.28)
    ridge = ridge * ridge * (3 - 2 * ridge)
    return ridge * (0.55 + 0.6 * large.at(x / 500, z / 500, 3))


def _headland(height: float, fine: Noise, x: Field, z: Field) -> Field:
    side = np.sign(height)
    out = side * x - (18 + (z - 120) * 0.16) + fine.fractal(x / 40, z / 40, 4) * 16
    along = smoothstep(96, 122, z) * (1 - smoothstep(260, 420, z))
    rough = 0.75 + 0.35 * fine.fractal(x / 14, z / 14, 4)
    return smoothstep(-14, 20, out) * along * rough * np.float32(abs(height) + 4)


_GROUND = {
    "grass": ("41602c", "6c7f40"),
    "meadow": ("4a7030", "788f42"),
    "forest": ("20421f", "3d6430"),
    "sand": ("d9a566", "efc98d"),
    "snow": ("e4ecf5", "f8fbff"),
    "rock": ("6b625a", "8d8377"),
}
_SEASON = {"autumn": ("a8662a", "d79a3c"), "spring": ("527a38", "86a04c"), "winter": ("dfe8f2", "f6faff")}


def colours(grid: Grid, cover: Cover, rng: Rng) -> Field:
    """The ground's own colour at each sample of the grid."""
    noise = Noise(rng)
    low, high = _GROUND[cover.ground]
    if cover.ground in {"grass", "meadow", "forest"} and cover.season in _SEASON:
        low, high = _SEASON[cover.season]
    patches = np.clip(0.5 + noise.fractal(grid.x / 25, grid.z / 25, 5) * 0.9, 0, 1)
    colour = mix(rgb(low) * np.ones((*grid.x.shape, 3), np.float32), rgb(high), patches)
    steep = 1 - grid.normal[..., 1]
    if cover.ground != "sand":
        strata = noise.fractal(grid.x / 120, grid.height / 18, 3)
        rock = mix(rgb("5d5650") * np.ones_like(colour), rgb("958a7c"), np.clip(0.5 + strata * 0.6, 0, 1))
        bare = smoothstep(0.20, 0.42, steep + 0.10 * smoothstep(200, 700, grid.height))
        colour = mix(colour, rock, np.clip(bare, 0, 1))
        beach = (
            (1 - smoothstep(0.25, 0.9, grid.height)) * smoothstep(3, 12, grid.z) * (1 - smoothstep(500, 900, grid.z))
        )
        colour = mix(colour, rgb("b59b76"), beach * 0.85)
    line = cover.snow_line * (1 + 0.35 * noise.fractal(grid.x / 300, grid.z / 300, 4))
    snow = smoothstep(0.0, 0.22, (grid.height - line) / np.maximum(line, 1) + 0.1) * (1 - smoothstep(0.5, 0.74, steep))
    if cover.season == "winter":
        snow = np.maximum(snow, 1 - smoothstep(0.32, 0.6, steep))
    return mix(colour, rgb("f2f6fc"), snow).astype(np.float32)


def lit(grid: Grid, colour: Field, light: Light, sun_x: float) -> Field:
    """The ground under the light of the sun (or moon) and of the sky."""
    height = max(0.12, light.sun_height)
    # A sun in the picture shines towards us; it is turned sideways a little, since pure backlight shows no shapes.
    sun = np.array([(sun_x - 0.5) * 2.4 + (0.5 if sun_x > 0.5 else -0.5), 0.20 + height, 0.10], np.float32)
    sun /= np.linalg.norm(sun)
    direct = np.clip(grid.normal @ sun, 0, 1) ** 0.9
    open_sky = np.clip(0.55 + 0.45 * grid.normal[..., 1] - 0.35 * np.clip(grid.hollow, 0, 1), 0.1, 1)
    direct = direct * np.clip(1 - 0.8 * np.clip(grid.hollow, 0, 1), 0.2, 1)
    power = 0.55 if light.night else 1.35
    return colour * (light.shade * open_sky[..., None] * 1.0 + light.sun * direct[..., None] * np.float32(power))
