"""One attempt at one claimed task: starts the work, stops it when asked, stores its outputs, writes its end.

Every write is guarded by the fence: when one is refused, the task has another owner and the attempt stops without
touching anything. It never raises; what it can't finish is rescued when the worker's lease ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from genpulse import logs
from genpulse.core import lifecycle, states
from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.execution import CancelRequestedError, Execution, OwnershipLostError
from genpulse.core.files import FileService
from genpulse.core.handler_run import HandlerRun
from genpulse.core.jobs import job_of
from genpulse.core.ledger import Ledger
from genpulse.core.metrics import Metrics
from genpulse.core.models import SECOND, Finished, Job, Json, Micros, Snapshot, StoredFile, Suspicion, Task
from genpulse.core.ports import Backend, HandlerCrashedError, Isolation, IsolationLostError
from genpulse.core.progress import ProgressReporter
from genpulse.core.registry import Handler, Model, Registry
from genpulse.core.signals import Signals
from genpulse.core.states import Step
from genpulse.core.view import output_of
from genpulse.errors import RequestError, TaskError

_log = logging.getLogger(__name__)

_INGEST_TRIES = 4
_MAX_BACKOFF_S = 30.0
_STUCK_S = 5.0
"""So long after a task's time was over its blocking code may still go on; then the task fails without it."""
MAX_CRASHES = 3
"""So many crashes while it ran alone end a task."""


class Stop(StrEnum):
    """Why an attempt is stopped from outside."""

    CANCEL = "cancel"
    DRAIN = "drain"
    LOST = "lost"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"


class Backends:
    """The backends of this process, made when first needed and closed together."""

    def __init__(self) -> None:
        self._made: dict[str, Backend] = {}

    def of(self, model: Model) -> Backend | None:
        """The model's backend; None when its handler runs the work itself."""
        if model.backend is None:
            return None
        if model.id not in self._made:
            self._made[model.id] = model.backend()
        return self._made[model.id]

    async def close(self) -> None:
        """Release connections and child processes."""
        for backend in self._made.values():
            await backend.close()
        self._made.clear()


@dataclass(frozen=True, slots=True)
class Tools:
    """What the attempts of a worker share."""

    ledger: Ledger
    registry: Registry
    files: FileService
    signals: Signals
    progress: ProgressReporter
    backends: Backends
    isolation: Isolation
    work_root: Path
    task_timeout_s: float
    max_attempts: int
    retry_backoff_s: float
    metrics: Metrics = field(default_factory=Metrics)


