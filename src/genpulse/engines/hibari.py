"""`local/hibari`: English speech by hibari-tts, offline. Registers the model; its library loads in a child only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from genpulse.core.params import TextToSpeechParams
from genpulse.core.registry import Model, register_model
from genpulse.engines.english import unspeakable
from genpulse.engines.extras import missing
from genpulse.engines.local_backend import configured


class HibariParams(TextToSpeechParams):
    """English speech from text."""

    # Other voices of hibari-tts would be fetched from the network.
    voice: Literal["heart"] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride] - narrowed; frozen
        None, description="There is one: heart."
    )
    speed: float = Field(1.0, ge=0.5, le=2.0, description="1 = normal.")

    @field_validator("language")
    @classmethod
    def _english(cls, value: str) -> str:
        if value.replace("_", "-").lower().split("-", 1)[0] != "en":
            raise ValueError("only English (en) can be spoken")
        return value

    @field_validator("text")
    @classmethod
    def _speakable(cls, value: str) -> str:
        reason = unspeakable(value)
        if reason is not None:
            raise ValueError(reason)
        return value


register_model(
    Model(
        "local/hibari",
        ("text-to-speech",),
        "English text to speech, one voice (hibari-tts, distilled from Kokoro-82M), 24 kHz. Runs offline on the CPU.",
        params=HibariParams,
        backend=lambda: configured("genpulse.engines.hibari_engine:HibariEngine"),
        available=lambda: missing("hibari", "onnxruntime", "numpy", "av"),
    )
)
