"""A height field seen by a camera. Columns of the picture are marched from front to back, all at once.

The ground is sampled on a grid in the camera's own terms: a column for every other one of the picture, steps that grow
with the distance, so detail is spent where it is seen. What is visible at a pixel is the first step whose running
horizon reaches it. The same grid seen by a camera below the water gives its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genpulse.engines.sketching.noise import Field

NEAR, FAR = 2.5, 6000.0
_EVERY = 2
_NOTHING = 1 << 20


@dataclass(frozen=True, slots=True)
class Camera:
    """Looks along z from `height` above the water at 0. `horizon` is a row of the picture."""

    width: int
    rows: int
    horizon: float
    height: float
    focal: float

    def row(self, height: Field, z: Field) -> Field:
        """Where something at a height and distance is in the picture."""
        return self.horizon - (height - self.height) * self.focal / z

    def column(self, x: Field, z: Field) -> Field:
        return self.width / 2 + x * self.focal / z

    def mirrored(self) -> Camera:
        """The camera whose picture, upside down, is the mirror image in the water."""
        return Camera(self.width, self.rows, self.horizon, -self.height, self.focal)


@dataclass(frozen=True, slots=True)
class Grid:
    """Samples of the ground: arrays of steps × columns."""

    x: Field
    z: Field
    height: Field
    normal: Field
    """Unit vectors (x, up, z)."""
    hollow: Field
    """How much a place lies below its surroundings: they keep light from it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What each pixel shows: the step on the grid (fractional), or the sky."""

    step: NDArray[np.float32]
    sky: NDArray[np.bool_]
    depth: Field
    """Distance along z; `FAR` × 10 for the sky."""


HeightFunction = Callable[[Field, Field], Field]


def make_grid(camera: Camera, ground: HeightFunction, *, steps: int) -> Grid:
    """Sample the ground in front of the camera."""
    t = np.linspace(0, 1, steps, dtype=np.float32)
    z = (NEAR * (FAR / NEAR) ** t)[:, None]
    column = np.arange(0, camera.width + 1, _EVERY, dtype=np.float32)[None, :]
    x = (column - camera.width / 2) / camera.focal * z
    z = np.broadcast_to(z, x.shape)
    height = ground(x, z).astype(np.float32)
    along_x = np.gradient(height, axis=1) / (z * _EVERY / camera.focal)
    along_z = np.gradient(height, axis=0) / np.gradient(z[:, :1], axis=0)
    # A step along z also moves x by the column's slant: take that part of the change out.
    along_z = along_z - along_x * (x / z)
    normal = np.stack([-along_x, np.ones_like(along_x), -along_z], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return Grid(x, z, height, normal.astype(np.float32), _hollow(height, z, camera.focal))


def _hollow(height: Field, z: Field, focal: float) -> Field:
    reach = max(2, height.shape[1] // 60)
    padded = np.pad(height, ((0, 0), (reach, reach)), mode="edge")
    width, mean = height.shape[1], np.zeros_like(height)
    for start in (0, reach // 2, reach + reach // 2, 2 * reach):
        mean += padded[:, start : start + width]
    span = z * (reach * _EVERY / focal)
    return np.clip((mean / 4 - height) / span, -1.0, 1.0)


def see(camera: Camera, grid: Grid) -> Seen:
    """Which part of the grid each pixel shows."""
    steps, width = grid.height.shape[0], camera.width
    rows = widen(camera.row(grid.height, grid.z), width)
    running = np.minimum.accumulate(rows, axis=0)
    first = np.full((camera.rows + 1, width), _NOTHING, np.int32)
    at = np.clip(np.ceil(running), 0, camera.rows).astype(np.int32)
    columns = np.arange(width, dtype=np.int32)
    for step in range(steps - 1, -1, -1):
        first[at[step], columns] = step
    visible = np.minimum.accumulate(first[: camera.rows], axis=0)
    sky = visible == _NOTHING
    step = np.where(sky, 0, visible)
    fraction = _between(running, rows, step, camera.rows)
    exact = (step - fraction).astype(np.float32)
    depth = np.where(sky, np.float32(FAR * 10), NEAR * (FAR / NEAR) ** (exact / (steps - 1))).astype(np.float32)
    return Seen(exact, sky, depth)


def _between(running: Field, rows: Field, step: NDArray[np.int32], picture_rows: int) -> Field:
    """How far before the step the pixel really is, where the ground is continuous there."""
    width = step.shape[1]
    columns = np.broadcast_to(np.arange(width, dtype=np.int32), step.shape)
    before = np.maximum(step - 1, 0)
    low, high = running[before, columns], running[step, columns]
    row = np.arange(picture_rows, dtype=np.float32)[:, None]
    t = np.clip((row - high) / np.maximum(low - high, 1e-3), 0.0, 1.0)
    continuous = (step > 0) & (rows[before, columns] <= low + 0.5)
    return np.where(continuous, t, 0.0).astype(np.float32)


def widen(values: Field, width: int) -> Field:
    """A grid array with a column for each column of the picture."""
    at = np.arange(width, dtype=np.float32) / _EVERY
    left = np.minimum(at.astype(np.int32), values.shape[1] - 2)
    share = (at - left).reshape((-1,) + (1,) * (values.ndim - 2))
    return values[:, left] * (1 - share) + values[:, left + 1] * share


def fetch(values: Field, seen: Seen) -> Field:
    """Per-pixel values of a grid array, between its steps."""
    low = np.floor(seen.step).astype(np.int32)
    high = np.minimum(low + 1, values.shape[0] - 1)
    t = seen.step - low
    values = widen(values, seen.step.shape[1])
    columns = np.broadcast_to(np.arange(values.shape[1], dtype=np.int32), low.shape)
    a, b = values[low, columns], values[high, columns]
    if values.ndim == 3:
        t = t[..., None]
    return a + (b - a) * t
