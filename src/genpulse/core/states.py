"""The one state machine of a task.

A *step* is a pure function of a task and the database's clock: it returns the `Change` to make, or None to refuse.
The ledger runs it on the locked row and writes what it returns in one transaction: the row, its event, the submission,
the files. Terminal states are absorbing; every write by a worker is guarded by the fence it got when it claimed.

    queued ─claim─> running ─begin_submit─> submitting ─submitted─> waiting ────────> succeeded
       ^               │                        └─(the answer was the result)─> ingesting ──┘
       │               └───────────── free work ──────────────────────────────────────────┘
       └── hand_back, retry_later, rescue: from any active state ─┘      any non-terminal state ─> failed, cancelled
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from genpulse.core.models import (
    ACTIVE,
    FRONT_RANK,
    LEAST_RANK,
    PRIORITY_RANK,
    SECOND,
    TERMINAL,
    Event,
    Json,
    Micros,
    NewTask,
    State,
    StoredFile,
    Submission,
    Suspicion,
    Task,
)
from genpulse.errors import TaskError

LEGAL: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.SUBMITTING, State.WAITING, State.INGESTING, State.QUEUED, *TERMINAL}),
    State.SUBMITTING: frozenset({State.WAITING, State.INGESTING, State.QUEUED, *TERMINAL}),
    State.WAITING: frozenset({State.INGESTING, State.QUEUED, *TERMINAL}),
    State.INGESTING: frozenset({State.QUEUED, *TERMINAL}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


class IllegalTransitionError(AssertionError):
    """A step asked for a transition that the machine doesn't have: a bug, never a race."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction writes for one task."""

    sets: Json = field(default_factory=dict[str, Any])
    """New values of `Task` fields."""
    event: tuple[str, Json] | None = None
    """A `log` event. Files, and changes that clients can see, write their events by themselves."""
    submission: Submission | None = None
    files: Sequence[StoredFile] = ()


Step: TypeAlias = Callable[[Task, Micros], Change | None]

_SNAPSHOT = (
    *("status", "attempt", "progress", "stage", "started_at", "finished_at", "cancel_requested_at"),
    *("warnings", "result", "error", "cost"),
)


def snapshot(task: Task) -> Json:
    """The data of a `state` event: the public fields that change during a task's life."""
    return {name: getattr(task, name) for name in _SNAPSHOT}


def accepted(new: NewTask, now: Micros) -> tuple[Task, Event]:
    """The first row and event of a task."""
    available_at = max(now, new.run_at or now)
    task = Task(
        id=new.id,
        tenant=new.tenant,
        task_type=new.task_type,
        model=new.model,
        pool=new.pool,
        priority=new.priority,
        rank=PRIORITY_RANK[new.priority],
        state=State.QUEUED,
        params=new.params,
        metadata=new.metadata,
        options=new.options,
        seed=new.seed,
        attempt=1,
        crashes=0,
        suspicion=Suspicion.NONE,
        fence=0,
        worker_id=None,
        created_at=now,
        available_at=available_at,
        deadline_at=available_at + int(new.deadline_s * SECOND) if new.deadline_s else None,
        started_at=None,
        finished_at=None,
        cancel_requested_at=None,
        retry_of=new.retry_of,
        progress=None,
        stage=None,
        warnings=new.warnings,
        result=None,
        error=None,
        cost=None,
        last_seq=1,
    )
    return task, Event(1, "state", now, snapshot(task))


def apply(task: Task, change: Change, now: Micros) -> tuple[Task, list[Event]]:
    """The task after a change, and the events to write with it: `output` for each new file, then `state`.

    A `state` event tells a change that clients can see. Between `running`, `submitting` and `waiting` there is none:
    equal events would be rows and notices that tell nothing (ADR 0006).

    Raises:
        IllegalTransitionError: the change leaves the machine.
    """
    after = dataclasses.replace(task, **change.sets)
    if after.state != task.state and after.state not in LEGAL[State(task.state)]:
        raise IllegalTransitionError(f"{task.state} -> {after.state}")
    found: list[tuple[str, Json]] = []
    if change.files and after.result is not None:
        found += [("output", output) for output in after.result["outputs"]]
    seen = snapshot(after)
    if change.event is not None:
        found.append(change.event)
    elif seen != snapshot(task):
        found.append(("state", seen))
    after.last_seq = task.last_seq + len(found)
    return after, [Event(task.last_seq + n, kind, now, data) for n, (kind, data) in enumerate(found, start=1)]


