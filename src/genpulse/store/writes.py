"""The accepting and changing transaction: one unit for a whole batch, with a constant number of statements.

1. idempotency records (insert, then read who won), 2. new rows, 3. lock and read the rows to change, 4. run the steps
of the state machine in Python, 5. write rows, events, submissions and files back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, bindparam, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from genpulse.core.ledger import Changed
from genpulse.core.models import Accepted, Event, Micros, NewTask, StoredFile, Submission, Task
from genpulse.core.states import Step, accepted, apply
from genpulse.errors import RequestError
from genpulse.store import bulk, schema


@dataclass(frozen=True, slots=True)
class Accept:
    new: NewTask


@dataclass(frozen=True, slots=True)
class ChangeTask:
    task_id: str
    step: Step


Write: TypeAlias = Accept | ChangeTask

_MUTABLE = [
    *(
        "pool",
        "priority",
        "rank",
        "state",
        "attempt",
        "crashes",
        "suspicion",
        "fence",
        "worker_id",
        "available_at",
        "deadline_at",
    ),
    *("started_at", "finished_at", "cancel_requested_at", "progress", "stage", "warnings", "result", "error", "cost"),
    "last_seq",
]
_t = schema.tasks.c

# The guard stands in the SQL as well (invariant 3), though the row is locked: a lost lock must not become a lost fence.
_UPDATE_TASK = (
    schema.tasks.update()
    .where(_t.id == bindparam("_id"), _t.fence == bindparam("_fence"), _t.state == bindparam("_state"))
    .values({name: bindparam(name, type_=_t[name].type) for name in _MUTABLE})
)
_LOCK_TASKS = (
    select(schema.tasks).where(_t.id.in_(bindparam("ids", expanding=True))).order_by(_t.id).with_for_update()
)  # in order of id: two batches can't deadlock
_FIND_TASKS = select(schema.tasks).where(_t.id.in_(bindparam("ids", expanding=True)))
_FIND_KEYS = select(schema.idempotency).where(
    tuple_(schema.idempotency.c.tenant, schema.idempotency.c.key).in_(bindparam("keys", expanding=True))
)


def _upsert(conn: Connection) -> Any:
    insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(schema.submissions)
    replaced = ("state", "sends", "remote_id", "prepared", "checkpoint")
    return insert.on_conflict_do_update(
        index_elements=["task_id", "attempt"], set_={name: insert.excluded[name] for name in replaced}
    )


def pause_pool(conn: Connection, now: Micros, pool: str, *, paused: bool) -> None:
    """One statement: of two that pause a pool at once, neither fails."""
    insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(schema.pools)
    row = {"name": pool, "paused": paused, "changed_at": now}
    conn.execute(insert.values(row).on_conflict_do_update(index_elements=["name"], set_=row))


@dataclass(slots=True)
class Batch:
    """What a transaction is going to write."""

    now: Micros
    new_tasks: list[Task] = field(default_factory=list[Task])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    submissions: list[Submission] = field(default_factory=list[Submission])
    files: list[StoredFile] = field(default_factory=list[StoredFile])

    def add_event(self, task_id: str, event: Event) -> None:
        self.events.append(
            {"task_id": task_id, "seq": event.seq, "type": event.type, "at": event.at, "data": event.data}
        )


def run(conn: Connection, now: Micros, writes: Sequence[Write]) -> list[Accepted | Changed | RequestError]:
    """Do all writes of a batch; answers in the same order."""
    batch = Batch(now)
    accepts = [write for write in writes if isinstance(write, Accept)]
    changes = [write for write in writes if isinstance(write, ChangeTask)]
    accept_answers = iter(_accept(conn, batch, [write.new for write in accepts]))
    change_answers = iter(_change(conn, batch, changes))
    answers = [next(accept_answers if isinstance(write, Accept) else change_answers) for write in writes]
    _write_children(conn, batch)
    return answers


def _accept(conn: Connection, batch: Batch, news: list[NewTask]) -> list[Accepted | RequestError]:
    earlier = _claim_keys(conn, batch.now, news)
    given = _read(conn, _FIND_TASKS, {new.id for new in news if new.given_id})
    answers: list[Accepted | RequestError] = []
    for new in news:
        known = _replay_of(given[new.id], new) if new.id in given else earlier.get(new.id)
        if known is not None:
            answers.append(known)
            continue
        task, event = accepted(new, batch.now)
        if new.given_id:
            given[task.id] = task
        batch.new_tasks.append(task)
        batch.add_event(task.id, event)
        answers.append(Accepted(task, replayed=False))
    if batch.new_tasks:
        bulk.insert(conn, schema.tasks, [_row(task) for task in batch.new_tasks])
    return answers


def _claim_keys(conn: Connection, now: Micros, news: list[NewTask]) -> dict[str, Accepted | RequestError]:
    """Answers for those whose idempotency key was used before; a concurrent use waits for the other's commit here."""
    keyed = [new for new in news if new.idempotency_key is not None]
    if not keyed:
        return {}
    rows = [
        {
            "tenant": new.tenant,
            "key": new.idempotency_key,
            "body_hash": new.body_hash,
            "task_id": new.id,
            "created_at": now,
        }
        for new in keyed
    ]
    if bulk.insert_new(conn, schema.idempotency, rows):
        return {}
    found = conn.execute(_FIND_KEYS, {"keys": [(new.tenant, new.idempotency_key) for new in keyed]})
    records = {(row.tenant, row.key): row for row in found}
    return _replays(conn, {new.id: (new, records[new.tenant, new.idempotency_key]) for new in keyed})


