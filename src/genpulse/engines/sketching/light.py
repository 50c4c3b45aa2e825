"""Colours of the hours and of the weather: what the sky, the sun and the shadows look like. Linear RGB, hand-picked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genpulse.engines.sketching.noise import Field

Colour = tuple[float, float, float]


def rgb(code: str) -> Field:
    """A colour as a painter writes it (sRGB, hex) in linear light."""
    srgb = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255
    return (srgb**2.2).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a scene. `sky` goes from the zenith to the horizon."""

    sky: tuple[Field, ...]
    sun: Field
    sun_height: float
    """Of the sun's disc (or the moon's) above the horizon, as a share of the sky in the picture; below 0: not seen."""
    shade: Field
    """Light that reaches shadows, from the sky."""
    cloud_lit: Field
    cloud_dark: Field
    haze: float = 1.0
    """Density of the air's haze."""
    glow: float = 1.0
    stars: float = 0.0
    night: bool = False


def _light(sky: str, sun: str, sun_height: float, others: str, **more: float | bool) -> Light:
    """`others`: shade, lit and dark sides of clouds."""
    stops = tuple(rgb(code) for code in sky.split())
    return Light(stops, rgb(sun), sun_height, *(rgb(code) for code in others.split()), **more)  # pyright: ignore[reportArgumentType] - haze, glow, stars, night


HOURS: dict[str, Light] = {
    "dawn": _light("4a6aa5 8797bd e0b0a8 f8c79a ffdca8", "ffd2a0", 0.10, "6a7090 ffd9c0 7d7a9c", haze=1.5),
    "day": _light("2f6fc0 4f8fd6 86b6e6 b9d8ee dcebf2", "fff4e0", 0.72, "7d98c0 ffffff 93a5c0", haze=0.8, glow=0.5),
    "sunset": _light("2a3768 5d4f86 b5607c f08a5a ffc468", "ffab50", 0.07, "5c5478 ff9d66 5a4268", haze=1.2),
    "dusk": _light("141c42 2c3264 5c4780 a4607f e89a78", "ffb08a", -0.05, "3d3f6b c0708a 35305c", haze=1.2, stars=0.4),
    "night": _light("050a1e 0a1533 14264f 22406c 34587f", "c9d8ff", 0.62, "22345f 4d6690 101c3a", haze=0.9,
                    glow=0.55, stars=1.0, night=True),
}  # fmt: skip

_GREY = rgb("838d9a")


def under_weather(light: Light, weather: str) -> Light:
    """The same hour under clouds, rain, snow, fog or a storm."""
    if weather in {"clear", "cloudy"}:
        return light
    dull = {"rain": 0.55, "snow": 0.5, "fog": 0.6, "storm": 0.92}[weather]
    dark = {"rain": 0.62, "snow": 0.95, "fog": 0.95, "storm": 0.30}[weather]

    def grey(colour: Field, keep: float = 1.0) -> Field:
        level = float(colour.mean())
        target = _GREY * (level / float(_GREY.mean()))
        return (colour + (target - colour) * dull * keep) * np.float32(dark)

    return replace(
        light,
        sky=tuple(grey(colour) for colour in light.sky),
        sun=grey(light.sun) * np.float32(0.55),
        shade=grey(light.shade) * np.float32(1.25),
        cloud_lit=grey(light.cloud_lit),
        cloud_dark=grey(light.cloud_dark) * np.float32(0.8),
        haze=light.haze * {"rain": 2.2, "snow": 2.4, "fog": 7.0, "storm": 1.6}[weather],
        glow=light.glow * 0.25,
        stars=0.0,
    )