# Steps of clients ------------------------------------------------------------------------------------------------


def request_cancel(task: Task, now: Micros) -> Change | None:
    """A queued task is cancelled at once; an active one is marked, and its worker stops it."""
    if task.state == State.QUEUED:
        return _end(task, State.CANCELLED, now, error=TaskError("canceled", "Canceled while waiting.").as_dict())
    if task.state in ACTIVE and task.cancel_requested_at is None:
        return Change({"cancel_requested_at": now})
    return None


# Steps of operators ----------------------------------------------------------------------------------------------


def reprioritise(priority: str) -> Step:
    """Change the priority of a waiting task; it takes back a move to the front, and leaves an aged `low` task aged."""

    def step(task: Task, now: Micros) -> Change | None:
        del now
        if task.state != State.QUEUED or (task.priority == priority and task.rank > FRONT_RANK):
            return None
        return Change({"priority": priority, "rank": PRIORITY_RANK[priority]})

    return step


def move_to_front(least: int) -> Step:
    """Let a waiting task run before all others of its pool. It keeps that rank until it ends: also when its worker
    dies, hands it back or tries again.

    Args:
        least: the least rank of the others.
    """

    def step(task: Task, now: Micros) -> Change | None:
        del now
        rank = max(min(FRONT_RANK, least - 1), LEAST_RANK)
        return Change({"rank": rank}) if task.state == State.QUEUED and task.rank > rank else None

    return step


# Steps of workers ------------------------------------------------------------------------------------------------


def claim(worker_id: str) -> Step:
    """Take a due task: the fence is raised, the worker's heartbeat is its lease. An overdue one fails instead."""

    def step(task: Task, now: Micros) -> Change | None:
        if task.state != State.QUEUED or task.available_at > now:
            return None
        if task.deadline_at is not None and task.deadline_at <= now:
            return expire(task, now)
        return Change(
            {
                "state": State.RUNNING,
                "fence": task.fence + 1,
                "worker_id": worker_id,
                "started_at": task.started_at or now,
                "progress": 0.0,
                "stage": None,
            }
        )

    return step


def _owned(fence: int, change: Callable[[Task, Micros], Change | None], *states: State) -> Step:
    """Guard a worker's step: the fence must be the claimed one and the state one of `states` (default: active)."""
    allowed = frozenset(states) or ACTIVE

    def step(task: Task, now: Micros) -> Change | None:
        if task.fence != fence or task.state not in allowed:
            return None
        return change(task, now)

    return step


def begin_submit(fence: int, intent: Submission) -> Step:
    """Commit the intent before anything is sent. Refused once a cancel was requested: nothing has been spent yet."""

    def change(task: Task, now: Micros) -> Change | None:
        if task.cancel_requested_at is not None:
            return None
        return Change({"state": State.SUBMITTING}, submission=dataclasses.replace(intent, created_at=now))

    return _owned(fence, change, State.RUNNING)


def resend(fence: int, submission: Submission) -> Step:
    """Count one more send of the same token, before it is sent."""
    return _owned(fence, lambda task, now: Change(submission=submission), State.SUBMITTING)


def submitted(fence: int, submission: Submission) -> Step:
    """Record the remote id. It is recorded even when the fence is lost: the money is spent, the new owner needs it."""

    def step(task: Task, now: Micros) -> Change | None:
        del now
        if task.fence != fence or task.state != State.SUBMITTING:
            return Change(submission=submission)
        return Change({"state": State.WAITING}, submission=submission)

    return step


def resume(fence: int) -> Step:
    """Continue a job whose submission was accepted in an earlier claim."""
    return _owned(fence, lambda task, now: Change({"state": State.WAITING}), State.RUNNING)


def resume_submitting(fence: int) -> Step:
    """Continue a submission that an earlier claim left with its outcome unknown."""
    return _owned(fence, lambda task, now: Change({"state": State.SUBMITTING}), State.RUNNING)


def ingest(fence: int) -> Step:
    """The work is done; its outputs are being copied into storage."""
    return _owned(
        fence,
        lambda task, now: Change({"state": State.INGESTING, "stage": "ingesting"}),
        *(State.RUNNING, State.SUBMITTING, State.WAITING),
    )


