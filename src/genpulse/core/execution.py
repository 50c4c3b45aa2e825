"""Drives one job on a backend: prepare → intent → submit → checkpoint → watch. This logic exists only here.

Before anything that may cost money is sent, its intent is committed; the remote id is committed before the first poll
(invariant 5). A crash anywhere re-enters `Execution.run` with what was stored: resume, don't resubmit.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Protocol

from genpulse.core import states
from genpulse.core.ledger import Ledger
from genpulse.core.metrics import Metrics
from genpulse.core.models import (
    Absent,
    CancelOutcome,
    Checkpoint,
    Finished,
    Job,
    Prepared,
    Recovery,
    Snapshot,
    State,
    Submission,
    Task,
)
from genpulse.core.ports import Backend
from genpulse.core.states import Step
from genpulse.errors import TaskError

_log = logging.getLogger(__name__)

LOOKUP_S = 600.0
"""How long the outcome of an unknown submit is looked up before the task is parked (reliability study, 1.5)."""
_MAX_SENDS = 3
_WATCH_FAILURES = 10
_MAX_BACKOFF_S = 30.0
_CANCEL_S = 10.0


class OwnershipLostError(Exception):
    """A guarded write was refused: the task has another owner or has ended. Stop, touch nothing."""


class CancelRequestedError(Exception):
    """The intent to spend was refused because a cancel had been requested: nothing has been sent."""


class Owner(Protocol):
    """What an execution needs of the attempt that owns the task."""

    task: Task
    fence: int

    async def commit(self, step: Step) -> Task:
        """A guarded write; raises `OwnershipLostError` when it is refused."""
        ...

    def report(self, snapshot: Snapshot) -> None: ...
    async def log_line(self, line: str) -> None: ...


class Execution:
    """One job on one backend."""

    def __init__(self, backend: Backend, job: Job, owner: Owner, ledger: Ledger, metrics: Metrics) -> None:
        self.backend = backend
        self.checkpoint: Checkpoint | None = None
        self.submission: Submission | None = None
        self.steady = asyncio.Event()
        """Set while the job may be interrupted: not during a send."""
        self.steady.set()
        self._job = job
        self._owner = owner
        self._ledger = ledger
        self._metrics = metrics

    async def run(self) -> Finished:
        """Start the job or find it again, and follow it to its end.

        Raises:
            TaskError: the job failed, or could not be started.
            OwnershipLostError, CancelRequestedError.
        """
        if self.backend.recovery == Recovery.FREE:
            started = await self.backend.submit(self._job, await self.backend.prepare(self._job))
            # Free work needs no submission ledger: after a crash it is simply done again.
            self.checkpoint = started if isinstance(started, Checkpoint) else None
        else:
            started = await self._start_or_resume()
        return started if isinstance(started, Finished) else await self._watch(started)

    @property
    def money_at_risk(self) -> bool:
        """May the remote have done, or be doing, something that costs money?"""
        return self.backend.paid and self.submission is not None and self.submission.state != "rejected"

    @property
    def may_repeat(self) -> bool:
        """Would a new attempt surely not pay a second time?"""
        return not self.money_at_risk

    async def cancel(self) -> CancelOutcome | None:
        """Ask the backend to stop the job; None when there is nothing to stop or it didn't answer."""
        if self.checkpoint is None:
            return None
        try:
            async with asyncio.timeout(_CANCEL_S):
                return await self.backend.cancel(self._job, self.checkpoint)
        except Exception:  # noqa: BLE001 - whatever a backend raises, the task's own end must still be written
            _log.warning("task %s: its job could not be cancelled", self._job.task_id, exc_info=True)
            return None

    # Submitting -------------------------------------------------------------------------------------------------

    async def _start_or_resume(self) -> Checkpoint | Finished:
        known = self.submission or await self._ledger.submission(self._job.task_id, self._job.attempt)
        if known is None:
            return await self._start()
        self.submission = known
        if known.remote_id is not None:
            self.checkpoint = Checkpoint(known.remote_id, known.checkpoint or {})
            if self._owner.task.state == State.RUNNING:
                await self._owner.commit(states.resume(self._owner.fence))
            return self.checkpoint
        if self._owner.task.state == State.RUNNING:
            await self._owner.commit(states.resume_submitting(self._owner.fence))
        return await self._recover(known, Prepared(known.prepared))

    async def _start(self) -> Checkpoint | Finished:
        job = self._job
        prepared = await self.backend.prepare(job)
        intent = Submission(job.task_id, job.attempt, job.token, "intent", 1, None, prepared.data, None)
        try:
            await self._owner.commit(states.begin_submit(self._owner.fence, intent))
        except OwnershipLostError:
            current = await self._ledger.get_any(job.task_id)
            if current is not None and current.fence == self._owner.fence and current.cancel_requested_at is not None:
                raise CancelRequestedError from None
            raise
        self.submission = intent
        return await self._send(intent, prepared)

    async def _send(self, submission: Submission, prepared: Prepared) -> Checkpoint | Finished:
        """Exactly one send. What its failure means depends on whether this token was ever sent before."""
        self.steady.clear()
        outcome = "unknown"
        try:
            answer = await self.backend.submit(self._job, prepared)
            outcome = "accepted" if isinstance(answer, Checkpoint) else "finished"
            if isinstance(answer, Checkpoint):
                await self._keep(submission, answer)
        except TaskError:
            if submission.sends == 1:
                outcome = "rejected"
                self.submission = dataclasses.replace(submission, state="rejected")
                raise
            # A refusal after an earlier send of unknown outcome proves nothing (reliability study, decision 5).
        except OwnershipLostError:
            raise
        except Exception:  # noqa: BLE001 - any other failure leaves the outcome unknown
            _log.warning("task %s: the outcome of its submit is unknown", self._job.task_id, exc_info=True)
        else:
            return answer
        finally:
            self._metrics.submissions.of(self._job.model, outcome).inc()
            self.steady.set()
        return await self._recover(submission, prepared)

    async def _keep(self, submission: Submission, checkpoint: Checkpoint) -> None:
        """Commit the remote id before the first poll; it is committed even when the task has a new owner."""
        self.checkpoint = checkpoint
        self.submission = dataclasses.replace(
            submission, state="accepted", remote_id=checkpoint.remote_id, checkpoint=checkpoint.data
        )
        task = await self._owner.commit(states.submitted(self._owner.fence, self.submission))
        if task.fence != self._owner.fence:
            raise OwnershipLostError

    async def _recover(self, submission: Submission, prepared: Prepared) -> Checkpoint | Finished:
        """After a submit of unknown outcome: resume what can be found, never pay twice."""
        recovery = self.backend.recovery
        if recovery == Recovery.IDEMPOTENT and submission.sends < _MAX_SENDS:
            return await self._send_again(submission, prepared)
        if recovery in {Recovery.CHOSEN_ID, Recovery.FINDABLE}:
            waited, pause = 0.0, 1.0
            while waited < LOOKUP_S:
                found = await self._find(prepared)
                if isinstance(found, Checkpoint):
                    await self._keep(submission, found)
                    return found
                if found == Absent.ABSENT and recovery == Recovery.CHOSEN_ID and submission.sends < _MAX_SENDS:
                    return await self._send_again(submission, prepared)
                await asyncio.sleep(pause)
                waited, pause = waited + pause, min(pause * 2, 60.0)
        self.submission = dataclasses.replace(submission, state="unknown")
        message = "It is unknown whether the job was started; it was not sent again."
        raise TaskError("submit_unknown", message, money_at_risk=True)

    async def _find(self, prepared: Prepared) -> object:
        try:
            return await self.backend.find(self._job, prepared)
        except Exception:  # noqa: BLE001 - a failed look-up is "unsure"
            _log.warning("task %s: looking up its submit failed", self._job.task_id, exc_info=True)
            return None

    async def _send_again(self, submission: Submission, prepared: Prepared) -> Checkpoint | Finished:
        self.submission = dataclasses.replace(submission, sends=submission.sends + 1)
        await self._owner.commit(states.resend(self._owner.fence, self.submission))
        return await self._send(self.submission, prepared)

    # Watching ---------------------------------------------------------------------------------------------------

    async def _watch(self, checkpoint: Checkpoint) -> Finished:
        """Follow the job; a broken connection is mended here, since the job itself goes on."""
        failures = 0

        def alive() -> None:
            nonlocal failures
            failures = 0

        while True:
            try:
                return await self._follow(checkpoint, alive)
            except (TaskError, OwnershipLostError):
                raise
            except Exception:
                failures += 1
                if self.backend.recovery == Recovery.FREE or failures >= _WATCH_FAILURES:
                    raise
                _log.warning("task %s: watching failed, trying again", self._job.task_id, exc_info=True)
                await asyncio.sleep(min(2.0**failures, _MAX_BACKOFF_S))

    async def _follow(self, checkpoint: Checkpoint, alive: Callable[[], None]) -> Finished:
        async for snapshot in self.backend.watch(self._job, checkpoint):
            alive()
            self._owner.report(snapshot)
            if snapshot.log is not None:
                await self._owner.log_line(snapshot.log)
            if snapshot.error is not None:
                raise snapshot.error
            if snapshot.finished is not None:
                return snapshot.finished
        raise TaskError("protocol_drift", "The backend stopped reporting before the job's end.")
