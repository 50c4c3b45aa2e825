"""Things that people built: houses, towers with lit windows, a lighthouse, boats, a castle, a windmill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from genpulse.engines.sketching.light import Light, rgb
from genpulse.engines.sketching.noise import Field, Rng
from genpulse.engines.sketching.sprites import Sprite, light_up

_WARM = "ffcf80"


class _Drawing:
    """Colours (painted as they are), how much sun each part gets, and lamps."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._planes = {"colour": Image.new("RGBA", (width, height), (0, 0, 0, 0)),
                        "tone": Image.new("L", (width, height), 0),
                        "lamp": Image.new("RGB", (width, height), (0, 0, 0))}  # fmt: skip
        self._pens = {name: ImageDraw.Draw(plane) for name, plane in self._planes.items()}

    def polygon(self, points: list[tuple[float, float]], colour: str, tone: float) -> None:
        self._pens["colour"].polygon(points, fill=f"#{colour}ff")
        self._pens["tone"].polygon(points, fill=_byte(tone))

    def box(  # noqa: PLR0917 - coordinates, as in Pillow
        self, x0: float, y0: float, x1: float, y1: float, colour: str, tone: float
    ) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, tone)

    def lamp(  # noqa: PLR0917 - coordinates, as in Pillow
        self, x0: float, y0: float, x1: float, y1: float, colour: str = _WARM, power: float = 1.0
    ) -> None:
        red, green, blue = (int(int(colour[i : i + 2], 16) * power) for i in (0, 2, 4))
        self._pens["lamp"].rectangle((x0, y0, x1, y1), fill=(red, green, blue))

    def lit(self, light: Light) -> Sprite:
        colour = np.asarray(self._planes["colour"], np.float32) / 255
        tone = np.asarray(self._planes["tone"], np.float32) / 255
        lamps = (np.asarray(self._planes["lamp"], np.float32) / 255) ** 2.2
        return light_up((colour[..., :3] ** 2.2).astype(np.float32), colour[..., 3], tone, light, lamps * 1.6)


def _byte(value: float) -> int:
    return int(255 * min(1.0, max(0.0, value)))


def lamps_on(light: Light) -> float:
    """How many windows are lit at this hour."""
    if light.night:
        return 0.62
    return (
        0.45
        if light.sun_height < 0.05 or float(light.shade.mean()) < 0.08
        else (0.22 if light.sun_height < 0.2 else 0.04)
    )