def succeed(
    fence: int,
    result: Json,
    *,
    warnings: Sequence[str] = (),
    cost: Json | None = None,
    files: Sequence[StoredFile] = (),
) -> Step:
    """The end everyone wants. A finished result wins over a cancel request."""

    def change(task: Task, now: Micros) -> Change:
        all_warnings = [*task.warnings, *(w for w in warnings if w not in task.warnings)]
        sets = _end(task, State.SUCCEEDED, now).sets
        sets |= {"result": result, "warnings": all_warnings, "cost": cost, "progress": 100.0}
        return Change(sets, files=files)

    return _owned(fence, change)


def fail(fence: int, error: Json, submission: Submission | None = None) -> Step:
    """End a task with an error."""

    def change(task: Task, now: Micros) -> Change:
        return dataclasses.replace(_end(task, State.FAILED, now, error=error), submission=submission)

    return _owned(fence, change)


def cancelled(fence: int, *, money_at_risk: bool = False) -> Step:
    """The worker has really stopped the work."""
    error = TaskError("canceled", "Canceled while running.", money_at_risk=money_at_risk).as_dict()
    return _owned(fence, lambda task, now: _end(task, State.CANCELLED, now, error=error))


def retry_later(fence: int, delay: Micros, submission: Submission | None = None) -> Step:
    """Give up this attempt; the next one may start after `delay`."""

    def change(task: Task, now: Micros) -> Change:
        sets = _requeue(task, now + delay) | {"attempt": task.attempt + 1}
        return Change(sets, submission=submission)

    return _owned(fence, change)


def hand_back(fence: int, delay: Micros = 0) -> Step:
    """Return a task unharmed: drain, or a pool that may not run it now. No attempt is counted."""
    return _owned(fence, lambda task, now: Change(_requeue(task, now + delay)))


def crashed_alone(fence: int, max_crashes: int, delay: Micros = 0) -> Step:
    """The process in which a suspect ran alone died: it may try again after `delay`, but only so often."""

    def change(task: Task, now: Micros) -> Change:
        crashes = task.crashes + 1
        if crashes < max_crashes:
            return Change(_requeue(task, now + delay) | {"crashes": crashes})
        message = f"The process that ran this task alone died {crashes} times."
        ended = _end(task, State.FAILED, now, error=TaskError("worker_crash_loop", message).as_dict())
        return Change(ended.sets | {"crashes": crashes})

    return _owned(fence, change, State.RUNNING)


def log(fence: int, message: str) -> Step:
    """Add a line to the durable log of a task."""
    return _owned(fence, lambda task, now: Change(event=("log", {"message": message})))


# Steps of the reconciler -----------------------------------------------------------------------------------------


def rescue(worker_id: str, *, suspect: bool) -> Step:
    """Take a task from a dead worker.

    Args:
        suspect: it may be what crashed the worker, so it runs alone from now on (invariant 11). A crash of a worker
            counts towards nothing: what ran alone did not run in the worker.
    """

    def step(task: Task, now: Micros) -> Change | None:
        if task.worker_id != worker_id or task.state not in ACTIVE:
            return None
        return Change(_requeue(task, now) | ({"suspicion": Suspicion.SUSPECT} if suspect else {}))

    return step


def age(task: Task, now: Micros) -> Change | None:
    """Let a `low` task that waited long run with the `normal` ones, so that it never starves."""
    del now
    normal = PRIORITY_RANK["normal"]
    return Change({"rank": normal}) if task.state == State.QUEUED and task.rank > normal else None


def expire(task: Task, now: Micros) -> Change | None:
    """Fail a waiting task whose deadline has passed; a running one is stopped by its worker."""
    if task.state != State.QUEUED or task.deadline_at is None or task.deadline_at > now:
        return None
    error = TaskError("deadline_exceeded", "The deadline passed before the task could start.").as_dict()
    return _end(task, State.FAILED, now, error=error)


def _requeue(task: Task, available_at: Micros) -> Json:
    return {
        "state": State.QUEUED,
        "fence": task.fence + 1,
        "worker_id": None,
        "available_at": available_at,
        "progress": None,
        "stage": None,
    }


def _end(task: Task, state: State, now: Micros, *, error: Json | None = None) -> Change:
    return Change(
        {
            "state": state,
            "fence": task.fence + 1,
            "worker_id": None,
            "finished_at": now,
            "stage": None,
            "error": error,
        }
    )
