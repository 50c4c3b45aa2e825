"""What stands in a scene: groves of plants, and single things."""

from __future__ import annotations

from genpulse.engines.sketching.noise import Rng
from genpulse.engines.sketching.places import Place
from genpulse.engines.sketching.scene import Grove, Standing
from genpulse.engines.sketching.vocabulary import Wish


def groves_of(place: Place, wish: Wish, rng: Rng) -> tuple[Grove, ...]:
    """Plants, by what the land bears and what the prompt names."""
    land, things, groves = place.land, wish.things, list[Grove]()
    on_sea = place.water == "sea"
    if "city" in land:
        return () if place.water else (Grove("broadleaf", 60, 20, 90, 8, clear=0.3),)
    if not on_sea or "forest" in land:
        groves += _trees(place, wish)
    if "broadleaf" in things or place.season in {"blossom", "autumn"}:
        groves.append(Grove("broadleaf", 9, 20, 70, 11, clear=0.22))
    if "palm" in things and on_sea:
        groves.append(Grove("palm", 13, 13, 60, 9, clear=0.25))
    elif "palm" in things:
        groves.append(Grove("palm", 26, 22, 130, 9, clear=0.1))
    if "cactus" in things or ("desert" in land and rng.random() < 0.25 and "palm" not in things):
        groves.append(Grove("cactus", 20, 16, 170, 5.5, clear=0.12))
    if "desert" not in land and not on_sea:
        groves.append(Grove("tuft", 120 if place.snowed_in else 900, 4.5, 60, 0.55, clumping=0.3))
    return tuple(groves)


def _trees(place: Place, wish: Wish) -> list[Grove]:
    land = place.land
    leafy = "broadleaf" in wish.things or place.season in {"autumn", "blossom", "spring"}
    kind = "broadleaf" if leafy else "conifer"
    if "forest" in land:
        near = 24 if place.water else 19
        groves = [Grove(kind, 1300, 55, 900, 13, clumping=0.2), Grove(kind, 60, near, 60, 13, clear=0.3)]
        return [*groves, Grove("conifer", 160, 120, 900, 14)] if leafy else groves
    if "mountains" in land:
        return [Grove(kind, 520, 110, 900, 12, clumping=0.75), Grove(kind, 9, 24, 60, 11, clear=0.5)]
    return [] if "desert" in land else [Grove("broadleaf", 230, 70, 900, 10, clumping=0.85)]


def standing_of(place: Place, wish: Wish, rng: Rng) -> tuple[Standing, ...]:
    """Single things, the main one away from the sun."""
    things, away, on_sea = wish.things, place.away, place.water == "sea"
    standing: list[Standing] = []
    if "lighthouse" in things:
        standing.append(Standing("lighthouse", away, 150.0))
    if "castle" in things:
        standing.append(Standing("castle", away, 210.0, 0.8) if on_sea else Standing("castle", away, 420.0, 1.9))
    if "windmill" in things:
        standing += [Standing("windmill", away, 75.0), Standing("windmill", 1 - away * 0.9, 190.0)]
    if "house" in things and "city" not in place.land:
        standing += _houses(place, wish, rng)
    if "boat" in things and place.water in {"sea", "lake"}:
        standing.append(Standing("boat", 1 - away + float(rng.uniform(-0.06, 0.06)), 52.0, afloat=True))
        standing += [
            Standing("boat", float(rng.uniform(0.1, 0.9)), float(rng.uniform(90, 170)), afloat=True) for _ in range(3)
        ]
    return tuple(standing)


def _houses(place: Place, wish: Wish, rng: Rng) -> list[Standing]:
    if place.water == "sea":
        return [] if "lighthouse" in wish.things else [Standing("house", place.away, 150.0, 1.3)]
    far, size = (260.0, 1.5) if place.water == "lake" else (62.0, 1.0)
    others = [Standing("house", float(rng.uniform(0.15, 0.85)), float(far * rng.uniform(1.4, 3))) for _ in range(4)]
    return [Standing("house", place.away, far, size), *others]
