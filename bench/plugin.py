"""Task types for measuring: a no-op that says when it started, one that sleeps, and a fake remote provider."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from genpulse import BaseHandler, Context, Job, Model, register, register_model
from genpulse.core.models import (
    Absent,
    CancelOutcome,
    Checkpoint,
    Finished,
    Prepared,
    Recovery,
    RemoteOutput,
    Snapshot,
    Unsure,
)


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoOpParams(BaseModel):
    """Like those of an image model, so that there is something to validate."""

    model_config = ConfigDict(extra="forbid")
    prompt: str = ""
    width: int = 512
    height: int = 512


class SleepParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seconds: float = 0.05


@register("bench-no-op")
class NoOp(BaseHandler):
    """Says when it started, and how long after the end of this worker's newest sleep, when its slot became free."""

    Params = NoOpParams

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        started_ns = time.time_ns()
        return {"started_ns": started_ns, "waited_ns": started_ns - Sleep.ended_ns}


@register("bench-sleep")
class Sleep(BaseHandler):
    """Keeps a slot busy."""

    Params = SleepParams
    ended_ns = 0
    """When the newest one ended."""

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        await asyncio.sleep(job.params.seconds)
        Sleep.ended_ns = time.time_ns()
        return {}


@register("bench-remote")
class Remote(BaseHandler):
    """Runs at the fake provider."""

    Params = Nothing
    default_model = "bench/remote"


class FakeProvider:
    """A remote provider that is polled every two seconds and never gets ready; the poll itself costs nothing here."""

    recovery = Recovery.IDEMPOTENT
    paid = True

    async def prepare(self, job: Job) -> Prepared:
        return Prepared({"endpoint": "https://provider.invalid/v1/jobs", "body": {"seed": job.seed}})

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint | Finished:
        return Checkpoint(job.token, {"poll": f"/v1/jobs/{job.token}"})

    async def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        for poll in itertools.count():
            await asyncio.sleep(2)
            yield Snapshot(progress=min(poll, 99), stage="rendering")

    async def open(self, job: Job, checkpoint: Checkpoint | None, output: RemoteOutput) -> AsyncIterator[bytes]:
        yield b""

    async def cancel(self, job: Job, checkpoint: Checkpoint) -> CancelOutcome:
        return "stopped"

    async def find(self, job: Job, prepared: Prepared) -> Checkpoint | Absent | Unsure:
        return Absent.ABSENT

    async def close(self) -> None:
        return


register_model(Model("bench/remote", ("bench-remote",), "A fake provider.", pool="cloud", backend=FakeProvider))
