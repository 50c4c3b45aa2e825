"""What falls from the sky and what flies in it, painted in front of everything."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from genpulse.engines.sketching.light import Light
from genpulse.engines.sketching.noise import Field, Rng


def rain(picture: Field, light: Light, rng: Rng, *, heavy: bool) -> Field:
    """Streaks of three sizes, slanted by the wind."""
    height, width = picture.shape[:2]
    scale = (height * width) ** 0.5 / 1024
    slant = rng.uniform(0.08, 0.28) * rng.choice([-1.0, 1.0])
    total = np.zeros((height, width), np.float32)
    for count, length, strength in ((1500, 22, 0.16), (650, 44, 0.22), (180, 80, 0.30)):
        layer = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(layer)
        for _ in range(int(count * (1.7 if heavy else 1.0))):
            x, y, long = (
                rng.uniform(-0.2, 1.2) * width,
                rng.uniform(-0.1, 1) * height,
                length * scale * rng.uniform(0.6, 1.2),
            )
            pen.line((x, y, x + slant * long, y + long), fill=255, width=max(1, round(scale * length / 40)))
        total += (
            np.asarray(layer.filter(ImageFilter.GaussianBlur(0.7 * scale)), np.float32) / 255 * np.float32(strength)
        )
    drop = light.shade * 1.1 + light.sun * 0.25 + 0.04
    return picture + (drop - picture * 0.3) * np.clip(total, 0, 0.6)[..., None]


def snow(picture: Field, light: Light, rng: Rng) -> Field:
    """Flakes from far and small to near and blurred."""
    height, width = picture.shape[:2]
    scale = (height * width) ** 0.5 / 1024
    flake = light.shade * 1.2 + light.sun * 0.6 + 0.08
    flakes: tuple[tuple[int, float, float], ...] = (
        (2600, 1.0, 0.55),
        (800, 2.2, 0.65),
        (140, 5.0, 0.5),
        (24, 11.0, 0.28),
    )
    for count, radius, strength in flakes:
        layer = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(layer)
        for _ in range(count):
            x, y = rng.uniform(0, float(width)), rng.uniform(0, float(height))
            r = radius * scale * rng.uniform(0.6, 1.3)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        soft = layer.filter(ImageFilter.GaussianBlur(radius * scale * 0.5))
        cover = np.asarray(soft, np.float32)[..., None] / 255 * np.float32(strength)
        picture = picture + (flake - picture) * cover
    return picture


def birds(picture: Field, horizon: float, light: Light, rng: Rng) -> Field:
    """A flock of distant birds: two bent wings each."""
    height, width = picture.shape[:2]
    layer = Image.new("L", (width * 2, height * 2), 0)
    pen = ImageDraw.Draw(layer)
    cx, cy = rng.uniform(0.25, 0.75) * width, rng.uniform(0.2, 0.6) * horizon
    size = (height * width) ** 0.5
    for _ in range(int(rng.integers(9, 18))):
        x, y = (cx + rng.normal(0, 0.09) * width) * 2, (cy + rng.normal(0, 0.05) * height) * 2
        span, lift = size * rng.uniform(0.008, 0.017) * 2, rng.uniform(0.25, 0.6)
        stroke = max(2, round(size * 0.0022))
        pen.line([(x - span, y - span * lift), (x - span * 0.4, y - span * lift * 1.1), (x, y)], fill=255, width=stroke)
        pen.line([(x, y), (x + span * 0.4, y - span * lift * 1.1), (x + span, y - span * lift)], fill=255, width=stroke)
    cover = np.asarray(layer.resize((width, height), Image.Resampling.BOX), np.float32)[..., None] / 255
    return picture + (light.shade * 0.12 - picture) * cover * np.float32(0.9)
