"""The domain's data: tasks, jobs, outputs and what backends exchange with the core. No behaviour, no I/O.

Times are integer microseconds since the Unix epoch, read from the database's clock (`Micros`); durations are seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias

Micros: TypeAlias = int
Json: TypeAlias = dict[str, Any]

SECOND: Micros = 1_000_000


class State(StrEnum):
    """Internal states of a task; `core/states.py` holds the machine."""

    QUEUED = "queued"
    RUNNING = "running"
    SUBMITTING = "submitting"
    WAITING = "waiting"
    INGESTING = "ingesting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = frozenset({State.RUNNING, State.SUBMITTING, State.WAITING, State.INGESTING})
TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

STATUS_OF: Mapping[State, str] = {
    State.QUEUED: "pending",
    **dict.fromkeys(ACTIVE, "processing"),
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "canceled",
}
"""What clients are shown (design §5)."""


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


PRIORITY_RANK: Mapping[str, int] = {Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
"""Rank of a task that just waits; lower is sooner. A `low` one that waited long gets the rank of `normal`."""
FRONT_RANK = 0
"""Rank of a task that was moved to the front. Each further one gets a lower rank, so that the latest is the first."""
LEAST_RANK = -(2**15)
"""What a small integer of the database can hold; so many moves in a row share it and are ordered by age."""


class Suspicion(IntEnum):
    """Is a task suspected of crashing its worker (invariant 11)?"""

    NONE = 0
    SUSPECT = 1
    """It executed code of ours while its worker crashed: it runs alone, in a process of its own, until it ends."""


@dataclass(slots=True)
class Task:
    """One row of the ledger. Field order equals the column order of the `tasks` table."""

    id: str
    tenant: str
    task_type: str
    model: str
    pool: str
    priority: str
    rank: int
    """Its class in the queue: see `PRIORITY_RANK` and `FRONT_RANK`."""
    state: str
    params: Json
    """As the client sent them; echoed unchanged."""
    metadata: Json
    options: Json
    """Accepted request fields that only some features read: cache, sandbox, callback_url, traceparent."""
    seed: int
    attempt: int
    crashes: int
    """Crashes while it ran alone."""
    suspicion: int
    fence: int
    worker_id: str | None
    created_at: Micros
    available_at: Micros
    """Not before this may it be claimed: `run_at` or the backoff of a retry."""
    deadline_at: Micros | None
    started_at: Micros | None
    finished_at: Micros | None
    cancel_requested_at: Micros | None
    retry_of: str | None
    progress: float | None
    stage: str | None
    warnings: list[str]
    result: Json | None
    error: Json | None
    cost: Json | None
    last_seq: int

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def status(self) -> str:
        return STATUS_OF[State(self.state)]


TASK_FIELDS = tuple(f.name for f in dataclasses.fields(Task))


@dataclass(frozen=True, slots=True)
class DueTask:
    """What the queue must know of a claimable task; thousands are looked through, so it is not the whole row."""

    id: str
    tenant: str
    pool: str
    rank: int
    available_at: Micros


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a task's log: `type` is `state`, `output` or `log`; `seq` is gap-free from 1."""

    seq: int
    type: str
    at: Micros
    data: Json


@dataclass(frozen=True, slots=True)
class NewTask:
    """A validated submission, ready to be accepted."""

    id: str
    tenant: str
    task_type: str
    model: str
    pool: str
    priority: Priority
    params: Json
    metadata: Json
    options: Json
    seed: int
    run_at: Micros | None = None
    deadline_s: float | None = None
    retry_of: str | None = None
    warnings: list[str] = field(default_factory=list[str])
    idempotency_key: str | None = None
    body_hash: str | None = None
    given_id: bool = False
    """The id was chosen by a direct producer: it may have been used before."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Outcome of an accept: `replayed` means the idempotency key had been used with the same body before."""

    task: Task
    replayed: bool


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One stored file (output or upload). `key` is its place in storage and never leaves the server."""

    id: str
    tenant: str
    task_id: str | None
    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_s: float | None
    key: str
    created_at: Micros
    deleted_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file really is, found by decoding it, not by its name. `kind`: image, video, audio, text, model, file."""

    kind: str
    media_type: str
    extension: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


# What handlers and backends see ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at a task, as a backend or a typed handler sees it. `params` is the validated Pydantic model."""

    task_id: str
    tenant: str
    task_type: str
    model: str
    attempt: int
    seed: int
    params: Any
    token: str
    """Stable per attempt: a UUID that goes to the remote as idempotency key or as the caller-chosen id."""
    work_dir: Path
    """A private folder for this attempt; removed when the attempt ends."""
    traceparent: str | None = None
    """The client's W3C trace context, to be passed on to what a handler or backend calls."""


class Recovery(StrEnum):
    """What can be done after a submission whose outcome is unknown (reliability study, 1.5)."""

    FREE = "free"
    """Costs nothing: run it again. Needs no submission ledger."""
    IDEMPOTENT = "idempotent"
    """The same token may be sent again: the remote de-duplicates."""
    CHOSEN_ID = "chosen_id"
    """The remote id is ours: look it up, send again only if absent."""
    FINDABLE = "findable"
    """It may be found by a listing or a callback; else it stays unknown."""
    NONE = "none"
    """At most once: park it as `submit_unknown`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The free part of a submission, stored in its intent: which instance, which uploads, the body to send."""

    data: Json


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that is needed to find a remote job again: JSON of a few KB without secrets."""

    remote_id: str
    data: Json = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class RemoteOutput:
    """One output that a backend offers; `data` tells its `open` where it is."""

    name: str
    data: Json = field(default_factory=dict[str, Any])
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to a submit that was already the result, or the end of a watch."""

    outputs: tuple[RemoteOutput, ...] = ()
    text: str | None = None
    data: Json | None = None
    warnings: tuple[str, ...] = ()
    cost: Json | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A look at a running job. `finished` or `error` ends the watch; `progress` is 0–100."""

    progress: float | None = None
    stage: str | None = None
    preview: bytes | None = None
    preview_media_type: str | None = None
    log: str | None = None
    finished: Finished | None = None
    error: BaseException | None = None


class Absent(StrEnum):
    """Answer of `find`: the remote surely has no such job."""

    ABSENT = "absent"


class Unsure(StrEnum):
    """Answer of `find`: can't tell now; ask again later."""

    UNSURE = "unsure"


CancelOutcome: TypeAlias = Literal["stopped", "requested", "too_late", "unsupported"]


@dataclass(frozen=True, slots=True)
class Submission:
    """One row of the submission ledger: what may have cost money. `state`: intent, accepted, rejected, unknown."""

    task_id: str
    attempt: int
    token: str
    state: str
    sends: int
    remote_id: str | None
    prepared: Json
    checkpoint: Json | None
    created_at: Micros = 0
    """Set when the intent is committed."""
