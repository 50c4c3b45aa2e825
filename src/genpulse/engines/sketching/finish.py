"""The last hand on a picture: bloom, colours that the prompt asks for, exposure, vignette, grain."""

from __future__ import annotations

import numpy as np

from genpulse.engines.sketching.noise import Field, Rng, blur


def tone(picture: Field, colours: tuple[Field, ...], rng: Rng, *, exposure: float = 1.0) -> Field:
    """From linear light to the 0–1 of a picture file."""
    size = (picture.shape[0] * picture.shape[1]) ** 0.5
    bright = np.clip(picture - 0.85, 0, 2.5)
    picture = picture + blur(bright, size / 60) * 0.30 + blur(bright, size / 16) * 0.16
    picture = picture * np.float32(exposure)
    if colours:
        picture = _grade(picture, colours)
    # Very bright light loses its colour, as on film; else an orange sun would turn yellow-green.
    peak = picture.max(axis=-1, keepdims=True)
    picture = picture + (peak - picture) * np.clip((peak - 0.9) * 0.36, 0, 0.6)
    mapped = picture * (1 + picture / 6.0) / (1 + picture * 0.62)  # a shoulder that keeps colours in the highlights
    shown = np.clip(mapped, 0, 1) ** np.float32(1 / 2.2)
    shown = shown + (shown - 0.5) * (shown * (1 - shown)) * np.float32(0.55)  # a little contrast in the middle
    grey = shown.mean(axis=-1, keepdims=True)
    shown = grey + (shown - grey) * np.float32(1.06)
    shown = shown * _vignette(picture.shape) + rng.normal(0, 0.006, picture.shape[:2]).astype(np.float32)[..., None]
    return np.clip(shown, 0, 1).astype(np.float32)


def _grade(picture: Field, colours: tuple[Field, ...]) -> Field:
    """Pull the palette towards the named colours: the first in the shadows, the last in the lights."""
    luminance = picture.mean(axis=-1, keepdims=True)
    rank = np.clip(luminance / (luminance + 0.35), 0, 1)
    position = rank * (len(colours) - 1)
    wanted = np.zeros_like(picture)
    for index, colour in enumerate(colours):
        weight = np.clip(1 - np.abs(position - index), 0, 1) if len(colours) > 1 else np.ones_like(position)
        wanted += weight * colour / max(float(colour.mean()), 0.08)
    return (picture * 0.45 + np.clip(wanted, 0, 3.2) * luminance * 0.55).astype(np.float32)


def _vignette(shape: tuple[int, ...]) -> Field:
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return (1 - 0.16 * np.clip(rows * rows + columns * columns - 0.45, 0, None) ** 1.2)[..., None].astype(np.float32)
