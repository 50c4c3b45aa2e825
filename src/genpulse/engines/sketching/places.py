"""Where a scene is: which land and water, how the ground lies, where the camera stands."""

from __future__ import annotations

from dataclasses import dataclass

from genpulse.engines.sketching.land import FLAT, Cover, Profile, Terrain
from genpulse.engines.sketching.noise import Rng
from genpulse.engines.sketching.view import Camera
from genpulse.engines.sketching.vocabulary import Wish
from genpulse.engines.sketching.water import Water


@dataclass(frozen=True, slots=True)
class Place:
    """The land's and the water's kinds, the season, and the sun's column as a share of the width."""

    land: frozenset[str]
    water: str | None
    season: str
    sun_at: float

    @property
    def away(self) -> float:
        """The column for the main thing: on the other side than the sun."""
        return 0.30 if self.sun_at > 0.5 else 0.70

    @property
    def snowed_in(self) -> bool:
        return self.season == "winter"


_HOMES: tuple[tuple[frozenset[str], frozenset[str], str | None], ...] = (
    (frozenset({"palm"}), frozenset({"meadow"}), "sea"),
    (frozenset({"cactus"}), frozenset({"desert"}), None),
    (frozenset({"flowers", "windmill", "broadleaf"}), frozenset({"meadow", "hills"}), None),
    (frozenset({"castle"}), frozenset({"hills", "mountains"}), None),
    (frozenset({"house"}), frozenset({"hills", "meadow"}), None),
)
"""Where things are at home, for prompts that name no place."""
_ANYWHERE: tuple[tuple[frozenset[str], str | None], ...] = (
    (frozenset({"mountains", "forest"}), "lake"),
    (frozenset({"hills", "meadow"}), None),
    (frozenset({"mountains"}), "sea"),
)
_AROUND: dict[str, frozenset[str]] = {
    "lake": frozenset({"mountains", "forest"}),
    "river": frozenset({"hills", "meadow"}),
    "sea": frozenset(),
}
"""The land around waters that are named alone."""


def choose(wish: Wish, rng: Rng) -> tuple[frozenset[str], str | None]:
    """Which land and which water; the things asked for choose where nothing else does."""
    land, water, things = wish.land - {"valley"}, wish.water, wish.things
    if "valley" in wish.land and not land:
        land, water = frozenset({"mountains", "meadow"}), water or "river"
    if water is None and "lighthouse" in things:
        water = "sea"
    elif water is None and "boat" in things:
        water = "lake" if land else "sea"
    if land:
        return land, water
    if water is not None:
        return _AROUND[water], water
    for kinds, home, by in _HOMES:
        if things & kinds:
            return home, by
    return _ANYWHERE[int(rng.integers(0, len(_ANYWHERE)))]


def camera_at(place: Place, width: int, height: int, rng: Rng) -> Camera:
    """Stands by the water or on the land, over dunes; the horizon leaves room for what is tall."""
    land, water = place.land, place.water
    if water is not None:
        share = {"sea": 0.54 if land else 0.56, "lake": 0.52, "river": 0.60}[water]
        eye = {"sea": 5.0, "lake": 3.2, "river": 4.4}[water]
    else:
        share = 0.63 if land & {"mountains", "volcano"} else 0.58
        eye = 24.0 if "desert" in land else 4.4
    if width > height * 1.4:
        share += 0.03
    horizon = height * (share + float(rng.normal(0, 0.012)))
    return Camera(width, height, horizon, eye + float(rng.uniform(-0.4, 0.6)), 1.02 * (width * height) ** 0.5)


