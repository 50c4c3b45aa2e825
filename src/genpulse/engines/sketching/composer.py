"""Puts a scene together: from what a prompt asks for, and from chance where it says nothing, to places and numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from genpulse.engines.sketching.land import Cover, Terrain
from genpulse.engines.sketching.light import HOURS, Light, under_weather
from genpulse.engines.sketching.noise import Rng
from genpulse.engines.sketching.sky import Heaven
from genpulse.engines.sketching.view import Camera
from genpulse.engines.sketching.vocabulary import Wish
from genpulse.engines.sketching.water import Water


class Chance:
    """Independent random numbers by name: what one part draws never shifts what another draws."""

    def __init__(self, prompt: str, seed: int) -> None:
        self._root = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()

    def of(self, name: str) -> Rng:
        digest = hashlib.sha256(self._root + name.encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True, slots=True)
class Grove:
    """Many plants of one kind."""

    kind: str
    count: int
    near: float
    far: float
    height: float
    clear: float = 0.0
    """Half-width of the middle that stays open, as a share of the picture."""
    spread: float = 1.25
    """How far to the sides, as a share of the picture's half-width."""
    clumping: float = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """One thing at a place in the picture: `column` is a share of the width."""

    kind: str
    column: float
    z: float
    size: float = 1.0
    afloat: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the painter needs."""

    camera: Camera
    light: Light
    heaven: Heaven
    terrain: Terrain
    cover: Cover
    water: Water | None
    weather: str
    season: str
    groves: tuple[Grove, ...] = ()
    standing: tuple[Standing, ...] = ()
    city: bool = False
    birds: bool = False
    blooms: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    sun_side: float = field(default=1.0)


def compose(wish: Wish, width: int, height: int, chance: Chance) -> Scene:
    """Decide everything."""
    rng = chance.of("composition")
    land, water = _place(wish, rng)
    hour = wish.hour or str(rng.choice(["sunset", "dawn", "day"], p=[0.45, 0.2, 0.35]))
    if "aurora" in wish.things or "stars" in wish.things:
        hour = hour if hour == "dusk" else "night"
    if wish.weather == "fog" and wish.hour is None:
        hour = "dawn"
    weather = wish.weather or str(rng.choice(["clear", "cloudy"], p=[0.4, 0.6]))
    season = wish.season or "summer"
    light = under_weather(HOURS[hour], weather)
    sun_at = float(rng.choice([0.31, 0.36, 0.64, 0.69]) + rng.normal(0, 0.02))
    camera = _camera(width, height, land, water, rng)
    heaven = Heaven(
        light=light,
        sun_at=sun_at,
        clouds=_clouds(wish, weather, hour, rng),
        stars=light.stars,
        moon=light.night or "moon" in wish.things,
        aurora="aurora" in wish.things,
        rainbow="rainbow" in wish.things,
        lightning="lightning" in wish.things or weather == "storm",
        veil=0.85 if weather == "fog" else (0.45 if weather in {"snow", "rain"} else 0.0),
    )
    terrain, cover = _ground(land, water, wish, season, sun_at, rng)
    return Scene(
        camera=camera,
        light=light,
        heaven=heaven,
        terrain=terrain,
        cover=cover,
        water=_water(water, wish, weather),
        weather=weather,
        season=season,
        groves=_groves(land, water, wish, season, rng),
        standing=_standing(wish, land, water, sun_at, rng),
        city="city" in land,
        birds="birds" in wish.things,
        blooms=wish.blooms or (("e8c23c", "e06a8a", "f2efe4") if "flowers" in wish.things else ()),
        colours=() if wish.blooms else wish.colours,
        sun_side=1.0 if sun_at > 0.5 else -1.0,
    )


def _place(wish: Wish, rng: Rng) -> tuple[frozenset[str], str | None]:
    """Which land and which water; the things asked for choose where nothing else does."""
    land, water = wish.land - {"valley"}, wish.water
    things = wish.things
    if water is None and things & {"lighthouse"}:
        water = "sea"
    if water is None and "boat" in things:
        water = "lake" if land else "sea"
    if not land and water is None:
        if "palm" in things:
            return frozenset({"meadow"}), "sea"
        if "cactus" in things:
            return frozenset({"desert"}), None
        if things & {"flowers", "windmill", "broadleaf"}:
            return frozenset({"meadow", "hills"}), None
        if "castle" in things:
            return frozenset({"hills", "mountains"}), None
        if "valley" in wish.land:
            return frozenset({"mountains", "meadow"}), "river"
        if "house" in things:
            return frozenset({"hills", "meadow"}), None
        choice = int(rng.integers(0, 3))
        return (
            (frozenset({"mountains", "forest"}), "lake"),
            (frozenset({"hills", "meadow"}), None),
            (frozenset({"mountains"}), "sea"),
        )[choice]
    if "valley" in wish.land and not land:
        land = frozenset({"mountains"})
    if water == "lake" and not land:
        land = frozenset({"mountains", "forest"})
    if water == "river" and not land:
        land = frozenset({"hills", "meadow"})
    if water == "lake" and "desert" in land:
        water = "lake"
    return land, water


def _camera(width: int, height: int, land: frozenset[str], water: str | None, rng: Rng) -> Camera:
    focal = 1.02 * (width * height) ** 0.5
    if water == "sea":
        share = 0.56 if not land else 0.54
    elif water == "lake":
        share = 0.52
    elif "mountains" in land or "volcano" in land:
        share = 0.63
    else:
        share = 0.58
    if width > height * 1.4:
        share += 0.03
    eye = 3.2 if water == "lake" else (5.0 if water == "sea" else (24.0 if "desert" in land else 4.4))
    return Camera(
        width, height, height * (share + float(rng.normal(0, 0.012))), eye + float(rng.uniform(-0.4, 0.6)), focal
    )


def _clouds(wish: Wish, weather: str, hour: str, rng: Rng) -> float:
    if weather in {"rain", "snow", "storm"}:
        return 0.98
    if weather == "fog":
        return 0.3
    if "aurora" in wish.things or "stars" in wish.things:
        return 0.12
    if weather == "clear":
        return 0.20 if hour != "night" else 0.14
    return float(rng.uniform(0.42, 0.58)) * (0.8 if hour == "night" else 1.0)


def _ground(
    land: frozenset[str], water: str | None, wish: Wish, season: str, sun_at: float, rng: Rng
) -> tuple[Terrain, Cover]:
    peaks = float(rng.uniform(1350, 1900))
    high = "mountains" in land
    hilly = "hills" in land or "forest" in land or "castle" in wish.things
    mountains: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    if high:
        start = 700 if water != "sea" else 900
        mountains = ((start * 0.55, 0), (start * 1.6, 420), (2800, 1150), (6000, 1750))
    hills = (
        (25, 0.6),
        (120, 5),
        (500, 42 if hilly else 16),
        (1500, 120 if hilly else 40),
        (5000, 240 if hilly else 90),
    )
    dunes: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    cover = "grass"
    if "desert" in land:
        dunes, cover = ((4, 0.5), (30, 5), (110, 20), (400, 52), (1500, 110), (6000, 210)), "sand"
        hills = ((30, 0.2), (600, 10), (5000, 90))
    elif "forest" in land:
        cover = "forest"
    elif "meadow" in land or "flowers" in wish.things:
        cover = "meadow"
    if "city" in land:
        cover = "rock"
    if water == "sea" and "palm" in wish.things:
        cover = "sand"
    base, bend, headland = _base(water, land, wish, sun_at, rng)
    if water == "sea" and not high:
        hills = ((1.0, 0.0),)
    snow_line = 1e9
    if high:
        snow_line = float(rng.uniform(330, 470)) if season != "summer" or rng.random() < 0.8 else 700.0
    terrain = Terrain(
        base=base,
        hills=hills,
        mountains=mountains,
        dunes=dunes,
        peaks=peaks,
        opening=0.55 if high and water else 0.4,
        river=water == "river",
        shore_bend=bend,
        canopy=4.0 if "forest" in land else 0.0,
        headland=headland,
        cone=1050.0 if "volcano" in land else 0.0,
        knoll=(0.30 if sun_at > 0.5 else 0.70, 420.0, 34.0) if "castle" in wish.things and water != "sea" else None,
    )
    return terrain, Cover(cover, season if season != "blossom" else "spring", snow_line)


def _base(
    water: str | None, land: frozenset[str], wish: Wish, sun_at: float, rng: Rng
) -> tuple[tuple[tuple[float, float], ...], float, float]:
    """Height by distance, how far the shore wanders, and a headland."""
    if water == "sea":
        side = -1.0 if sun_at > 0.5 else 1.0  # opposite the sun
        headland = side * (
            11.0 if wish.things & {"lighthouse", "castle", "house"} else (6.0 if rng.random() < 0.5 else 0.0)
        )
        if "city" in land:
            return ((2, -3), (170, -2), (215, 2.5), (3000, 6), (6000, 6)), 0.0, 0.0
        if "mountains" in land:
            return ((2, -3), (700, -6), (950, 2), (6000, 6)), 0.4, headland
        if {"palm"} & wish.things or "meadow" in land:
            return ((2, 2.6), (10, 2.0), (24, 0.7), (38, -0.8), (90, -3), (6000, -4)), 0.9, headland or side * 6.0
        return ((2, -2.5), (120, -3), (6000, -4)), 0.0, headland
    if water == "lake":
        if "city" in land:
            return ((2, -3), (150, -2), (185, 2.0), (3000, 6), (6000, 6)), 0.0, 0.0
        far = float(rng.uniform(190, 330))
        return ((2, 0.9), (5, 0.2), (8, -0.8), (far * 0.7, -2.2), (far, 0.6), (far * 2, 14), (6000, 30)), 0.9, 0.0
    if "desert" in land:
        return ((2, 0.4), (30, 0.5), (6000, 4)), 0.0, 0.0
    dip = ((2, 1.2), (30, 1.0), (150, -4 if "mountains" in land else 1.0), (700, 2), (6000, 20))
    return tuple((z, max(h, 0.8)) for z, h in dip), 0.0, 0.0


def _water(water: str | None, wish: Wish, weather: str) -> Water | None:
    if water is None:
        return None
    rough = {"sea": 0.42, "lake": 0.10, "river": 0.16}[water]
    if weather == "storm":
        rough = 1.0 if water == "sea" else 0.5
    elif weather in {"rain", "snow"}:
        rough += 0.12
    elif "calm" in wish.things:
        rough *= 0.4
    return Water(rough, {"sea": "1a5068", "lake": "1c4450", "river": "274c4c"}[water])


def _groves(land: frozenset[str], water: str | None, wish: Wish, season: str, rng: Rng) -> tuple[Grove, ...]:
    groves: list[Grove] = []
    things = wish.things
    leafy = "broadleaf" in things or wish.season in {"autumn", "blossom", "spring"}
    if "city" in land:
        return (Grove("broadleaf", 60, 20, 90, 8, clear=0.3),) if water is None else ()
    if "forest" in land:
        kind = "broadleaf" if leafy else "conifer"
        near = 13 if water is None else 18
        groves += [
            Grove(kind, 1300, 55, 900, 13, clear=0.0, clumping=0.2),
            Grove(kind, 60, near + 6, 60, 13, clear=0.3),
        ]
        if leafy:
            groves.append(Grove("conifer", 160, 120, 900, 14))
    elif "mountains" in land and water != "sea":
        kind = "broadleaf" if leafy else "conifer"
        groves += [Grove(kind, 520, 110, 900, 12, clumping=0.75), Grove(kind, 9, 24, 60, 11, clear=0.5)]
    elif "desert" not in land and water != "sea":
        groves += [Grove("broadleaf", 230, 70, 900, 10, clumping=0.85)]
    if "broadleaf" in things or wish.season in {"blossom", "autumn"}:
        groves.append(Grove("broadleaf", 9, 20, 70, 11, clear=0.22))
    if "palm" in things:
        groves.append(
            Grove("palm", 13, 13, 60, 9, clear=0.25) if water == "sea" else Grove("palm", 26, 22, 130, 9, clear=0.1)
        )
    if "cactus" in things or ("desert" in land and rng.random() < 0.25 and "palm" not in things):
        groves.append(Grove("cactus", 20, 16, 170, 5.5, clear=0.12))
    if "desert" not in land and water != "sea":
        groves.append(Grove("tuft", 120 if season == "winter" else 900, 4.5, 60, 0.55, clumping=0.3))
    return tuple(groves)


def _standing(wish: Wish, land: frozenset[str], water: str | None, sun_at: float, rng: Rng) -> tuple[Standing, ...]:
    things, standing = wish.things, list[Standing]()
    away = 0.30 if sun_at > 0.5 else 0.70
    if "lighthouse" in things:
        standing.append(Standing("lighthouse", away, 150.0))
    if "castle" in things:
        standing.append(Standing("castle", away, 420.0 if water != "sea" else 210.0, 1.9 if water != "sea" else 0.8))
    if "windmill" in things:
        standing += [Standing("windmill", away, 75.0), Standing("windmill", 1 - away * 0.9, 190.0)]
    if "house" in things and "city" not in land:
        if water == "sea" and "lighthouse" not in things:
            standing.append(Standing("house", away, 150.0, 1.3))
        elif water != "sea":
            far = 260.0 if water == "lake" else 62.0
            standing += [Standing("house", away, far, 1.5 if water == "lake" else 1.0)]
            standing += [
                Standing("house", float(rng.uniform(0.15, 0.85)), float(far * rng.uniform(1.4, 3))) for _ in range(4)
            ]
    if "boat" in things and water in {"sea", "lake"}:
        standing.append(Standing("boat", 1 - away + float(rng.uniform(-0.06, 0.06)), 52.0, afloat=True))
        standing += [
            Standing("boat", float(rng.uniform(0.1, 0.9)), float(rng.uniform(90, 170)), afloat=True) for _ in range(3)
        ]
    return tuple(standing)
