"""Runs a handler's own `execute`, in either of its two shapes, and gives it its `Context`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, cast

from genpulse.core.ids import new_id
from genpulse.core.models import Finished, Job, Json, Snapshot, StoredFile, Task
from genpulse.core.ports import Isolation
from genpulse.core.registry import Handler
from genpulse.core.strict_json import check_storable
from genpulse.core.view import output_of
from genpulse.errors import GenPulseError, RequestError, TaskError


class HandlerContext:
    """Implements `core.context.Context`."""

    def __init__(self, run: HandlerRun, work_dir: Path) -> None:
        self._run = run
        self.work_dir = work_dir

    async def progress(self, percent: float, stage: str | None = None) -> None:
        self._run.report(Snapshot(progress=percent, stage=stage))

    async def log(self, message: str) -> None:
        await self._run.log(message[:2000])

    def warn(self, message: str) -> None:
        self._run.warnings.append(message[:500])

    async def save(self, content: bytes | Path, name: str) -> dict[str, Any]:
        return output_of(await self._run.store(content, name))

    async def read(self, reference: Any) -> Path:
        return await self._run.read(reference)


class Files(Protocol):
    """The part of `core.files.FileService` that a handler reaches through its context."""

    async def store(self, tenant: str, task_id: str | None, path: Path, name: str) -> StoredFile: ...
    async def read(self, tenant: str, reference: Any, folder: Path) -> Path: ...


class LeaveError(Exception):
    """A handler tried to end its process. (asyncio ends the loop for a SystemExit that reaches one of its tasks.)"""


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Run blocking code.

    A thread can't be stopped: who cancels this waits for its end, so that no task is told to be stopped, or given to
    another worker, while its code still runs. A second cancel gives the thread up.
    """

    def run() -> Any:
        try:
            return call(*arguments)
        except (SystemExit, KeyboardInterrupt) as error:
            raise LeaveError from error

    running = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


class HandlerRun:
    """One call of `execute`, here or, with this as the side that serves its context, in a process of its own."""

    def __init__(
        self,
        job: Job,
        task: Task,
        files: Files,
        report: Callable[[Snapshot], None],
        log: Callable[[str], Awaitable[None]],
    ) -> None:
        self.task = task
        self.files = files
        self.report = report
        self.log = log
        self.warnings: list[str] = []
        self._job = job
        self._stored: list[StoredFile] = []

    async def execute(self, handler: Handler) -> tuple[Finished, list[StoredFile]]:
        """What the handler answered, and the files it saved.

        Raises:
            TaskError: from the handler, or `internal` when it returned something else than a dict.
        """
        arguments = self._typed() if handler.Params is not None else self._plain(handler)
        execute: Any = getattr(handler, "execute")  # noqa: B009 - not part of the Handler protocol: models may run instead
        try:
            if inspect.iscoroutinefunction(execute):
                answer = await execute(*arguments)
            else:  # blocking code never runs on the loop
                answer = await in_thread(execute, *arguments)
        except (SystemExit, KeyboardInterrupt, LeaveError) as error:
            raise TaskError("internal", f"The handler of {self.task.task_type} tried to end its process.") from error
        if answer is not None:
            self._check(answer)
        return Finished(data=cast("Json | None", answer), warnings=tuple(self.warnings)), self._stored

    def _check(self, answer: object) -> None:
        if not isinstance(answer, dict):
            raise TaskError("internal", f"The handler of {self.task.task_type} must return a dict or None.")
        try:
            check_storable(cast("Json", answer))
        except RequestError as error:
            raise TaskError("internal", f"What the handler returned can't be kept: {error.message}.") from None
        except TypeError:
            raise TaskError("internal", "What the handler returned is no JSON.") from None

    async def execute_alone(self, isolation: Isolation) -> tuple[Finished, list[StoredFile]]:
        """The same in a process of its own.

        Raises:
            TaskError, HandlerCrashedError, IsolationLostError.
        """
        return await isolation.run(self.task, self._job.work_dir, self), self._stored

    def _typed(self) -> tuple[Any, ...]:
        return self._job, HandlerContext(self, self._job.work_dir)

    def _plain(self, handler: Handler) -> tuple[Any, ...]:
        """The scaffold's shape: a dict, and where asked for a context with `update_status`."""
        task: Json = {
            "task_id": self.task.id,
            "task_type": self.task.task_type,
            "model": self.task.model,
            "params": dict(self.task.params),
            "priority": self.task.priority,
            "metadata": dict(self.task.metadata),
            "seed": self.task.seed,
            "traceparent": self._job.traceparent,
        }
        wanted = inspect.signature(getattr(handler, "execute")).parameters  # noqa: B009 - see above
        return (task,) if len(wanted) < 2 else (task, {"task_id": self.task.id, "update_status": self._update_status})

    async def _update_status(self, status: str, progress: float | None = None, **details: Any) -> None:
        del status, details  # the state is ours to decide; a scaffold handler's progress is welcome
        if progress is not None:
            self.report(Snapshot(progress=float(progress)))

    async def read(self, reference: Any) -> Path:
        """A local copy of a media input."""
        return await self.files.read(self.task.tenant, reference, self._job.work_dir)

    async def store(self, content: bytes | Path, name: str) -> StoredFile:
        """Store an output of the task."""
        path = content if isinstance(content, Path) else self._job.work_dir / f"saved-{new_id()}"
        if isinstance(content, bytes):
            await asyncio.to_thread(path.write_bytes, content)
        try:
            file = await self.files.store(self.task.tenant, self.task.id, path, name)
        except GenPulseError as error:
            raise TaskError("ingest_failed", error.message) from error
        self._stored.append(file)
        return file