def tower(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """A tall building with two visible faces and a grid of windows."""
    width, height = int(rng.uniform(70, 140)), int(rng.uniform(240, 460))
    drawing = _Drawing(width, height)
    wall = str(rng.choice(["7f8794", "97928c", "6a7486", "a39a90", "5d6b80", "8b7f78"]))
    corner = width * rng.uniform(0.55, 0.8)
    top = height * rng.uniform(0.05, 0.16)
    left_tone, right_tone = 0.42 - 0.3 * sun_side, 0.42 + 0.3 * sun_side
    drawing.box(0, top, corner, height, wall, left_tone)
    drawing.box(corner, top + 4, width, height, wall, right_tone)
    crown = rng.random()
    if crown < 0.35:
        drawing.box(corner * 0.25, top * 0.45, corner * 0.8, top, wall, left_tone)
    if crown < 0.2:
        drawing.box(corner * 0.5, 0, corner * 0.5 + 2, top * 0.5, wall, 0.3)
    share, pitch_x, pitch_y = lamps_on(light), int(rng.uniform(7, 11)), int(rng.uniform(9, 14))
    for y in range(int(top) + 6, height - 6, pitch_y):
        for x in range(4, width - 5, pitch_x):
            if abs(x - corner) < 5:
                continue
            drawing.box(x, y, x + pitch_x * 0.5, y + pitch_y * 0.5, "3c4654", left_tone if x < corner else right_tone)
            if rng.random() < share:
                colour = str(rng.choice([_WARM, "ffe4b0", "ffb964", "cfe2ff"]))
                drawing.lamp(x, y, x + pitch_x * 0.5, y + pitch_y * 0.5, colour, rng.uniform(0.55, 1.0))
    return drawing.lit(light)


def house(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """A cottage with a pitched roof, a chimney and lit windows."""
    drawing = _Drawing(300, 230)
    wall = str(rng.choice(["e8dcc4", "c9a583", "8c5a3c", "d8d2cc"]))
    roof = str(rng.choice(["6b3a2c", "4a4744", "7d4b32"]))
    drawing.box(208, 20, 228, 80, "6e5148", 0.4)
    drawing.polygon([(10, 118), (70, 40), (250, 40), (290, 118)], roof, 0.45 + 0.25 * sun_side)
    drawing.box(26, 116, 110, 230, wall, 0.45 - 0.3 * sun_side)
    drawing.polygon([(26, 116), (68, 52), (110, 116)], wall, 0.45 - 0.3 * sun_side)
    drawing.box(110, 116, 276, 230, wall, 0.45 + 0.3 * sun_side)
    drawing.box(178, 160, 208, 230, "5a3b28", 0.4)
    for x, y in ((50, 150), (130, 150), (226, 150)):
        drawing.box(x, y, x + 30, y + 34, "39424e", 0.3)
        if rng.random() < 0.35 + lamps_on(light):
            drawing.lamp(x + 2, y + 2, x + 28, y + 32, power=0.95)
    return drawing.lit(light)


def lighthouse(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """A white tower with red bands, a gallery and its lamp."""
    del rng
    width, height = 150, 480
    drawing = _Drawing(width, height)
    for strip in range(24):
        t0, t1 = strip / 24, (strip + 1) / 24
        side = (t0 + t1) - 1
        round_tone = 0.55 + 0.45 * side * sun_side - 0.15 * abs(side)
        for band in range(6):
            y0, y1 = 110 + band * 61.7, 110 + (band + 1) * 61.7
            x0, x1 = _tapered(y0, t0), _tapered(y0, t1)
            x2, x3 = _tapered(y1, t1), _tapered(y1, t0)
            drawing.polygon([(x0, y0), (x1, y0), (x2, y1), (x3, y1)], "b8372e" if band % 2 else "f3efe6", round_tone)
    drawing.box(36, 100, 114, 110, "3a3a3c", 0.5)
    drawing.box(52, 58, 98, 100, "4a5058", 0.5)
    drawing.polygon([(44, 58), (75, 22), (106, 58)], "8f2b25", 0.55 + 0.2 * sun_side)
    drawing.box(74, 8, 77, 24, "3a3a3c", 0.5)
    drawing.lamp(56, 62, 94, 96, "fff0b8", 1.0)
    drawing.box(68, 420, 84, 470, "4a3426", 0.4)
    for y in (200, 320):
        drawing.box(70, y, 82, y + 20, "3c4654", 0.4)
    return drawing.lit(light)


def _tapered(y: float, t: float) -> float:
    half = 33 + (y - 110) / 370 * 26
    return 75 + (t * 2 - 1) * half


def sailboat(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """A hull with two sails."""
    drawing = _Drawing(260, 330)
    hull = str(rng.choice(["5b3a29", "e9e4da", "2f4a6b", "8d2f2a"]))
    sail = str(rng.choice(["f6efe0", "f6efe0", "d98f5c", "c9473a"]))
    drawing.box(128, 10, 132, 290, "5a4634", 0.5)
    drawing.polygon([(136, 20), (136, 268), (232, 262)], sail, 0.62 + 0.3 * sun_side)
    drawing.polygon([(124, 44), (124, 266), (44, 272)], sail, 0.62 - 0.15 * sun_side)
    drawing.polygon([(20, 284), (244, 280), (216, 328), (52, 328)], hull, 0.45 + 0.2 * sun_side)
    drawing.polygon([(20, 284), (244, 280), (242, 289), (22, 293)], "d8c7a8", 0.6)
    return drawing.lit(light)


def castle(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """Walls, battlements and pointed towers."""
    drawing = _Drawing(460, 380)
    stone, roof = "a1978a", str(rng.choice(["4d5a78", "7a3d36", "3f4a5c"]))
    towers = [(40, 150, 58), (150, 40, 74), (270, 100, 60), (370, 170, 52)]
    drawing.box(50, 240, 410, 380, stone, 0.42)
    for x in range(50, 410, 22):
        drawing.box(x, 228, x + 12, 242, stone, 0.42)
    for x, top, width in towers:
        for strip in range(10):
            side = strip / 9 * 2 - 1
            drawing.box(x + strip * width / 10, top + 60, x + (strip + 1) * width / 10 + 1, 380, stone,
                        0.42 + 0.4 * side * sun_side)  # fmt: skip
        drawing.polygon([(x - 8, top + 62), (x + width / 2, top - 34), (x + width + 8, top + 62)], roof,
                        0.45 + 0.2 * sun_side)  # fmt: skip
        for y in range(top + 90, 350, 62):
            drawing.box(x + width / 2 - 5, y, x + width / 2 + 5, y + 20, "2e3440", 0.3)
            if rng.random() < lamps_on(light) + 0.15:
                drawing.lamp(x + width / 2 - 4, y + 1, x + width / 2 + 4, y + 19)
    drawing.polygon([(206, 380), (206, 330), (230, 300), (254, 330), (254, 380)], "3a2c22", 0.3)
    return drawing.lit(light)


def windmill(light: Light, sun_side: float, rng: Rng) -> Sprite:
    """A tower mill with four sails."""
    drawing = _Drawing(400, 440)
    for strip in range(16):
        side = strip / 15 * 2 - 1
        x0, x1 = 200 + side * 38, 200 + (side + 0.14) * 38
        drawing.polygon([(x0, 150), (x1, 150), (200 + (side + 0.14) * 70, 440), (200 + side * 70, 440)], "d9cdb8",
                        0.5 + 0.4 * side * sun_side)  # fmt: skip
    drawing.polygon([(152, 156), (200, 96), (248, 156)], "5f4033", 0.5 + 0.2 * sun_side)
    turn = rng.uniform(0.2, 0.7)
    for sail in range(4):
        angle = turn + sail * np.pi / 2
        ax, ay = np.cos(angle), np.sin(angle)
        for part in range(12):
            r = 30 + part * 12
            x, y = 200 + ax * r, 150 + ay * r
            drawing.polygon([(x, y), (x - ay * 30, y + ax * 30), (x - ay * 30 + ax * 9, y + ax * 30 + ay * 9),
                             (x + ax * 9, y + ay * 9)], "efe6d2", 0.7)  # fmt: skip
        drawing.polygon([(200 - ay * 2, 150 + ax * 2), (200 + ax * 178, 150 + ay * 178),
                         (200 + ax * 178 + ay * 4, 150 + ay * 178 - ax * 4), (200 + ay * 3, 150 - ax * 3)],
                        "5a4634", 0.5)  # fmt: skip
    drawing.box(188, 390, 212, 440, "5a3b28", 0.4)
    return drawing.lit(light)


BUILD: dict[str, Callable[[Light, float, Rng], Sprite]] = {
    "house": house,
    "lighthouse": lighthouse,
    "boat": sailboat,
    "castle": castle,
    "windmill": windmill,
    "tower": tower,
}
HEIGHTS = {"house": 7.0, "lighthouse": 30.0, "boat": 9.0, "castle": 48.0, "windmill": 17.0, "tower": 90.0}


def beam(height: int, width: int, row: float, column: float, light: Light) -> Field:
    """The lighthouse's beam, both ways, where it is dark enough to be seen."""
    strength = 0.0 if light.sun_height > 0.3 and not light.night else (0.5 if light.night else 0.16)
    rows = (np.arange(height, dtype=np.float32)[:, None] - row) / height
    columns = (np.arange(width, dtype=np.float32)[None, :] - column) / height
    spread = 0.012 + 0.10 * np.abs(columns)
    tilt = rows - columns * 0.06
    shaft = np.exp(-((tilt / spread) ** 2)) * np.exp(-np.abs(columns) * 2.4) * strength
    halo = np.exp(-np.hypot(rows, columns) * 26) * (strength + 0.25) * 2
    return ((shaft + halo)[..., None] * rgb("ffe9b0")).astype(np.float32)