class Attempt:
    """Runs one claimed task; `stop` may be called at any time."""

    def __init__(self, task: Task, tools: Tools, claimed_at: Micros) -> None:
        self.task = task
        self._claimed_at = claimed_at
        self.fence = task.fence
        self._tools = tools
        self._reason: Stop | None = None
        self._stopping = asyncio.Event()
        self._execution: Execution | None = None
        self._storing = False
        self._over = False
        self._work_dir = tools.work_root / f"{task.id}-{task.fence}"

    def stop(self, reason: Stop) -> None:
        """Ask the attempt to end. Losing the task overrides every other reason."""
        if self._reason is None or reason == Stop.LOST:
            self._reason = reason
        self._stopping.set()

    async def run(self) -> None:
        """Bring the task to a terminal state, back into the queue, or to another owner."""
        with logs.bound(**lifecycle.log_fields(self.task)):
            lifecycle.started(self._tools.metrics, self.task)
            await self._run()

    async def _run(self) -> None:
        try:
            self._work_dir.mkdir(parents=True, exist_ok=True)
            await self._supervise()
        except OwnershipLostError:
            _log.info("task %s has another owner or has ended; attempt stopped", self.task.id)
        except Exception:  # noqa: BLE001 - one broken attempt must not end the worker
            _log.exception("task %s: attempt broke; it is rescued when this worker's lease ends", self.task.id)
        finally:
            self._over = True
            self._tools.progress.forget(self.task.id)
            await asyncio.to_thread(shutil.rmtree, self._work_dir, ignore_errors=True)

    # Start and stop ---------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        work = asyncio.create_task(self._work(), name=f"work {self.task.id}")
        stopping = asyncio.create_task(self._stopping.wait())
        limit = asyncio.create_task(self._stop_in_time())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            limit.cancel()
        if not work.done():
            await self._until_interruptible(work)
        if work.done():
            await self._conclude(work)
            return
        work.cancel()
        over = self._reason in {Stop.TIMEOUT, Stop.DEADLINE}
        _, stuck = await asyncio.wait({work}, timeout=_STUCK_S if over else self._tools.task_timeout_s)
        if stuck:
            _log.error("task %s: its blocking code doesn't return; its thread is given up", self.task.id)
            work.cancel()
            await asyncio.wait({work})
        await self._interrupted()

    async def _stop_in_time(self) -> None:
        """Stop the attempt when its time is over: at its deadline, or when it has run for too long."""
        try:
            async with asyncio.timeout(self._until_deadline_s()):
                await asyncio.sleep(self._tools.task_timeout_s)
        except TimeoutError:
            self.stop(Stop.DEADLINE)
        else:
            self.stop(Stop.TIMEOUT)

    def _until_deadline_s(self) -> float | None:
        if self.task.deadline_at is None:
            return None
        # Both times are the database's (invariant 10): only their difference is used.
        return max(0.0, (self.task.deadline_at - self._claimed_at) / SECOND)

    async def _until_interruptible(self, work: asyncio.Task[None]) -> None:
        """A send in flight must be answered first; a result that is being stored wins over every reason to stop."""
        if self._reason == Stop.LOST:
            return
        if self._storing:
            await asyncio.wait({work})
        elif self._execution is not None:
            steady = asyncio.create_task(self._execution.steady.wait())
            await asyncio.wait({work, steady}, return_when=asyncio.FIRST_COMPLETED)
            steady.cancel()

    async def _interrupted(self) -> None:
        """The work was interrupted: stop the job where that is wanted, and say what became of the task."""
        execution = self._execution
        leave_running = self._reason in {Stop.DRAIN, Stop.LOST} and execution is not None and execution.submission
        outcome = await execution.cancel() if execution is not None and not leave_running else None
        at_risk = execution is not None and execution.money_at_risk and outcome != "stopped"
        match self._reason:
            case Stop.LOST:
                pass
            case Stop.DRAIN:
                task = await self.commit(states.hand_back(self.fence))
                lifecycle.handed_back(self._tools.metrics, task)
                self._tools.signals.hint(task)
            case Stop.CANCEL if outcome == "too_late" and at_risk:
                await self._conclude(asyncio.create_task(self._work()))  # it is finished and paid for: fetch it
            case Stop.CANCEL:
                await self.commit(states.cancelled(self.fence, money_at_risk=at_risk))
            case Stop.DEADLINE:
                message = "The deadline passed while the task was running."
                await self._fail(TaskError("deadline_exceeded", message, money_at_risk=at_risk))
            case _:
                message = f"The task ran longer than its limit of {self._tools.task_timeout_s:g} s."
                await self._fail(TaskError("timeout", message, money_at_risk=at_risk))

    async def _conclude(self, work: asyncio.Task[None]) -> None:
        try:
            await work
        except TaskError as error:
            await self._fail(error)
        except CancelRequestedError:
            await self.commit(states.cancelled(self.fence))
        except HandlerCrashedError as error:
            await self._crashed(str(error))
        except IsolationLostError as error:
            _log.warning("task %s is handed back: %s", self.task.id, error)
            await self.commit(states.hand_back(self.fence, self._backoff(self.task.crashes + 1)))
        except OwnershipLostError:
            raise
        except asyncio.CancelledError:
            reraise_cancellation()
            # Nobody of ours cancelled it: something that the handler awaited was.
            _log.exception("task %s: its handler was cancelled from inside", self.task.id)
            await self._fail(
                TaskError("internal", "The handler was cancelled from inside.", money_at_risk=self._at_risk())
            )
        except Exception:  # noqa: BLE001 - a handler's bug ends its task, not the worker
            _log.exception("task %s failed unexpectedly", self.task.id)
            message = "An unexpected error; the server's log has it under this task's id."
            await self._fail(TaskError("internal", message, money_at_risk=self._at_risk()))

    def _at_risk(self) -> bool:
        return self._execution is not None and self._execution.money_at_risk

    async def _fail(self, error: TaskError) -> None:
        """End the attempt: again later where the error is worth it and costs nothing twice, else for good."""
        submission = self._execution.submission if self._execution is not None else None
        may_repeat = self._execution is None or self._execution.may_repeat
        if error.retryable and may_repeat and self.task.attempt < self._tools.max_attempts:
            delay = max(self._backoff(self.task.attempt), int((error.retry_after_s or 0.0) * SECOND))
            await self.log_line(f"Attempt {self.task.attempt} failed: {error.message}")
            task = await self.commit(states.retry_later(self.fence, delay, submission))
            lifecycle.retried(self._tools.metrics, task, error.code)
            return
        await self.commit(states.fail(self.fence, error.as_dict(), submission))

    async def _crashed(self, how: str) -> None:
        """A suspect's process died: nothing else ran in it, so the blame is certain."""
        _log.warning("task %s: the process that ran it alone %s", self.task.id, how)
        await self.log_line(f"The process that ran this task alone {how}.")
        await self.commit(states.crashed_alone(self.fence, MAX_CRASHES, self._backoff(self.task.crashes + 1)))

    def _backoff(self, failures: int) -> Micros:
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads retries, guards nothing
        return int(self._tools.retry_backoff_s * 2 ** (failures - 1) * jitter * SECOND)

    # What the execution and the handler may do -------------------------------------------------------------------

    async def commit(self, step: Step) -> Task:
        """A guarded write, repeated while the database is out of reach: a result in hand must not be dropped.

        Raises:
            OwnershipLostError: the step was refused.
        """
        backoff_s = 0.2
        repeated = False
        while True:
            try:
                changed = await self._tools.ledger.change(self.task.id, step)
            except RequestError as error:
                if self._reason == Stop.LOST:
                    raise OwnershipLostError from error
                repeated = True
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
                continue
            if changed.task is None or not (changed.done or (repeated and self._landed(changed.task))):
                raise OwnershipLostError
            moved = changed.task.last_seq != self.task.last_seq
            self.task = changed.task
            if moved:
                self._tools.signals.changed(changed.task)
            return changed.task

    def _landed(self, now: Task) -> bool:
        """Was a write committed whose answer was lost?

        Only its owner moves a task whose fence is still the claimed one, and ends it with the next.
        """
        moved = now.fence == self.fence and now.state != self.task.state
        return moved or (now.terminal and now.fence == self.fence + 1)

    def report(self, snapshot: Snapshot) -> None:
        """Pass progress on, unless the attempt is over: a handler may have left something running that still tells."""
        if not self._over:
            self._tools.progress.report(self.task, snapshot)

    async def log_line(self, line: str) -> None:
        """Add a line to the task's durable log."""
        await self.commit(states.log(self.fence, line))

    # The work ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        handler, model, job = job_of(self.task, self._tools.registry, self._work_dir)
        backend = self._tools.backends.of(model)
        if backend is None:
            finished, files = await self._run_handler(handler, job)
        else:
            self._execution = self._execution or Execution(backend, job, self, self._tools.ledger, self._tools.metrics)
            finished = await self._execution.run()
            self._storing = True
            files = await self._ingest(self._execution, job, finished)
        result: Json = {
            "outputs": [output_of(file) for file in files],
            "text": finished.text,
            "data": finished.data,
            "seed": self.task.seed,
        }
        await self.commit(
            states.succeed(self.fence, result, warnings=finished.warnings, cost=finished.cost, files=files)
        )

    async def _run_handler(self, handler: Handler, job: Job) -> tuple[Finished, list[StoredFile]]:
        """Run code that could crash this process; a suspect runs alone, in a process of its own (invariant 11)."""
        run = HandlerRun(job, self.task, self._tools.files, self.report, self.log_line)
        if self.task.suspicion == Suspicion.NONE:
            return await run.execute(handler)
        return await run.execute_alone(self._tools.isolation)

    async def _ingest(self, execution: Execution, job: Job, finished: Finished) -> list[StoredFile]:
        """Copy all outputs into storage; free to repeat, so it is tried again before the task is failed."""
        if execution.submission is not None and execution.checkpoint is None:
            # The answer to the submit was the result: with no remote id to ask, it is all there is.
            self._tools.progress.forget(self.task.id)  # a late tick must not follow "ingesting"
            await self.commit(states.ingest(self.fence))
        elif finished.outputs:
            self.report(Snapshot(stage="ingesting"))
        for attempt in range(1, _INGEST_TRIES):
            try:
                return await self._copy_all(execution, job, finished)
            except (TaskError, RequestError, OSError):
                _log.warning("task %s: storing its outputs failed, trying again", self.task.id, exc_info=True)
                await asyncio.sleep(2.0 ** (attempt - 1))
        try:
            return await self._copy_all(execution, job, finished)
        except (TaskError, RequestError, OSError) as error:
            detail = getattr(error, "message", "a file could not be copied")
            raise TaskError("ingest_failed", f"The outputs could not be stored: {detail}") from error

    async def _copy_all(self, execution: Execution, job: Job, finished: Finished) -> list[StoredFile]:
        files: list[StoredFile] = []
        for index, output in enumerate(finished.outputs):
            path = self._work_dir / f"output-{index}"
            with path.open("wb") as copy:
                async for chunk in execution.backend.open(job, execution.checkpoint, output):
                    await asyncio.to_thread(copy.write, chunk)
            files.append(await self._tools.files.store(self.task.tenant, self.task.id, path, output.name))
        return files