def _replays(conn: Connection, keyed: dict[str, tuple[NewTask, Any]]) -> dict[str, Accepted | RequestError]:
    lost = {new_id: pair for new_id, pair in keyed.items() if pair[1].task_id != new_id}
    if not lost:
        return {}
    tasks = _read(conn, _FIND_TASKS, {record.task_id for _, record in lost.values()})
    new_by_id = {new_id: new for new_id, (new, _) in keyed.items()}
    answers: dict[str, Accepted | RequestError] = {}
    for new_id, (new, record) in lost.items():
        if record.body_hash != new.body_hash:
            message = "This Idempotency-Key was used with another body."
            answers[new_id] = RequestError("idempotency_key_reused", message)
        elif record.task_id in tasks:
            answers[new_id] = Accepted(tasks[record.task_id], replayed=True)
        elif record.task_id in new_by_id:  # the first use is in this same batch
            answers[new_id] = Accepted(accepted(new_by_id[record.task_id], 0)[0], replayed=True)
        else:
            answers[new_id] = RequestError("not_found", "The task of this Idempotency-Key was deleted.")
    return answers


def _replay_of(task: Task, new: NewTask) -> Accepted | RequestError:
    """Direct producers choose task ids: a repeated one with the same body is ignored (design §7)."""
    if _body(task) == _body(new):
        return Accepted(task, replayed=True)
    return RequestError("idempotency_key_reused", "This task id was used with another body.")


def _body(task: Task | NewTask) -> tuple[object, ...]:
    return task.tenant, task.task_type, task.model, task.priority, task.params, task.metadata, task.options


def _change(conn: Connection, batch: Batch, changes: list[ChangeTask]) -> list[Changed]:
    if not changes:
        return []
    before = _read(conn, _LOCK_TASKS, {change.task_id for change in changes})
    current = dict(before)
    answers: list[Changed] = []
    for change in changes:
        task = current.get(change.task_id)
        wanted = change.step(task, batch.now) if task is not None else None
        if task is None or wanted is None:
            answers.append(Changed(False, task, batch.now))
            continue
        after, events = apply(task, wanted, batch.now)
        current[task.id] = after
        for event in events:
            batch.add_event(task.id, event)
        if wanted.submission is not None:
            batch.submissions.append(wanted.submission)
        batch.files.extend(wanted.files)
        answers.append(Changed(True, after, batch.now))
    rows = [_guarded(before[task_id], task) for task_id, task in current.items() if task is not before[task_id]]
    if rows:
        conn.execute(_UPDATE_TASK, rows)
    return answers


def _write_children(conn: Connection, batch: Batch) -> None:
    if batch.events:
        bulk.insert(conn, schema.events, batch.events)
    if batch.submissions:
        rows = {(row.task_id, row.attempt): dataclasses.asdict(row) for row in batch.submissions}
        conn.execute(_upsert(conn), list(rows.values()))
    if batch.files:
        bulk.insert(conn, schema.files, [dataclasses.asdict(file) for file in batch.files])


def _read(conn: Connection, statement: Any, ids: set[str]) -> dict[str, Task]:
    if not ids:
        return {}
    return {row[0]: Task(*row) for row in conn.execute(statement, {"ids": sorted(ids)})}


def _row(task: Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in schema.TASK_FIELDS}


def _guarded(before: Task, after: Task) -> dict[str, Any]:
    row = {name: getattr(after, name) for name in _MUTABLE}
    return row | {"_id": before.id, "_fence": before.fence, "_state": before.state}
