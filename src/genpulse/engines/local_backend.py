"""`LocalBackend`: runs jobs of one local engine in child processes. Free work: after a crash it is simply done again.

A child runs one job at a time, so there are as many children as jobs that are asked for at once; the worker's pools
bound that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genpulse.core.models import Absent, CancelOutcome, Checkpoint, Job, Prepared, Recovery, RemoteOutput, Snapshot
from genpulse.engines.child import EngineChild
from genpulse.engines.engine import EngineLimits
from genpulse.errors import TaskError
from genpulse.media.child_process import ChildPool
from genpulse.settings import Settings

_CHUNK = 1 << 18
_FOLDER = "made"


@dataclass(slots=True)
class _Running:
    """One job: its task, and what it reported that nobody has looked at yet."""

    work_dir: Path
    task: asyncio.Task[None] | None = None
    snapshots: asyncio.Queue[Snapshot] = field(default_factory=asyncio.Queue[Snapshot])


class LocalBackend:
    """Implements `core.ports.Backend` for one engine."""

    recovery = Recovery.FREE
    paid = False

    def __init__(self, engine: str, limits: EngineLimits | None = None) -> None:
        """Args:
        engine: `module:attribute` of the engine's class; imported in the child only.
        """
        self.limits = limits or EngineLimits()
        self._pool = ChildPool(lambda: EngineChild.launch(engine, self.limits), idle_s=self.limits.idle_s)
        self._running: dict[str, _Running] = {}

    async def prepare(self, job: Job) -> Prepared:
        params: Any = job.params
        if isinstance(params, BaseModel):
            params = params.model_dump(mode="json")
        return Prepared({"model": job.model, "params": params, "seed": job.seed})

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint:
        """Start the job. Its outputs will be in a folder inside `job.work_dir`."""
        self._forget_abandoned()
        folder = job.work_dir / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        running = _Running(job.work_dir)
        message = {**prepared.data, "folder": str(folder.resolve())}
        running.task = asyncio.create_task(self._run(message, running), name=f"{job.model} {job.task_id}")
        self._running[job.token] = running
        return Checkpoint(job.token)

    async def _run(self, message: dict[str, Any], running: _Running) -> None:
        try:
            async with self._pool.lease() as child:
                finished = await child.run(message, running.snapshots.put_nowait)
            last = Snapshot(progress=100.0, finished=finished)
        except TaskError as error:
            last = Snapshot(error=error)
        except OSError as error:
            last = Snapshot(error=TaskError("engine_failed", f"The engine can't be started ({error.strerror})."))
        except asyncio.CancelledError:
            last = Snapshot(error=TaskError("engine_failed", "The engine was stopped."))
        running.snapshots.put_nowait(last)

    async def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        running = self._running.get(checkpoint.remote_id)
        if running is None:
            yield Snapshot(error=TaskError("engine_failed", "The job ended with the process that ran it."))
            return
        while True:
            snapshot = await running.snapshots.get()
            if snapshot.finished is not None or snapshot.error is not None:
                running.snapshots.put_nowait(snapshot)  # whoever looks again sees the end again
                yield snapshot
                return
            yield snapshot

    async def open(self, job: Job, checkpoint: Checkpoint | None, output: RemoteOutput) -> AsyncIterator[bytes]:
        """The bytes of an output.

        Raises:
            TaskError: it is not a file inside the job's own folder.
        """
        folder = (job.work_dir / _FOLDER).resolve()
        path = (folder / str(output.data.get("path", ""))).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise TaskError("engine_failed", "The engine named an output that it didn't make.")
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    async def cancel(self, job: Job, checkpoint: Checkpoint) -> CancelOutcome:
        """Stop the job; it is stopped for sure when this returns."""
        running = self._running.pop(checkpoint.remote_id, None)
        if running is None or running.task is None:
            return "stopped"
        if running.task.done():
            return "too_late"
        running.task.cancel()
        await asyncio.wait({running.task})
        return "stopped"

    async def find(self, job: Job, prepared: Prepared) -> Checkpoint | Absent:
        """What runs, runs in this process."""
        return Checkpoint(job.token) if job.token in self._running else Absent.ABSENT

    async def close(self) -> None:
        """Stop all jobs and end all children."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.close()

    def _forget_abandoned(self) -> None:
        """Jobs whose attempt is over: its folder is removed then."""
        for token, running in list(self._running.items()):
            if running.task is not None and running.task.done() and not running.work_dir.exists():
                del self._running[token]


def configured(engine: str) -> LocalBackend:
    """A backend with the limits of the settings, for registering a model."""
    settings = Settings.model_validate({})  # reads the environment
    return LocalBackend(engine, EngineLimits(memory_mb=settings.engine_memory_mb))
