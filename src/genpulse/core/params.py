"""Parameter vocabulary shared by task types (the unified names: units in names, ratios as `W:H`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Prompt = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"\S")]


class FileRef(BaseModel):
    """An uploaded file or an output of another task."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file_id: str = Field(pattern=r"^[0-9a-f-]{36}$")


class UrlRef(BaseModel):
    """A file that GenPulse fetches itself, from public addresses only unless a setting allows more."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = Field(max_length=2048, pattern=r"^https?://")


class DataRef(BaseModel):
    """A small file inside the request."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: str = Field(description="base64")
    media_type: str = Field(max_length=100)


MediaInput = FileRef | UrlRef | DataRef | Annotated[str, StringConstraints(pattern=r"^(https?://|data:)")]
"""A media input; the bare string is a URL or a data URI."""


class Params(BaseModel):
    """Base of all params: unknown fields are refused, NaN and Infinity too."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    seed: int | None = Field(
        None, ge=-1, le=2**53 - 1, description="Absent, null or -1: drawn at accept and shown as `result.seed`."
    )


class TextToImageParams(Params):
    """Image from text."""

    prompt: Prompt = Field(description="What to draw.", examples=["a lighthouse at dawn, oil painting"])
    negative_prompt: str | None = Field(None, max_length=10_000)
    width: int = Field(1024, ge=64, le=8192, description="Pixels.")
    height: int = Field(1024, ge=64, le=8192, description="Pixels.")
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_quality: int = Field(90, ge=1, le=100, description="For lossy formats.")


class TextToSpeechParams(Params):
    """Speech from text."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=5_000, pattern=r"\S")] = Field(
        description="What to say.", examples=["The quick brown fox jumps over the lazy dog."]
    )
    voice: str | None = Field(None, max_length=100)
    language: str = Field("en", max_length=35, description="BCP 47.")
    speed: float = Field(1.0, ge=0.25, le=4.0, description="1 = normal.")
    audio_format: Literal["wav", "mp3", "flac"] = "wav"
