"""Trees, palms, cacti, bushes and flowers: a handful of each kind is grown from random numbers, then placed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from genpulse.engines.sketching.light import Light, rgb
from genpulse.engines.sketching.noise import Field, Rng
from genpulse.engines.sketching.sprites import Sprite, light_up

_SIZE = 384
_LEAVES = {
    "summer": ("2f5a26", "4d7a30"),
    "spring": ("5c8f3a", "8ab852"),
    "autumn": ("b5521c", "e0a02e"),
    "winter": ("7d7a78", "aaa6a2"),
    "blossom": ("e79ab8", "fbd3e0"),
}
_BARK = "4a3a2c"


class _Canvas:
    """Three planes drawn together: outline, which colour (0–1 between two), light."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._planes = [Image.new("L", self.size, 0) for _ in range(3)]
        self._pens = [ImageDraw.Draw(plane) for plane in self._planes]

    def polygon(self, points: list[tuple[float, float]], hue: float, tone: float) -> None:
        for pen, value in zip(self._pens, (1.0, hue, tone), strict=True):
            pen.polygon(points, fill=int(255 * min(1.0, max(0.0, value))))

    def ellipse(  # noqa: PLR0917 - coordinates, as in Pillow
        self, x: float, y: float, rx: float, ry: float, hue: float, tone: float
    ) -> None:
        for pen, value in zip(self._pens, (1.0, hue, tone), strict=True):
            pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=int(255 * min(1.0, max(0.0, value))))

    def line(  # noqa: PLR0917 - coordinates, as in Pillow
        self, x0: float, y0: float, x1: float, y1: float, width: float, hue: float, tone: float
    ) -> None:
        for pen, value in zip(self._pens, (1.0, hue, tone), strict=True):
            fill = int(255 * min(1.0, max(0.0, value)))
            pen.line((x0, y0, x1, y1), fill=fill, width=max(1, round(width)))

    def planes(self) -> list[Field]:
        soft = self._planes[0].filter(ImageFilter.GaussianBlur(0.8))
        return [np.asarray(plane, np.float32) / 255 for plane in (soft, *self._planes[1:])]


def _finish(canvas: _Canvas, low: str, high: str, light: Light, rng: Rng) -> Sprite:
    alpha, hue, tone = canvas.planes()
    grain = rng.normal(0, 0.06, alpha.shape).astype(np.float32)
    hue = np.clip(hue + grain, 0, 1)[..., None]
    bark = rgb(_BARK)
    albedo = np.where(hue < 0.06, bark, rgb(low) + (rgb(high) - rgb(low)) * hue)
    return light_up(albedo.astype(np.float32), alpha, np.clip(tone + grain, 0, 1), light)


def conifer(light: Light, season: str, sun_side: float, rng: Rng) -> Sprite:
    """A spruce: tiers of drooping branches, darker inside."""
    del season  # evergreen
    width, height = _SIZE // 2, _SIZE
    canvas = _Canvas(width, height)
    middle, lean = width / 2, rng.normal(0, 3)
    canvas.line(middle, height, middle + lean, height * 0.1, 7, 0.0, 0.3)
    slim = rng.uniform(0.30, 0.44)
    y = height * 0.02
    while y < height * 0.95:
        share = y / height
        reach = slim * width * (0.04 + share**0.85) * rng.uniform(0.75, 1.15)
        drop = 5 + reach * 0.38
        for _ in range(3 + int(share * 9)):
            side = rng.uniform(-1, 1)
            tip_x, tip_y = middle + lean * (1 - share) + side * reach, y + drop * (0.4 + abs(side))
            tone = 0.42 + 0.38 * side * sun_side + rng.normal(0, 0.12) - 0.15 * (1 - abs(side))
            hue = 0.15 + 0.5 * abs(side) * rng.random()
            base_x = middle + lean * (1 - share)
            canvas.polygon(
                [(base_x, y - 5), (tip_x, tip_y), (tip_x - side * reach * 0.25, tip_y + 5), (base_x, y + drop * 0.7)],
                max(hue, 0.08), tone,
            )  # fmt: skip
        y += 3.5 + share * 9 * rng.uniform(0.7, 1.3)
    return _finish(canvas, "1c3a24", "3c6138", light, rng)


