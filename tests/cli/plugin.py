"""Task types for the tests of the command line, loaded by the real server as GENPULSE_PLUGINS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genpulse import BaseHandler, Context, Job, Model, TaskError, register, register_model
from genpulse.core.params import MediaInput

PICTURE = Path(__file__).with_name("picture.png")
"""4 x 3 pixels."""


class PictureParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field("x", max_length=100, description="What to draw.")
    width: int = Field(1024, ge=64, le=2048, description="Pixels.")
    image: MediaInput | None = Field(None, description="Looked at, not drawn.")
    seed: int | None = None


@register("picture")
class Picture(BaseHandler):
    """Saves a small image."""

    Params = PictureParams

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        await context.progress(42, "styling")
        await context.log("a line of the log")
        context.warn("rounded to 64")
        await context.save(PICTURE.read_bytes(), "picture.png")
        if job.params.image is None:
            return None
        return {"image_bytes": (await context.read(job.params.image)).stat().st_size}


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


@register("slow")
class Slow(BaseHandler):
    """Runs until it is canceled."""

    Params = Anything

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        await context.progress(42, "styling")
        await asyncio.Event().wait()
        return None


@register("broken")
class Broken(BaseHandler):
    """Fails."""

    Params = Anything

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        raise TaskError("engine_failed", "the engine broke", retryable=False)


@register("waiting")
class Waiting(BaseHandler):
    """Waits for ever: no worker serves its pool."""

    Params = Anything
    pool = "nowhere"

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        raise AssertionError("it never runs")


@register("parked")
class Parked(Waiting):
    """The same under another name, for lists."""

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        raise AssertionError("it never runs")


register_model(Model("local/both", ("picture", "slow"), "draws or waits", pool="handlers"))
