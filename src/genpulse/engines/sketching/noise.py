"""Smooth random fields, the material of clouds, hills, waves and grain. All of it follows from the generator given."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field: TypeAlias = NDArray[np.floating[Any]]
Rng: TypeAlias = np.random.Generator

_TILE = 256


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def mix(a: Field, b: Field, t: Field) -> Field:
    """`a` where `t` is 0, `b` where it is 1; `t` may lack the colour axis."""
    if t.ndim == a.ndim - 1:
        t = t[..., None]
    return a + (b - a) * t


class Noise:
    """Endless fractal noise over a plane: octaves of one random tile, each turned and shifted."""

    def __init__(self, rng: Rng) -> None:
        self._tile = rng.random((_TILE, _TILE), dtype=np.float32)
        self._shifts = rng.random((12, 2), dtype=np.float32) * _TILE
        self._turns = rng.random(12, dtype=np.float32) * 6.28

    def at(self, x: Field, y: Field, octave: int = 0) -> Field:
        """Values in 0–1 with features about one unit wide."""
        c, s = np.cos(self._turns[octave]), np.sin(self._turns[octave])
        u = x * c - y * s + self._shifts[octave, 0]
        v = x * s + y * c + self._shifts[octave, 1]
        u0, v0 = np.floor(u), np.floor(v)
        fu, fv = u - u0, v - v0
        fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
        i, j = u0.astype(np.int32) & (_TILE - 1), v0.astype(np.int32) & (_TILE - 1)
        i1, j1 = (i + 1) & (_TILE - 1), (j + 1) & (_TILE - 1)
        tile = self._tile
        top = tile[j, i] + (tile[j, i1] - tile[j, i]) * fu
        low = tile[j1, i] + (tile[j1, i1] - tile[j1, i]) * fu
        return top + (low - top) * fv

    def fractal(self, x: Field, y: Field, octaves: int, gain: float = 0.5) -> Field:
        """Sum of octaves, centred on 0, within about ±1."""
        total, weight, norm = np.zeros(np.broadcast(x, y).shape, np.float32), 1.0, 0.0
        for octave in range(octaves):
            scale = 2.03**octave
            total += (self.at(x * scale, y * scale, octave) - 0.5) * (2 * weight)
            norm += weight
            weight *= gain
        return total / np.float32(norm) * np.float32(1.6)

    def ridged(self, x: Field, y: Field, octaves: int) -> Field:
        """Sharp crests, 0–1: each octave is strong where the one before is high, as in eroded mountains."""
        total, weight, norm = np.zeros(np.broadcast(x, y).shape, np.float32), 1.0, 0.0
        carry: Field | float = 1.0
        for octave in range(octaves):
            scale = 2.03**octave
            crest = 1.0 - np.abs(self.at(x * scale, y * scale, octave) * 2 - 1)
            crest = crest * crest * carry
            total += crest * np.float32(weight)
            norm += weight
            weight *= 0.46
            carry = np.clip(crest * 1.4, 0.0, 1.0)
        return total / np.float32(norm) * np.float32(1.5)


def blur(image: Field, radius: float) -> Field:
    """Soft blur by way of a small copy; for glows and shadows, not for detail."""
    height, width = image.shape[:2]
    small = (max(2, round(width / max(1.0, radius))), max(2, round(height / max(1.0, radius))))
    planes = [image] if image.ndim == 2 else [image[..., c] for c in range(image.shape[2])]
    done: list[Field] = []
    for plane in planes:
        picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        picture = picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
        done.append(np.asarray(picture, np.float32))
    return done[0] if image.ndim == 2 else np.stack(done, axis=-1)


def lookup(image: Field, rows: Field, columns: Field) -> Field:
    """Bilinear samples of an image, clamped at its edges."""
    height, width = image.shape[:2]
    rows, columns = np.clip(rows, 0, height - 1.001), np.clip(columns, 0, width - 1.001)
    r, c = rows.astype(np.int32), columns.astype(np.int32)
    fr, fc = (rows - r)[..., None], (columns - c)[..., None]
    top = image[r, c] * (1 - fc) + image[r, c + 1] * fc
    low = image[r + 1, c] * (1 - fc) + image[r + 1, c + 1] * fc
    return (top * (1 - fr) + low * fr).astype(np.float32)
