"""Paints a composed scene, from the sky to the finishing touches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genpulse.engines.sketching import buildings, plants, weather
from genpulse.engines.sketching.finish import tone
from genpulse.engines.sketching.land import colours, height_at, lit
from genpulse.engines.sketching.light import rgb
from genpulse.engines.sketching.noise import Field, Noise, mix, smoothstep
from genpulse.engines.sketching.scene import Chance, Grove, Scene
from genpulse.engines.sketching.sky import paint_sky
from genpulse.engines.sketching.sprites import Air, Placed, Sprite, place_all
from genpulse.engines.sketching.view import Grid, Seen, fetch, make_grid, see
from genpulse.engines.sketching.water import paint_water

_VARIANTS = 5
_HAZE_LENGTH = 6500.0

Step = Callable[[float, str], None]


class Painter:
    """One picture. `step` is told how far it is (0–1), and may raise to stop."""

    def __init__(self, scene: Scene, chance: Chance, step: Step) -> None:
        self._scene = scene
        self._chance = chance
        self._step = step
        self._grown: dict[str, list[Sprite]] = {}
        self._noises = _noises(chance)

    def paint(self) -> Field:
        """The picture, 0–1, ready for a file."""
        scene, camera = self._scene, self._scene.camera
        self._step(0.05, "painting the sky")
        sky = paint_sky(camera, scene.heaven, self._chance.of("sky"))
        air = self._air(sky)
        self._step(0.25, "shaping the land")
        grid = make_grid(camera, self._height, steps=int(np.clip(camera.rows * 0.95, 320, 1100)))
        ground = lit(grid, colours(grid, scene.cover, self._chance.of("ground")), scene.light, scene.heaven.sun_at)
        pieces = self._pieces()
        self._step(0.45, "painting the land")
        seen = see(camera, grid)
        picture = self._cover(sky, ground, seen, air)
        if scene.water is not None:
            wet = fetch(grid.height, seen)
            if ((wet <= 0) & ~seen.sky).any():
                self._step(0.6, "painting the water")
                mirror = self._mirror(sky, ground, grid, pieces, air)
                picture = self._water(picture, mirror, wet, seen, air)
        self._step(0.75, "placing things")
        place_all(picture, seen.depth, camera, pieces, air)
        self._step(0.88, "finishing")
        return self._finish(picture)

    # Land and water -----------------------------------------------------------------------------------------------

    def _height(self, x: Field, z: Field) -> Field:
        return height_at(self._scene.terrain, self._noises, x, z)

    def _air(self, sky: Field) -> Air:
        """The air between: it has the colour of the sky above the horizon, column by column."""
        row = int(np.clip(self._scene.camera.horizon - 0.02 * sky.shape[0], 1, sky.shape[0] - 2))
        band = sky[max(0, row - sky.shape[0] // 60) : row + 1].mean(axis=0)
        width = band.shape[0] // 24 * 2 + 1
        padded = np.pad(band, ((width // 2, width // 2), (0, 0)), mode="edge")
        sums = np.cumsum(np.concatenate([np.zeros((1, 3)), padded]), axis=0)
        mean = (sums[width:] - sums[:-width]) / width
        # Held back as a whole: cutting each channel by itself would turn a bright sun's haze green.
        mean /= np.maximum(1.0, mean.max(axis=-1, keepdims=True))
        return Air(mean.astype(np.float32), _HAZE_LENGTH / self._scene.light.haze)

    def _cover(self, sky: Field, ground: Field, seen: Seen, air: Air) -> Field:
        """The ground over the sky, behind the air between."""
        land = mix(fetch(ground, seen), air.colour[None] * np.ones_like(sky), air.hides(seen.depth))
        return np.where(seen.sky[..., None], sky, land).astype(np.float32)

    def _mirror(self, sky: Field, ground: Field, grid: Grid, pieces: list[Placed], air: Air) -> Field:
        """What the water mirrors: the land beyond its near shore, and what stands there."""
        camera = self._scene.camera.mirrored()
        wet = grid.height <= 0
        before_water = np.cumsum(wet, axis=0) == 0
        hidden = wet | before_water
        height = np.where(hidden, np.float32(-1e5), grid.height)
        seen = see(camera, Grid(grid.x, grid.z, height, grid.normal, grid.hollow))
        mirror = self._cover(sky, ground, seen, air)
        first_wet = float(np.where(wet.any(axis=0), grid.z[np.argmax(wet, axis=0), 0], 1e9).min())
        far = [piece for piece in pieces if piece.z > first_wet + 4]
        place_all(mirror, seen.depth, camera, far, air)
        return mirror

    def _water(self, picture: Field, mirror: Field, wet: Field, seen: Seen, air: Air) -> Field:
        """The picture with its water; `wet` is the ground's height, below 0 where water is."""
        scene = self._scene
        assert scene.water is not None  # noqa: S101 - the caller asked
        where = (wet <= 0) & ~seen.sky
        painted = paint_water(
            picture,
            mirror,
            where,
            scene.camera,
            scene.water,
            light=scene.light,
            sun_at=scene.heaven.sun_at,
            shallow=(1 - smoothstep(0.0, 0.9, -wet)) * (1 - smoothstep(140, 260, seen.depth)) * where,
            rng=self._chance.of("water"),
        )
        return mix(painted, air.colour[None] * np.ones_like(painted), air.hides(seen.depth / 2.5) * where)

    # Things -------------------------------------------------------------------------------------------------------

    def _pieces(self) -> list[Placed]:
        scene = self._scene
        pieces = [piece for grove in scene.groves for piece in self._grow(grove)]
        if scene.blooms:
            pieces += self._bloom()
        if scene.city:
            pieces += self._city()
        return pieces + self._standing()

    def _ground_at(self, x: Field, z: Field) -> Field:
        return self._height(x.astype(np.float32), np.maximum(z, 2.5).astype(np.float32))

    def _scatter(self, grove: Grove, rng: np.random.Generator) -> tuple[Field, Field, Field]:
        """Places on dry ground that isn't too steep, in clumps."""
        camera = self._scene.camera
        count = grove.count * 3
        z = (grove.near * (grove.far / grove.near) ** rng.random(count) ** 0.8).astype(np.float32)
        share = rng.uniform(-grove.spread, grove.spread, count)
        open_middle = np.abs(share) > grove.clear * np.clip(1.3 - z / 400, 0.0, 1.0) * 2
        x = (share * camera.width / 2 / camera.focal * z).astype(np.float32)
        base = self._ground_at(x, z)
        slope = np.abs(self._ground_at(x + 2, z) - base) / 2
        clump = self._noises[1].fractal(x / 45, z / 45, 3) * 0.8 + rng.normal(0, 0.25, count)
        keep = (base > 0.35) & (slope < 0.8) & open_middle & (clump > grove.clumping - 0.75)
        keep &= base < 330
        return x[keep][: grove.count], z[keep][: grove.count], base[keep][: grove.count]

    def _grow(self, grove: Grove) -> list[Placed]:
        rng = self._chance.of(f"grove {grove}")
        sprites = self._sprites(grove.kind)
        x, z, base = self._scatter(grove, rng)
        return [
            Placed(
                sprites[int(rng.integers(0, _VARIANTS))], float(xi), float(zi), float(bi) - 0.25,
                grove.height * float(rng.uniform(0.65, 1.3)), bool(rng.random() < 0.5), float(rng.uniform(0.78, 1.15)),
            )
            for xi, zi, bi in zip(x, z, base, strict=True)
        ]  # fmt: skip

    def _sprites(self, kind: str) -> list[Sprite]:
        """A few plants of a kind, grown once."""
        if kind not in self._grown:
            scene, rng = self._scene, self._chance.of(kind)
            grow = plants.GROW[kind]
            self._grown[kind] = [grow(scene.light, scene.season, scene.sun_side, rng) for _ in range(_VARIANTS)]
        return self._grown[kind]

    def _bloom(self) -> list[Placed]:
        scene, rng = self._scene, self._chance.of("flowers")
        sprites = [
            plants.flowers(scene.light, colour, scene.sun_side, rng) for colour in scene.blooms for _ in range(2)
        ]
        x, z, base = self._scatter(Grove("flowers", 1500, 5, 90, 0.8, clumping=0.45), rng)
        return [
            Placed(sprites[int(rng.integers(0, len(sprites)))], float(xi), float(zi), float(bi) - 0.03,
                   float(rng.uniform(0.55, 1.0)), bool(rng.random() < 0.5), float(rng.uniform(0.85, 1.15)))
            for xi, zi, bi in zip(x, z, base, strict=True)
        ]  # fmt: skip

    def _city(self) -> list[Placed]:
        """Rows of towers, tallest in the middle of the skyline."""
        scene, rng = self._scene, self._chance.of("city")
        towers = [buildings.tower(scene.light, scene.sun_side, rng) for _ in range(14)]
        centre = float(rng.uniform(0.38, 0.62)) * 2 - 1
        near = 235.0 if scene.water is not None else 180.0
        pieces: list[Placed] = []
        for row, z in enumerate((near, near * 1.35, near * 1.9, near * 2.7)):
            half = scene.camera.width / 2 / scene.camera.focal * z
            for share in np.arange(-1.25, 1.25, 0.085 - 0.008 * row):
                place = float(share + rng.normal(0, 0.02))
                rise = 0.45 + 1.0 * np.exp(-(((place - centre) / 0.45) ** 2))
                tall = float((26 + 30 * row) * rise * rng.uniform(0.55, 1.35))
                sprite = towers[int(rng.integers(0, len(towers)))]
                pieces.append(Placed(sprite, place * half, z + float(rng.uniform(-8, 8)), 1.5, tall))
        return pieces

    def _standing(self) -> list[Placed]:
        scene, camera, rng = self._scene, self._scene.camera, self._chance.of("things")
        pieces: list[Placed] = []
        for thing in scene.standing:
            sprite: Sprite = buildings.BUILD[thing.kind](scene.light, scene.sun_side, rng)
            x = (thing.column - 0.5) * camera.width / camera.focal * thing.z
            base = -0.15 if thing.afloat else float(self._ground_at(np.array([x]), np.array([thing.z]))[0]) - 0.3
            if not thing.afloat and base < 0.2:
                x, base = self._nearest_shore(x, thing.z)
            height = buildings.HEIGHTS[thing.kind] * thing.size
            pieces.append(Placed(sprite, x, thing.z, base, height, bool(rng.random() < 0.5)))
        return pieces

    def _nearest_shore(self, x: float, z: float) -> tuple[float, float]:
        """The highest ground at this distance that the picture shows."""
        camera = self._scene.camera
        half = camera.width / 2 / camera.focal * z * 0.86
        xs = np.linspace(-half, half, 240)
        heights = self._ground_at(xs, np.full_like(xs, z))
        best = int(np.argmax(np.minimum(heights, 60) - np.abs(xs - x) * 0.02))
        return float(xs[best]), max(0.0, float(heights[best]) - 0.3)

    # Finish -------------------------------------------------------------------------------------------------------

    def _finish(self, picture: Field) -> Field:
        scene, camera = self._scene, self._scene.camera
        if any(thing.kind == "lighthouse" for thing in scene.standing):
            picture += self._beam()
        if scene.birds:
            picture = weather.birds(picture, camera.horizon, scene.light, self._chance.of("birds"))
        if scene.weather in {"rain", "storm"}:
            picture = weather.rain(picture, scene.light, self._chance.of("rain"), heavy=scene.weather == "storm")
        elif scene.weather == "snow":
            picture = weather.snow(picture, scene.light, self._chance.of("snow"))
        asked = tuple(rgb(code) for code in scene.colours)
        return tone(picture, asked, self._chance.of("grain"), exposure=self._exposure())

    def _exposure(self) -> float:
        if self._scene.light.night:
            return 1.5
        return 0.82 if self._scene.season == "winter" and self._scene.light.sun_height > 0.3 else 1.1

    def _beam(self) -> Field:
        camera = self._scene.camera
        house = next(piece for piece in self._standing() if piece.sprite.aspect < 0.5)
        top = camera.horizon - (house.base + house.height * 0.83 - camera.height) * camera.focal / house.z
        column = camera.width / 2 + house.x * camera.focal / house.z
        return buildings.beam(camera.rows, camera.width, top, column, self._scene.light)


def _noises(chance: Chance) -> tuple[Noise, Noise]:
    """The random part of the ground's shape: large and fine."""
    rng = chance.of("shape")
    return Noise(rng), Noise(rng)
