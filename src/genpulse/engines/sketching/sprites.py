"""Flat pieces set up in the scene: drawn once under the scene's light, then placed many times at any distance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from genpulse.engines.sketching.light import Light
from genpulse.engines.sketching.noise import Field
from genpulse.engines.sketching.view import Camera

_GAMMA = 2.2
_TO_LINEAR = ((np.arange(256) / 255.0) ** _GAMMA).astype(np.float32)
_MAX_PIXELS = 3000


class Sprite:
    """A lit piece, gamma-encoded, kept at its full size and at halves of it so that far copies are cheap."""

    def __init__(self, picture: Image.Image) -> None:
        self.aspect = picture.width / picture.height
        level = picture.convert("RGBa")  # premultiplied: only so may pixels be averaged
        self._levels = [level]
        while min(level.size) >= 8:
            level = level.reduce(2)
            self._levels.append(level)

    def at_size(self, width: int, height: int) -> Image.Image:
        """RGBA at a size."""
        level = next((one for one in reversed(self._levels) if one.height >= height), self._levels[0])
        return level.resize((width, height), Image.Resampling.BILINEAR).convert("RGBA")


@dataclass(frozen=True, slots=True)
class Placed:
    """A sprite at a place: its foot at `(x, base, z)`."""

    sprite: Sprite
    x: float
    z: float
    base: float
    height: float
    flip: bool = False
    brightness: float = 1.0


def light_up(albedo: Field, alpha: Field, tone: Field, light: Light, glow: Field | None = None) -> Sprite:
    """A sprite from its colours, its outline and how much of the sun each point gets (0–1).

    `glow` is light of its own: lamps and windows.
    """
    sun = light.sun * np.float32(0.6 if light.night else 1.25)
    colour = albedo * (light.shade * 0.85 + sun * tone[..., None])
    if glow is not None:
        colour = colour + glow
    shown = np.clip(colour, 0, 1) ** np.float32(1 / _GAMMA)
    rgba = np.concatenate([shown, np.clip(alpha, 0, 1)[..., None]], axis=-1)
    return Sprite(Image.fromarray((rgba * 255 + 0.5).astype(np.uint8)))


@dataclass(frozen=True, slots=True)
class Air:
    """What lies between: its colour per column of the picture, and the distance at which it hides two thirds."""

    colour: Field
    length: float

    def hides(self, depth: Any) -> Any:
        """How much of what is so far away it hides, 0–1."""
        return 1 - np.exp(-depth / self.length)


def place_all(picture: Field, depth: Field, camera: Camera, pieces: Iterable[Placed], air: Air) -> None:
    """Paint pieces into the picture, the farthest first."""
    for piece in sorted(pieces, key=lambda placed: -placed.z):
        _place(picture, depth, camera, piece, air)


def _place(picture: Field, depth: Field, camera: Camera, piece: Placed, air: Air) -> None:
    scale = camera.focal / piece.z
    height = piece.height * scale
    width = height * piece.sprite.aspect
    if height < 1.5 or width < 0.7 or max(height, width) > _MAX_PIXELS:
        return
    foot = camera.horizon - (piece.base - camera.height) * scale
    left = camera.width / 2 + piece.x * scale - width / 2
    x0, y0 = round(left), round(foot - height)
    w, h = max(1, round(width)), max(2, round(height))
    x1, y1 = min(x0 + w, camera.width), min(y0 + h, picture.shape[0])
    cut_x, cut_y = max(0, -x0), max(0, -y0)
    if x0 + cut_x >= x1 or y0 + cut_y >= y1:
        return
    rows, columns = slice(y0 + cut_y, y1), slice(x0 + cut_x, x1)
    seen = depth[rows, columns, None] > piece.z * 0.985
    if not seen.any():
        return
    small = piece.sprite.at_size(w, h)
    if piece.flip:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = np.asarray(small)[cut_y : y1 - y0, cut_x : x1 - x0]
    alpha = data[..., 3:].astype(np.float32) / 255 * seen
    colour = _TO_LINEAR[data[..., :3]] * np.float32(piece.brightness)
    colour = colour + (air.colour[columns][None] - colour) * air.hides(np.float32(piece.z))
    target = picture[rows, columns]
    target += (colour - target) * alpha