def broadleaf(light: Light, season: str, sun_side: float, rng: Rng) -> Sprite:
    """An oak or a cherry: a crown of leaf clumps on forked branches; bare in winter."""
    width = height = _SIZE
    canvas = _Canvas(width, height)
    skeleton = _Skeleton(canvas, rng)
    skeleton.grow(width / 2, height, -math.pi / 2 + rng.normal(0, 0.06), height * 0.26, 6)
    tips = skeleton.tips
    if season != "winter":
        top = min(y for _, y in tips)
        bottom = max(y for _, y in tips)
        clumps = [
            (x + rng.normal(0, 13), y + rng.normal(0, 11)) for x, y in tips for _ in range(max(2, 240 // len(tips)))
        ]
        clumps.sort(key=lambda at: -at[1])
        for x, y in clumps:
            if x < 8 or x > width - 8 or y < 8:
                continue
            up = 1 - (y - top) / max(1.0, bottom - top)
            tone = 0.22 + 0.42 * up + 0.28 * sun_side * (x / width * 2 - 1) + rng.normal(0, 0.10)
            radius = rng.uniform(4, 12)
            canvas.ellipse(x, y, radius, radius * 0.8, rng.uniform(0.1, 1.0), tone)
            for _ in range(6):
                canvas.ellipse(x + rng.normal(0, 11), y + rng.normal(0, 9), 2.4, 2.0, rng.uniform(0.2, 1.0), tone + 0.1)
    low, high = _LEAVES[season]
    return _finish(canvas, low, high, light, rng)


class _Skeleton:
    """The branches of a broadleaf; leaves go to its tips."""

    def __init__(self, canvas: _Canvas, rng: Rng) -> None:
        self.tips: list[tuple[float, float]] = []
        self._canvas = canvas
        self._rng = rng

    def grow(self, x: float, y: float, angle: float, length: float, depth: int) -> None:
        rng, width = self._rng, 13.0 * 0.64 ** (6 - depth)
        x1, y1 = x + math.cos(angle) * length, y + math.sin(angle) * length
        self._canvas.line(x, y, x1, y1, width, 0.0, 0.35 + 0.2 * rng.random())
        if depth <= 3:
            self.tips.append((x1, y1))
        if depth == 0:
            return
        for _ in range(2 if depth != 4 else 3):
            turn = rng.normal(0, 0.25) + rng.choice([-0.45, 0.45])
            self.grow(x1, y1, angle + turn, length * rng.uniform(0.62, 0.8), depth - 1)


def palm(light: Light, season: str, sun_side: float, rng: Rng) -> Sprite:
    """A bent trunk and a crown of fronds."""
    del season
    width, height = int(_SIZE * 0.8), _SIZE
    canvas = _Canvas(width, height)
    bend = rng.uniform(-0.16, 0.16) * width
    top_x, top_y = width / 2 + bend, height * 0.27
    for part in range(24):
        t = part / 24
        x = width / 2 + bend * t * t
        y = height - (height - top_y) * t
        canvas.ellipse(x, y, 8 - 3.5 * t, 9, 0.0, 0.35 + 0.3 * rng.random())
    for frond in range(15):
        angle = frond / 15 * 2 * math.pi + rng.normal(0, 0.15)
        length = rng.uniform(0.30, 0.42) * width
        x, y, direction = top_x, top_y, math.sin(angle) * 0.9 - 0.5
        flat = math.cos(angle)
        for step in range(16):
            t = step / 16
            x += flat * length / 16
            y += (direction + t * 1.9) * length / 16
            leaf = 14 * math.sin(math.pi * min(1.0, t + 0.12))
            tone = 0.42 + 0.3 * flat * sun_side + rng.normal(0, 0.08) - 0.12 * t
            canvas.line(x, y, x + flat * 7, y + leaf, 2.6, rng.uniform(0.2, 0.9), tone)
            canvas.line(x, y, x + flat * 9, y - leaf * 0.25, 2.2, rng.uniform(0.2, 0.9), tone + 0.15)
    return _finish(canvas, "355a28", "6f9440", light, rng)


def cactus(light: Light, season: str, sun_side: float, rng: Rng) -> Sprite:
    """A saguaro with one to three arms."""
    del season
    width, height = _SIZE // 2, _SIZE
    canvas = _Canvas(width, height)

    def column(x: float, top: float, bottom: float, radius: float) -> None:
        for rib in range(-3, 4):
            side = rib / 3
            tone = 0.4 + 0.4 * side * sun_side + (0.12 if rib % 2 else 0.0)
            canvas.line(x + side * radius * 0.8, top + abs(side) * radius * 0.7, x + side * radius * 0.8, bottom,
                        radius * 0.38, 0.3 + 0.3 * rng.random(), tone)  # fmt: skip

    middle = width / 2
    column(middle, height * 0.04, height, 21)
    for side in (-1, 1):
        if rng.random() < 0.85:
            level, reach = height * rng.uniform(0.42, 0.62), rng.uniform(42, 58)
            canvas.line(middle, level, middle + side * reach, level, 20, 0.4, 0.42)
            column(middle + side * reach, level - height * rng.uniform(0.14, 0.26), level + 8, 13)
    return _finish(canvas, "3f5a34", "6d8650", light, rng)


def flowers(light: Light, colour: str, sun_side: float, rng: Rng) -> Sprite:
    """A tuft of stalks with blossoms."""
    width = height = _SIZE // 2
    canvas = _Canvas(width, height)
    heads = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(heads)
    for _ in range(26):
        x, top = rng.uniform(0.1, 0.9) * width, rng.uniform(0.12, 0.7) * height
        canvas.line(x + rng.normal(0, 8), height, x, top, 2, rng.uniform(0.2, 0.9), 0.4 + 0.2 * sun_side)
    for _ in range(22):
        x, top = rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.62) * height
        canvas.line(x + rng.normal(0, 8), height, x, top, 2, rng.uniform(0.2, 0.9), 0.45)
        for petal in range(6):
            angle = petal / 6 * 6.28 + rng.random()
            radius = rng.uniform(4.5, 7.5)
            px, py = x + math.cos(angle) * radius, top + math.sin(angle) * radius * 0.7
            canvas.ellipse(px, py, 5.5, 4.5, 0.5, rng.uniform(0.55, 1.0))
            pen.ellipse((px - 5.5, py - 4.5, px + 5.5, py + 4.5), fill=255)
    alpha, hue, tone = canvas.planes()
    is_head = (np.asarray(heads, np.float32) / 255)[..., None]
    green = rgb("3c6a2a") + (rgb("7fa548") - rgb("3c6a2a")) * hue[..., None]
    albedo = green * (1 - is_head) + rgb(colour) * is_head
    return light_up(albedo.astype(np.float32), alpha, tone, light)


def tuft(light: Light, season: str, sun_side: float, rng: Rng) -> Sprite:
    """Blades of grass."""
    width, height = _SIZE // 2, _SIZE // 3
    canvas = _Canvas(width, height)
    for _ in range(90):
        x, bend, long = rng.uniform(0.12, 0.88) * width, rng.normal(0, 0.16) * width, rng.uniform(0.3, 0.98) * height
        tone = 0.35 + 0.25 * rng.random() + 0.2 * sun_side * np.sign(bend)
        hue = rng.uniform(0.1, 1.0)
        canvas.polygon(
            [(x - 3, height), (x + 3, height), (x + bend * 0.4 + 2, height - long * 0.6), (x + bend, height - long),
             (x + bend * 0.4 - 1, height - long * 0.6)], hue, tone,
        )  # fmt: skip
    low, high = {"autumn": ("7a5a28", "c79a4a"), "winter": ("b8bfc6", "eef3f8")}.get(season, ("35582a", "7f9e4a"))
    return _finish(canvas, low, high, light, rng)


GROW: dict[str, Callable[[Light, str, float, Rng], Sprite]] = {
    "conifer": conifer,
    "broadleaf": broadleaf,
    "palm": palm,
    "cactus": cactus,
    "tuft": tuft,
}
