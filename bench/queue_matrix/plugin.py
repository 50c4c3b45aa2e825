"""The task types of the probes, loaded into real servers by GENPULSE_PLUGINS.

Each start and end is one `write` to a file outside of GenPulse, whatever GenPulse believes about it: `kind label pid
nanoseconds` of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel

from genpulse import BaseHandler, Context, Job, Model, register, register_model
from genpulse.core.models import CancelOutcome, Checkpoint, Finished, Prepared, Recovery, RemoteOutput, Snapshot, Unsure

_MARKS = os.open(os.environ["QUEUE_MATRIX_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def mark(kind: str, label: str) -> None:
    os.write(_MARKS, f"{kind} {label} {os.getpid()} {time.monotonic_ns()}\n".encode())


class Params(BaseModel):
    label: str
    seconds: float = 0


async def sleep(label: str, seconds: float) -> None:
    mark("start", label)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        mark("stop", label)
        raise
    mark("end", label)


@register("probe-own-code")
class OwnCode(BaseHandler):
    """A handler whose own `execute` sleeps in the worker's process."""

    Params = Params

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        del context
        await sleep(job.params.label, job.params.seconds)
        return {"pid": os.getpid()}


@register("probe-poison")
class Poison(BaseHandler):
    """Kills the process that runs it."""

    Params = Params

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        del context
        mark("start", job.params.label)
        await asyncio.sleep(job.params.seconds)
        os._exit(70)


class _Backend:
    paid = False
    recovery = Recovery.FREE

    async def prepare(self, job: Job) -> Prepared:
        del job
        return Prepared({})

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint | Finished:
        del prepared
        await sleep(job.params.label, job.params.seconds)
        return Finished(data={"pid": os.getpid()})

    async def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        del job, checkpoint
        yield Snapshot(finished=Finished())

    async def open(self, job: Job, checkpoint: Checkpoint | None, output: RemoteOutput) -> AsyncIterator[bytes]:
        del job, checkpoint, output
        yield b""

    async def cancel(self, job: Job, checkpoint: Checkpoint) -> CancelOutcome:
        del job, checkpoint
        return "stopped"

    async def find(self, job: Job, prepared: Prepared) -> Unsure:
        del job, prepared
        return Unsure.UNSURE

    async def close(self) -> None:
        pass


class _Remote(_Backend):
    """Jobs that go on elsewhere while nobody watches them, as at a provider; each submit would be paid for."""

    paid = True
    recovery = Recovery.NONE

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint:
        del prepared
        mark("start", job.params.label)
        return Checkpoint(job.token, {"ends_at": time.monotonic() + job.params.seconds})

    async def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        mark("watch", job.params.label)
        await asyncio.sleep(max(0.0, checkpoint.data["ends_at"] - time.monotonic()))
        mark("end", job.params.label)
        yield Snapshot(finished=Finished(data={"pid": os.getpid()}))


@register("probe-sleep")
class Sleep(BaseHandler):
    """Free work on a backend, as a local engine's or a ComfyUI server's."""

    Params = Params
    default_model = "bench/sleep"


@register("probe-remote")
class Remote(BaseHandler):
    """A job at a provider."""

    Params = Params
    default_model = "bench/remote"


register_model(Model("bench/sleep", ("probe-sleep",), pool="handlers", params=Params, backend=_Backend))
register_model(Model("bench/remote", ("probe-remote",), pool="handlers", params=Params, backend=_Remote))
