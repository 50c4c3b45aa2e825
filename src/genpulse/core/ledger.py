"""The ledger port: the only truth about tasks (invariant 1). `genpulse.store` implements it on SQLite and PostgreSQL.

Writes of many callers share commits. Errors: `RequestError` `unavailable` when the database can't be reached,
`storage_full` when its disk is full; both leave the row as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from genpulse.core.models import Accepted, DueTask, Event, Json, Micros, NewTask, StoredFile, Submission, Task
from genpulse.core.states import Step


@dataclass(frozen=True, slots=True)
class Changed:
    """Outcome of a change: `done` is False when the step refused; `task` is the row afterwards, None if missing.

    `at` is the database's clock in that transaction.
    """

    done: bool
    task: Task | None
    at: Micros


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None = any. `before` is the `(created_at, id)` after which the page starts."""

    statuses: Sequence[str] = ()
    task_type: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    before: tuple[Micros, str] | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class PoolCount:
    """How many tasks of a pool are in one non-terminal state, and for how long the oldest queued one has been due."""

    pool: str
    state: str
    tasks: int
    oldest_due_s: float = 0.0


class Ledger(Protocol):
    # Accept and change ------------------------------------------------------------------------------------------
    async def accept(self, new: NewTask) -> Accepted:
        """Commit row, first event and idempotency record.

        Raises:
            RequestError: `idempotency_key_reused` when the key was used with another body.
        """
        ...

    async def change(self, task_id: str, step: Step) -> Changed:
        """Run a step of the state machine on the locked row and commit what it returns."""
        ...

    async def replay(self, tenant: str, key: str, body_hash: str) -> Task | None:
        """The task of an idempotency key that was used with the same body."""
        ...

    async def delete(self, tenant: str, task_id: str) -> list[StoredFile]:
        """Remove a terminal task with its events, submissions and file rows; returns the files to delete."""
        ...

    # Read -------------------------------------------------------------------------------------------------------
    async def get(self, tenant: str, task_id: str) -> Task | None: ...
    async def get_any(self, task_id: str) -> Task | None:
        """A task of any tenant; for workers and the reconciler only."""
        ...

    async def list(self, tenant: str, query: TaskFilter) -> list[Task]: ...
    async def events(self, tenant: str, task_id: str, after: int = 0) -> list[Event]: ...
    async def position(self, task: Task, cap: int = 1000) -> int | None:
        """1 = next of the tenant's own waiting tasks in its pool; None beyond `cap` or when not waiting."""
        ...

    async def backlog(self) -> list[PoolCount]:
        """Tasks by pool and non-terminal state. Slow with a large backlog: cache it."""
        ...

    async def queued_of(self, tenant: str, cap: int) -> int:
        """How many tasks a tenant has queued, counted up to `cap`."""
        ...

    async def submission(self, task_id: str, attempt: int) -> Submission | None: ...

    # Work -------------------------------------------------------------------------------------------------------
    async def due(self, pool: str, limit: int, *, after: tuple[int, Micros, str] | None = None) -> list[DueTask]:
        """Claimable tasks in order of rank and age; `after` = `(rank, available_at, id)` pages on."""
        ...

    async def newly_due(self, after: tuple[Micros, str], until: Micros, limit: int) -> list[DueTask]:
        """Delayed tasks that become claimable behind `(available_at, id)` and not after `until`, in this order."""
        ...

    async def overdue(self, limit: int) -> list[str]:
        """Waiting tasks whose deadline has passed."""
        ...

    async def cancel_requested(self, worker_id: str) -> list[str]:
        """Tasks of a worker whose cancel was requested."""
        ...

    async def ageing(self, since_before: Micros, limit: int) -> list[str]:
        """Waiting `low` tasks that became due before a moment and still have their low rank."""
        ...

    async def least_rank(self, pool: str, *, besides: str) -> int | None:
        """The least rank of a pool's waiting tasks, without one of them; None when there are no others."""
        ...

    # Pools ------------------------------------------------------------------------------------------------------
    async def paused_pools(self) -> frozenset[str]: ...
    async def pools(self) -> Mapping[str, bool]:
        """All pools that were ever paused: is it paused now?"""
        ...

    async def pause_pool(self, pool: str, *, paused: bool) -> None: ...

    # Workers ----------------------------------------------------------------------------------------------------
    async def register_worker(self, worker_id: str, info: Json) -> None: ...
    async def heartbeat(self, worker_id: str) -> bool:
        """Renew the lease of all tasks of a worker; False means it has been declared dead."""
        ...

    async def retire_worker(self, worker_id: str) -> None: ...
    async def workers(self) -> list[Json]: ...
    async def bury_workers(self, lease: Micros) -> list[Json]:
        """Declare workers dead that were silent for so long (0: all); returns their rows."""
        ...

    async def owned(self, worker_id: str) -> Mapping[str, int]:
        """The tasks that a worker has claimed, with their fences."""
        ...

    async def orphans(self, limit: int) -> list[Task]:
        """Active tasks whose worker is dead or unknown."""
        ...

    # Files ------------------------------------------------------------------------------------------------------
    async def add_file(self, file: StoredFile) -> None: ...
    async def file(self, file_id: str) -> StoredFile | None:
        """A file by id, of any tenant: the caller holds a signed URL or checks the tenant."""
        ...

    async def files_of(self, task_id: str) -> list[StoredFile]: ...
    async def forget_files(self, file_ids: Sequence[str]) -> None:
        """Mark files as deleted."""
        ...

    # Upkeep -----------------------------------------------------------------------------------------------------
    async def now(self) -> Micros: ...
    async def expired_tasks(self, finished_before: Micros, limit: int) -> list[Task]: ...
    async def expired_uploads(self, created_before: Micros, limit: int) -> list[StoredFile]: ...
    async def purge_idempotency(self, created_before: Micros) -> int: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...
