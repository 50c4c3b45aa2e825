"""The interfaces that the core needs and that store, mq, storage, clients and engines implement.

Each has one contract test suite under `tests/contracts`, run against every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genpulse.core.models import (
    Absent,
    CancelOutcome,
    Checkpoint,
    Finished,
    Job,
    Json,
    MediaInfo,
    Prepared,
    Recovery,
    RemoteOutput,
    Snapshot,
    StoredFile,
    Task,
    Unsure,
)


class Backend(Protocol):
    """Runs jobs of one or more models: a remote provider, a ComfyUI fleet or a local engine (design §6).

    A `TaskError` is a definite answer: from `submit` it means that surely nothing was started. Any other exception
    from `submit` means that the outcome is unknown.
    """

    recovery: Recovery
    paid: bool
    """A job may cost money: one that was started and failed is not repeated automatically."""

    async def prepare(self, job: Job) -> Prepared:
        """Everything free and repeatable before the send: uploads, the choice of an instance."""
        ...

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint | Finished:
        """Exactly one send, no retry inside."""
        ...

    def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        """Follow the job until a snapshot with `finished` or `error`. May be called again after a crash."""
        ...

    def open(self, job: Job, checkpoint: Checkpoint | None, output: RemoteOutput) -> AsyncIterator[bytes]:
        """The bytes of one output, in chunks. `checkpoint` is None when the submit itself answered the result."""
        ...

    async def cancel(self, job: Job, checkpoint: Checkpoint) -> CancelOutcome: ...

    async def find(self, job: Job, prepared: Prepared) -> Checkpoint | Absent | Unsure:
        """After a submit of unknown outcome: does the remote have the job?"""
        ...

    async def close(self) -> None:
        """Release connections and child processes."""
        ...


class HandlerCalls(Protocol):
    """What a handler's context offers, served in the worker; `core.handler_run.HandlerRun` has it."""

    @property
    def report(self) -> Callable[[Snapshot], None]: ...
    @property
    def log(self) -> Callable[[str], Awaitable[None]]: ...
    async def store(self, content: bytes | Path, name: str) -> StoredFile: ...
    async def read(self, reference: Any) -> Path: ...


class HandlerCrashedError(Exception):
    """The process that ran a handler alone died before the handler's end: its own crash. The message says how."""


class IsolationLostError(Exception):
    """A handler that ran alone was lost, and its own code can't be blamed for that with certainty."""


class Isolation(Protocol):
    """Runs handlers of suspects, each in a process of its own (invariant 11)."""

    async def run(self, task: Task, work_dir: Path, calls: HandlerCalls) -> Finished:
        """Run the task's handler to its end. When the call is cancelled, the process has ended before it returns.

        Raises:
            TaskError: from the handler; a retryable `internal` when no process could be started.
            HandlerCrashedError, IsolationLostError: it has no end.
        """
        ...

    async def close(self) -> None:
        """End all processes."""
        ...


class QueueUnavailableError(Exception):
    """The queue can't be reached or doesn't answer. Never fatal: hints are rebuilt (invariant 1)."""


class Hint(Protocol):
    """What the queue must know of a task to place its hint; `Task` has it."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def rank(self) -> int:
        """1 = high, 2 = normal, 3 = low; 0 and less = front, the least first."""
        ...


class Subscription(Protocol):
    """Messages of the channels it was opened for, oldest first; a slow reader loses the oldest ones, never blocks."""

    async def get(self, timeout: float | None = None) -> tuple[str, Json] | None:
        """The next `(channel, message)`, or None after `timeout` seconds."""
        ...


class Queue(Protocol):
    """Hints and signals. Every method may raise `QueueUnavailableError`; none blocks longer than a few seconds."""

    async def ping(self) -> bool: ...

    async def push_task(self, *hints: Hint) -> int:
        """Queue hints; one that is already queued keeps its place. Returns how many are new."""
        ...

    async def requeue(self, *hints: Hint) -> int:
        """Move queued hints to where their (changed) rank belongs: the front, or the end of its class; atomically.

        One that isn't queued or is there already is left alone. Returns how many moved.
        """
        ...

    async def pop_task(self, pool: str, timeout: float) -> str | None:
        """The next task id of a pool, in order of priority, fairness and age; None after `timeout` seconds.

        Cancelling the call loses no hint.
        """
        ...

    async def remove_task(self, pool: str, task_id: str) -> bool: ...

    async def rank(self, pool: str, task_id: str) -> int | None:
        """0 = next of its pool; None when not queued."""
        ...

    async def missing(self, pool: str, task_ids: Sequence[str]) -> list[str]:
        """Those of `task_ids` that have no hint, in the same order."""
        ...

    async def depth(self, pool: str) -> int: ...

    async def generation(self) -> str | None:
        """A mark that is gone when the data was wiped: None means "rebuild all hints, then `mark_generation`"."""
        ...

    async def mark_generation(self) -> None: ...

    async def publish(self, *messages: tuple[str, Json]) -> None:
        """Send `(channel, message)` pairs, in order, in one round trip; best effort."""
        ...

    async def set_progress(self, task_id: str, kept: Json, notice: Json) -> None:
        """Keep the newest progress (for an hour) and publish `notice` on `task_updates:<task_id>`."""
        ...

    async def get_progress(self, task_ids: Sequence[str]) -> Mapping[str, Json]:
        """The newest progress of each task that has one."""
        ...

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Listen to channels. All subscriptions of a process share one connection."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """What a direct producer pushed: `body`, as it was pushed. `held` is our own copy of it, with the stamp `task_id`.

    The stamp is given when an entry is first taken and never changes: it tells a repeated acceptance.
    """

    held: bytes
    task_id: str
    body: bytes


class Ingress(Protocol):
    """The door of direct producers, as one consumer sees it. Any method may raise `QueueUnavailableError`.

    What was taken stays with the consumer until it is `done`, `reject`ed or given back; a dead one's goes back.
    """

    async def take(self, timeout: float) -> list[Entry]:
        """The oldest entries; none after `timeout` seconds. Tells the others that this consumer is alive."""
        ...

    async def done(self, *entries: Entry) -> None: ...

    async def reject(self, entry: Entry, problem: Json) -> None: ...

    async def give_back(self) -> int:
        """Give all back that this consumer holds; returns how many."""
        ...

    async def recover(self) -> int:
        """Give back what dead consumers hold; returns how many."""
        ...

    async def close(self) -> None: ...


class Storage(Protocol):
    """Bytes by key. Keys are ours, never a user's file name."""

    async def put_file(self, key: str, path: Path, media_type: str) -> None:
        """Store a local file durably.

        Raises:
            RequestError: `storage_full`.
        """
        ...

    def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `start`…`end` (exclusive) in chunks.

        Raises:
            FileNotFoundError: at the first chunk, when there is no such key.
        """
        ...

    async def delete(self, *keys: str) -> None:
        """Delete; a missing key is no error."""
        ...

    async def check(self) -> None:
        """Write, read and delete a probe; raises what went wrong."""
        ...

    async def free_bytes(self) -> int | None:
        """Free space where known (a local disk), else None."""
        ...


class Inspector(Protocol):
    """Tells what a file is by decoding it within limits, outside the event loop."""

    async def inspect(self, path: Path, *, name: str = "") -> MediaInfo:
        """Raises:
        TaskError: `input_unreadable` when it claims to be a media format but can't be decoded within the limits.
        """
        ...
