"""Reading units of the ledger: each function runs inside `Database.read` (or `write`) and returns domain objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)

from genpulse.core.ledger import PoolCount, TaskFilter
from genpulse.core.models import (
    ACTIVE,
    PRIORITY_RANK,
    SECOND,
    STATUS_OF,
    DueTask,
    Event,
    Micros,
    State,
    StoredFile,
    Submission,
    Task,
)
from genpulse.store import schema

_t = schema.tasks.c
_f = schema.files.c
# A literal, not a parameter: only then does SQLite see that the partial indexes apply.
_is_queued = _t.state == literal_column("'queued'")
_CLIENT_STATES: dict[str, list[str]] = {}
for _state, _status in STATUS_OF.items():
    _CLIENT_STATES.setdefault(_status, []).append(_state)


def task(conn: Connection, task_id: str, tenant: str | None = None) -> Task | None:
    query = select(schema.tasks).where(_t.id == task_id)
    if tenant is not None:
        query = query.where(_t.tenant == tenant)
    row = conn.execute(query).first()
    return None if row is None else Task(*row)


def tasks(conn: Connection, query: Select[Any]) -> list[Task]:
    return [Task(*row) for row in conn.execute(query)]


def page(conn: Connection, tenant: str, wanted: TaskFilter) -> list[Task]:
    """Newest first by `(created_at, id)`."""
    query = select(schema.tasks).where(_t.tenant == tenant)
    if wanted.statuses:
        query = query.where(_t.state.in_([state for status in wanted.statuses for state in _CLIENT_STATES[status]]))
    if wanted.task_type is not None:
        query = query.where(_t.task_type == wanted.task_type)
    if wanted.model is not None:
        query = query.where(_t.model == wanted.model)
    for key, value in wanted.metadata.items():
        query = query.where(_metadata_is(conn, key, value))
    if wanted.before is not None:
        query = query.where(tuple_(_t.created_at, _t.id) < wanted.before)
    return tasks(conn, query.order_by(_t.created_at.desc(), _t.id.desc()).limit(wanted.limit))


def _metadata_is(conn: Connection, key: str, value: str) -> ColumnElement[bool]:
    """Compares JSON as text: what the databases make of numbers and booleans differs."""
    texts = [orjson.dumps(value).decode()]
    try:
        literal_value: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        literal_value = None
    if isinstance(literal_value, bool | int | float):
        texts.append(orjson.dumps(literal_value).decode())
    place = key if conn.dialect.name == "postgresql" else f'$."{key}"'
    return cast(_t.metadata.op("->")(literal(place, Text)), Text).in_(texts)


def events(conn: Connection, tenant: str, task_id: str, after: int) -> list[Event]:
    e = schema.events.c
    owned = exists().where(_t.id == task_id, _t.tenant == tenant)
    query = select(e.seq, e.type, e.at, e.data).where(e.task_id == task_id, e.seq > after, owned).order_by(e.seq)
    return [Event(*row) for row in conn.execute(query)]


def position(conn: Connection, now: Micros, task: Task, cap: int) -> int | None:
    """Own waiting tasks that come before it, plus one. Bounded, since it stands in the path of a GET."""
    rank = task.rank
    sooner = or_(_t.rank < rank, and_(_t.rank == rank, tuple_(_t.available_at, _t.id) < (task.available_at, task.id)))
    own = and_(_is_queued, _t.tenant == task.tenant, _t.pool == task.pool)
    ahead = select(_t.id).where(own, sooner, _t.available_at <= now).limit(cap).subquery()
    count = conn.execute(select(func.count()).select_from(ahead)).scalar_one()
    return None if count >= cap else count + 1


def least_rank(pool: str, besides: str) -> Select[Any]:
    # The first of an index, not a minimum: it costs the same however many wait.
    return select(_t.rank).where(_is_queued, _t.pool == pool, _t.id != besides).order_by(_t.rank).limit(1)


def backlog(conn: Connection, now: Micros) -> list[PoolCount]:
    """Tasks by pool and non-terminal state, through the partial indexes."""
    queued = select(_t.pool, func.count(), func.min(_t.available_at)).where(_is_queued).group_by(_t.pool)
    active = (
        select(_t.pool, _t.state, func.count())
        .where(_t.worker_id.is_not(None), _t.state.in_(ACTIVE))
        .group_by(_t.pool, _t.state)
    )
    return [
        *(
            PoolCount(pool, State.QUEUED, tasks, max(0, now - oldest) / SECOND)
            for pool, tasks, oldest in conn.execute(queued)
        ),
        *(PoolCount(*row) for row in conn.execute(active)),
    ]


def queued_of(conn: Connection, tenant: str, cap: int) -> int:
    found = select(_t.id).where(_is_queued, _t.tenant == tenant).limit(cap).subquery()
    return conn.execute(select(func.count()).select_from(found)).scalar_one()


_due_task = select(_t.id, _t.tenant, _t.pool, _t.rank, _t.available_at)


def due(conn: Connection, now: Micros, pool: str, limit: int, after: tuple[int, Micros, str] | None) -> list[DueTask]:
    query = _due_task.where(_is_queued, _t.pool == pool, _t.available_at <= now)
    if after is not None:
        query = query.where(tuple_(_t.rank, _t.available_at, _t.id) > after)
    query = query.order_by(_t.rank, _t.available_at, _t.id).limit(limit)
    return [DueTask(*row) for row in conn.execute(query)]


def newly_due(conn: Connection, after: tuple[Micros, str], until: Micros, limit: int) -> list[DueTask]:
    delayed = and_(_is_queued, _t.available_at > _t.created_at)
    # The first condition is for the index, the second for many that are due at the same moment.
    query = _due_task.where(delayed, _t.available_at >= after[0], tuple_(_t.available_at, _t.id) > after)
    query = query.where(_t.available_at <= until).order_by(_t.available_at, _t.id).limit(limit)
    return [DueTask(*row) for row in conn.execute(query)]


def ageing(since_before: Micros, limit: int) -> Select[Any]:
    low = _t.rank == PRIORITY_RANK["low"]
    return select(_t.id).where(_is_queued, low, _t.available_at < since_before).order_by(_t.available_at).limit(limit)


def overdue(now: Micros, limit: int) -> Select[Any]:
    passed = and_(_t.deadline_at.is_not(None), _t.finished_at.is_(None), _t.deadline_at <= now)
    return select(_t.id).where(passed, _is_queued).limit(limit)


def orphans(limit: int) -> Select[Any]:
    return (
        select(schema.tasks)
        .where(_t.worker_id.is_not(None), _t.worker_id.not_in(select(schema.workers.c.id)))
        .limit(limit)
    )


def replay(conn: Connection, tenant: str, key: str, body_hash: str) -> Task | None:
    """The task of an idempotency key that was used with this body."""
    k = schema.idempotency.c
    used = and_(k.tenant == tenant, k.key == key, k.body_hash == body_hash)
    row = conn.execute(select(schema.tasks).join(schema.idempotency, k.task_id == _t.id).where(used)).first()
    return None if row is None else Task(*row)


def submission(conn: Connection, task_id: str, attempt: int) -> Submission | None:
    s = schema.submissions.c
    row = conn.execute(select(schema.submissions).where(s.task_id == task_id, s.attempt == attempt)).first()
    return None if row is None else Submission(*row)


def file(conn: Connection, file_id: str) -> StoredFile | None:
    row = conn.execute(select(schema.files).where(_f.id == file_id)).first()
    return None if row is None else StoredFile(*row)


def files(conn: Connection, query: Select[Any]) -> list[StoredFile]:
    return [StoredFile(*row) for row in conn.execute(query)]


def files_of(task_id: str) -> Select[Any]:
    return select(schema.files).where(_f.task_id == task_id, _f.deleted_at.is_(None)).order_by(_f.created_at, _f.id)


def expired_tasks(finished_before: Micros, limit: int) -> Select[Any]:
    return (
        select(schema.tasks)
        .where(_t.finished_at.is_not(None), _t.finished_at < finished_before)
        .order_by(_t.finished_at)
        .limit(limit)
    )


def expired_uploads(created_before: Micros, limit: int) -> Select[Any]:
    old = and_(_f.task_id.is_(None), _f.deleted_at.is_(None), _f.created_at < created_before)
    return select(schema.files).where(old).order_by(_f.created_at).limit(limit)


def ids(conn: Connection, query: Select[Any]) -> Sequence[str]:
    return conn.execute(query).scalars().all()
