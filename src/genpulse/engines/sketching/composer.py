"""Puts a scene together: from what a prompt asks for, and from chance where it says nothing."""

from __future__ import annotations

from genpulse.engines.sketching.light import HOURS, under_weather
from genpulse.engines.sketching.noise import Rng
from genpulse.engines.sketching.places import Place, camera_at, choose, cover_of, terrain_of, water_of
from genpulse.engines.sketching.scene import Chance, Scene
from genpulse.engines.sketching.sky import Heaven
from genpulse.engines.sketching.things import groves_of, standing_of
from genpulse.engines.sketching.vocabulary import Wish

_MIXED_FLOWERS = ("e8c23c", "e06a8a", "f2efe4")
_VEIL = {"fog": 0.85, "snow": 0.45, "rain": 0.45}


def compose(wish: Wish, width: int, height: int, chance: Chance) -> Scene:
    """Decide everything."""
    rng = chance.of("composition")
    land, water = choose(wish, rng)
    hour, weather = _hour(wish, rng), wish.weather or str(rng.choice(["clear", "cloudy"], p=[0.4, 0.6]))
    sun_at = float(rng.choice([0.31, 0.36, 0.64, 0.69]) + rng.normal(0, 0.02))
    place = Place(land, water, wish.season or "summer", sun_at)
    light = under_weather(HOURS[hour], weather)
    things = wish.things
    heaven = Heaven(
        light=light,
        sun_at=sun_at,
        clouds=_clouds(wish, weather, hour, rng),
        stars=light.stars,
        moon=light.night or "moon" in things,
        aurora="aurora" in things,
        rainbow="rainbow" in things,
        lightning="lightning" in things or weather == "storm",
        veil=_VEIL.get(weather, 0.0),
    )
    return Scene(
        camera=camera_at(place, width, height, rng),
        light=light,
        heaven=heaven,
        terrain=terrain_of(place, wish, rng),
        cover=cover_of(place, wish, rng),
        water=water_of(place, wish, weather),
        weather=weather,
        season=place.season,
        groves=groves_of(place, wish, rng),
        standing=standing_of(place, wish, rng),
        city="city" in land,
        birds="birds" in things,
        blooms=wish.blooms or (_MIXED_FLOWERS if "flowers" in things else ()),
        colours=() if wish.blooms else wish.colours,
        sun_side=1.0 if sun_at > 0.5 else -1.0,
    )


def _hour(wish: Wish, rng: Rng) -> str:
    drawn = str(rng.choice(["sunset", "dawn", "day"], p=[0.45, 0.2, 0.35]))
    hour = wish.hour or ("dawn" if wish.weather == "fog" else drawn)
    return "night" if wish.things & {"aurora", "stars"} and hour != "dusk" else hour


def _clouds(wish: Wish, weather: str, hour: str, rng: Rng) -> float:
    """Cover, 0–1; a sky that is the subject stays open."""
    if weather in {"rain", "snow", "storm"}:
        return 0.98
    if weather == "fog":
        return 0.3
    if wish.things & {"aurora", "stars"}:
        return 0.12
    if weather == "clear":
        return 0.14 if hour == "night" else 0.20
    return float(rng.uniform(0.42, 0.58)) * (0.8 if hour == "night" else 1.0)
