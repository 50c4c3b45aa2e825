"""A third party's file: one typed handler, one in the scaffold's shape. Loaded by GENPULSE_PLUGINS."""

import asyncio
import os
import time
from typing import Any

from pydantic import BaseModel, Field

from genpulse import BaseHandler, Context, Job, register


class Params(BaseModel):
    seconds: float = Field(0.1, ge=0, le=60)
    text: str = "done"


@register("wait-then-write")
class WaitThenWrite(BaseHandler):
    """Waits, then writes a file."""

    Params = Params

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        for step in range(10):
            await context.progress(step * 10, "waiting")
            await asyncio.sleep(job.params.seconds / 10)
        await context.save(job.params.text.encode(), "text.txt")
        return {"text": job.params.text}


@register("block")
class Block(BaseHandler):
    """Blocks a thread, which nobody can stop."""

    def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        time.sleep(task["params"]["seconds"])
        return {}


@register("old-style")
class OldStyle(BaseHandler):
    def validate_params(self, params: dict[str, Any]) -> bool:
        return "prompt" in params

    async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_used": task["params"]["prompt"]}


@register("poison")
class Poison(BaseHandler):
    """Takes its process along."""

    async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        with open(task["params"]["marks"], "a") as marks:  # noqa: PTH123 - the shortest way to one line
            marks.write(f"{os.getpid()}\n")
        os._exit(70)