def terrain_of(place: Place, wish: Wish, rng: Rng) -> Terrain:
    """How the ground lies."""
    land, water = place.land, place.water
    high, desert = "mountains" in land, "desert" in land
    base, bend = _base(place, wish, rng)
    start = 900 if water == "sea" else 700
    return Terrain(
        base=base,
        hills=_hills(place, wish),
        mountains=((start * 0.55, 0), (start * 1.6, 420), (2800, 1150), (6000, 1750)) if high else FLAT,
        dunes=((4, 0.5), (30, 5), (110, 20), (400, 52), (1500, 110), (6000, 210)) if desert else FLAT,
        peaks=float(rng.uniform(1350, 1900)),
        opening=0.55 if high and water else 0.4,
        river=water == "river",
        shore_bend=bend,
        canopy=4.0 if "forest" in land else 0.0,
        headland=_headland(place, wish, rng) if water == "sea" and "city" not in land else 0.0,
        cone=1050.0 if "volcano" in land else 0.0,
        knoll=(place.away, 420.0, 34.0) if "castle" in wish.things and water != "sea" else None,
    )


def cover_of(place: Place, wish: Wish, rng: Rng) -> Cover:
    """What grows or lies on the ground."""
    land = place.land
    if "city" in land:
        ground = "rock"
    elif "desert" in land or (place.water == "sea" and "palm" in wish.things):
        ground = "sand"
    elif "forest" in land:
        ground = "forest"
    else:
        ground = "meadow" if "meadow" in land or "flowers" in wish.things else "grass"
    snow_line = float(rng.uniform(330, 470)) if "mountains" in land else 1e9
    return Cover(ground, "spring" if place.season == "blossom" else place.season, snow_line)


def water_of(place: Place, wish: Wish, weather: str) -> Water | None:
    """How rough the water is."""
    if place.water is None:
        return None
    rough = {"sea": 0.42, "lake": 0.10, "river": 0.16}[place.water]
    if weather == "storm":
        rough = 1.0 if place.water == "sea" else 0.5
    elif weather in {"rain", "snow"}:
        rough += 0.12
    elif "calm" in wish.things:
        rough *= 0.4
    return Water(rough, {"sea": "1a5068", "lake": "1c4450", "river": "274c4c"}[place.water])


def _hills(place: Place, wish: Wish) -> Profile:
    if place.water == "sea" and "mountains" not in place.land:
        return FLAT
    if "desert" in place.land:
        return ((30, 0.2), (600, 10), (5000, 90))
    if place.land & {"hills", "forest"} or "castle" in wish.things:
        return ((25, 0.6), (120, 5), (500, 42), (1500, 120), (5000, 240))
    return ((25, 0.6), (120, 5), (500, 16), (1500, 40), (5000, 90))


def _base(place: Place, wish: Wish, rng: Rng) -> tuple[Profile, float]:
    """Height by distance, and how far the shore wanders."""
    land = place.land
    if place.water == "sea":
        return _sea_bed(land, wish)
    if place.water == "lake":
        if "city" in land:
            return ((2, -3), (150, -2), (185, 2.0), (3000, 6), (6000, 6)), 0.0
        far = float(rng.uniform(190, 330))
        return ((2, 0.9), (5, 0.2), (8, -0.8), (far * 0.7, -2.2), (far, 0.6), (far * 2, 14), (6000, 30)), 0.9
    if "desert" in land:
        return ((2, 0.4), (30, 0.5), (6000, 4)), 0.0
    return ((2, 1.2), (30, 1.0), (150, 0.8 if "mountains" in land else 1.0), (700, 2), (6000, 20)), 0.0


def _sea_bed(land: frozenset[str], wish: Wish) -> tuple[Profile, float]:
    if "city" in land:
        return ((2, -3), (170, -2), (215, 2.5), (3000, 6), (6000, 6)), 0.0
    if "mountains" in land:
        return ((2, -3), (700, -6), (950, 2), (6000, 6)), 0.4
    if "palm" in wish.things or "meadow" in land:  # we stand on a beach
        return ((2, 2.6), (10, 2.0), (24, 0.7), (38, -0.8), (90, -3), (6000, -4)), 0.9
    return ((2, -2.5), (120, -3), (6000, -4)), 0.0


def _headland(place: Place, wish: Wish, rng: Rng) -> float:
    """Its height; the sign is its side. It carries what must not stand in the sea."""
    needed = bool(wish.things & {"lighthouse", "castle", "house"})
    height = 11.0 if needed else (6.0 if rng.random() < 0.5 or "palm" in wish.things else 0.0)
    return height if place.away > 0.5 else -height
