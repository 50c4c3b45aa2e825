"""The engine of `local/sketch`: reads the prompt, paints the scene, styles it, writes the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from genpulse.engines.engine import EngineJob, EngineOutput, EngineResult, Report
from genpulse.engines.sketching.composer import compose
from genpulse.engines.sketching.noise import Field
from genpulse.engines.sketching.painter import Painter
from genpulse.engines.sketching.scene import Chance
from genpulse.engines.sketching.style import BLENDS, Stylist
from genpulse.engines.sketching.vocabulary import Wish, read

_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_LEAST_SIDE = 256
"""Smaller pictures are painted larger and shrunk: details and strokes need room."""
_PREVIEW = 256


class SketchEngine:
    """Implements `engine.Engine`."""

    def __init__(self) -> None:
        self._stylist = Stylist()

    def run(self, job: EngineJob, report: Report) -> EngineResult:
        params = job.params
        width, height = params["width"], params["height"]
        report.progress(2, "composing")
        wish = read(params["prompt"])
        picture = self._paint(wish, params["prompt"], job.seed, _canvas(width, height), report)
        report.preview(_preview(picture))
        style = _style(params["style"], wish)
        if style != "none":
            report.progress(72, "styling")
            picture = self._stylist.apply(picture, BLENDS[style], report.on_cancel)
        report.progress(93, "encoding")
        name = f"image.{_EXTENSIONS[params['output_format']]}"
        _write(job.folder / name, _image(picture, (width, height)), job)
        return EngineResult((EngineOutput(name, _TYPES[params["output_format"]]),), data={"style": style})

    def _paint(self, wish: Wish, prompt: str, seed: int, size: tuple[int, int], report: Report) -> Field:
        chance = Chance(prompt, seed)
        scene = compose(wish, *size, chance)
        return Painter(scene, chance, lambda done, stage: report.progress(4 + 66 * done, stage)).paint()


def _canvas(width: int, height: int) -> tuple[int, int]:
    scale = max(1.0, _LEAST_SIDE / min(width, height))
    return round(width * scale), round(height * scale)


def _style(asked: str, wish: Wish) -> str:
    """The params decide, then the prompt, then our taste."""
    return asked if asked != "auto" else wish.style or "painted"


def _image(picture: Field, size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _preview(picture: Field) -> bytes:
    image = Image.fromarray((picture * 255).astype(np.uint8))
    image.thumbnail((_PREVIEW, _PREVIEW))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _write(path: Path, image: Image.Image, job: EngineJob) -> None:
    quality = job.params["output_quality"]
    options: dict[str, Any]
    match job.params["output_format"]:
        case "png":
            options = {"format": "PNG", "compress_level": 4, "pnginfo": _metadata(job)}
        case "jpeg":
            options = {"format": "JPEG", "quality": quality, "subsampling": 0 if quality >= 85 else 2}
        case _:
            options = {"format": "WEBP", "quality": quality, "method": 4}
    image.save(path, **options)


def _metadata(job: EngineJob) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in (("Software", "GenPulse"), ("model", job.model), ("prompt", job.params["prompt"]),
                       ("seed", str(job.seed))):  # fmt: skip
        info.add_itxt(key, value)
    return info
