"""The tables, one schema for SQLite and PostgreSQL. Times are integer microseconds of the database's clock.

JSON is stored as text-preserving `JSON`, not `JSONB`: params are echoed as they were sent, and JSONB reorders keys.
Partial indexes keep the queue's size out of the price of a claim (measured flat up to a million queued rows).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from genpulse.core.models import TASK_FIELDS

metadata = MetaData()

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("task_type", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("pool", String(32), nullable=False),
    Column("priority", String(8), nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("params", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("options", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("suspicion", SmallInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("worker_id", String(36)),
    Column("created_at", BigInteger, nullable=False),
    Column("available_at", BigInteger, nullable=False),
    Column("deadline_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("cancel_requested_at", BigInteger),
    Column("retry_of", String(36)),
    Column("progress", Float),
    Column("stage", String(200)),
    Column("warnings", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("cost", JSON(none_as_null=True)),
    Column("last_seq", Integer, nullable=False),
)

if tuple(tasks.columns.keys()) != TASK_FIELDS:
    raise AssertionError("the columns of `tasks` must be the fields of core.models.Task, in the same order")


def _partial(name: str, condition: str, *columns: Any) -> Index:
    where = text(condition)
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("tasks_queued", "state = 'queued'", tasks.c.pool, tasks.c.rank, tasks.c.available_at, tasks.c.id)
_partial("tasks_queued_of_tenant", "state = 'queued'", tasks.c.tenant, tasks.c.pool, tasks.c.rank)
_partial("tasks_delayed", "state = 'queued' AND available_at > created_at", tasks.c.available_at)
_partial("tasks_owned", "worker_id IS NOT NULL", tasks.c.worker_id)
_partial("tasks_deadline", "deadline_at IS NOT NULL AND finished_at IS NULL", tasks.c.deadline_at)
_partial("tasks_finished", "finished_at IS NOT NULL", tasks.c.finished_at)
Index("tasks_of_tenant", tasks.c.tenant, tasks.c.created_at.desc(), tasks.c.id.desc())

events = Table(
    "events",
    metadata,
    Column("task_id", String(36), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String(12), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", JSON, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    Column("task_id", String(36), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("token", String(36), nullable=False, unique=True),
    Column("state", String(12), nullable=False),
    Column("sends", Integer, nullable=False),
    Column("remote_id", Text),
    Column("prepared", JSON, nullable=False),
    Column("checkpoint", JSON(none_as_null=True)),
    Column("created_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("task_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

files = Table(
    "files",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("task_id", String(36)),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration_s", Float),
    Column("key", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
)
_partial("files_of_task", "task_id IS NOT NULL", files.c.task_id)
_partial("files_uploaded", "task_id IS NULL AND deleted_at IS NULL", files.c.created_at)

workers = Table(
    "workers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("info", JSON, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
)

pools = Table(
    "pools",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    UniqueConstraint("hash"),
)
