"""`SqlLedger`: the ledger port on SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import IntegrityError

from genpulse.core.ledger import Changed, PoolCount, TaskFilter
from genpulse.core.metrics import Metrics
from genpulse.core.models import (
    TERMINAL,
    Accepted,
    DueTask,
    Event,
    Json,
    Micros,
    NewTask,
    StoredFile,
    Submission,
    Task,
)
from genpulse.core.states import Step
from genpulse.errors import RequestError
from genpulse.store import queries, schema, writes
from genpulse.store.database import Database
from genpulse.store.group_commit import GroupCommit

_t, _w, _f, _p = schema.tasks.c, schema.workers.c, schema.files.c, schema.pools.c


class SqlLedger:
    """Implements `core.ledger.Ledger`; accepts and changes of one process share commits."""

    def __init__(self, database: Database, metrics: Metrics | None = None) -> None:
        self.database = database
        self._metrics = metrics or Metrics()
        self._writes: GroupCommit[writes.Write] = GroupCommit(self._run)

    async def _run(self, ops: Sequence[writes.Write]) -> Sequence[Accepted | Changed | RequestError]:
        now, began = self.database.now, time.perf_counter()
        try:
            answers = await self.database.write(lambda conn: writes.run(conn, now(conn), ops))
        except RequestError as error:
            self._metrics.ledger_errors.of(error.code).inc()
            raise
        self._metrics.ledger_transaction_seconds.observe(time.perf_counter() - began)
        self._metrics.ledger_batch_size.observe(len(ops))
        return answers

    # Accept and change ------------------------------------------------------------------------------------------

    async def accept(self, new: NewTask) -> Accepted:
        try:
            return await self._writes.submit(writes.Accept(new))
        except IntegrityError:
            # Another process has just committed a task with this chosen id: now it is found.
            if not new.given_id:
                raise
            return await self._writes.submit(writes.Accept(new))

    async def change(self, task_id: str, step: Step) -> Changed:
        return await self._writes.submit(writes.ChangeTask(task_id, step))

    async def replay(self, tenant: str, key: str, body_hash: str) -> Task | None:
        return await self.database.read(lambda conn: queries.replay(conn, tenant, key, body_hash))

    async def delete(self, tenant: str, task_id: str) -> list[StoredFile]:
        def unit(conn: Connection) -> list[StoredFile]:
            gone = delete(schema.tasks).where(_t.id == task_id, _t.tenant == tenant, _t.state.in_(TERMINAL))
            if conn.execute(gone).rowcount == 0:
                return []
            files = queries.files(conn, queries.files_of(task_id))
            conn.execute(delete(schema.events).where(schema.events.c.task_id == task_id))
            conn.execute(delete(schema.submissions).where(schema.submissions.c.task_id == task_id))
            return files

        return await self.database.write(unit)

    # Read -------------------------------------------------------------------------------------------------------

    async def get(self, tenant: str, task_id: str) -> Task | None:
        return await self.database.read(lambda conn: queries.task(conn, task_id, tenant))

    async def get_any(self, task_id: str) -> Task | None:
        return await self.database.read(lambda conn: queries.task(conn, task_id))

    async def list(self, tenant: str, query: TaskFilter) -> list[Task]:
        return await self.database.read(lambda conn: queries.page(conn, tenant, query))

    async def events(self, tenant: str, task_id: str, after: int = 0) -> list[Event]:
        return await self.database.read(lambda conn: queries.events(conn, tenant, task_id, after))

    async def position(self, task: Task, cap: int = 1000) -> int | None:
        now = self.database.now
        return await self.database.read(lambda conn: queries.position(conn, now(conn), task, cap))

    async def backlog(self) -> list[PoolCount]:
        now = self.database.now
        return await self.database.read(lambda conn: queries.backlog(conn, now(conn)))

    async def queued_of(self, tenant: str, cap: int) -> int:
        return await self.database.read(lambda conn: queries.queued_of(conn, tenant, cap))

    async def submission(self, task_id: str, attempt: int) -> Submission | None:
        return await self.database.read(lambda conn: queries.submission(conn, task_id, attempt))

    # Work -------------------------------------------------------------------------------------------------------

    async def due(self, pool: str, limit: int, *, after: tuple[int, Micros, str] | None = None) -> list[DueTask]:
        now = self.database.now
        return await self.database.read(lambda conn: queries.due(conn, now(conn), pool, limit, after))

    async def newly_due(self, after: tuple[Micros, str], until: Micros, limit: int) -> list[DueTask]:
        return await self.database.read(lambda conn: queries.newly_due(conn, after, until, limit))

    async def overdue(self, limit: int) -> list[str]:
        now = self.database.now
        return list(await self.database.read(lambda conn: queries.ids(conn, queries.overdue(now(conn), limit))))

    async def cancel_requested(self, worker_id: str) -> list[str]:
        query = select(_t.id).where(_t.worker_id == worker_id, _t.cancel_requested_at.is_not(None))
        return list(await self.database.read(lambda conn: queries.ids(conn, query)))

    async def ageing(self, since_before: Micros, limit: int) -> list[str]:
        query = queries.ageing(since_before, limit)
        return list(await self.database.read(lambda conn: queries.ids(conn, query)))

    async def least_rank(self, pool: str, *, besides: str) -> int | None:
        query = queries.least_rank(pool, besides)
        return await self.database.read(lambda conn: conn.execute(query).scalar_one_or_none())

    # Pools ------------------------------------------------------------------------------------------------------

    async def paused_pools(self) -> frozenset[str]:
        query = select(_p.name).where(_p.paused)
        return frozenset(await self.database.read(lambda conn: queries.ids(conn, query)))

    async def pools(self) -> Mapping[str, bool]:
        query = select(_p.name, _p.paused)
        return await self.database.read(lambda conn: {row.name: row.paused for row in conn.execute(query)})

    async def pause_pool(self, pool: str, *, paused: bool) -> None:
        now = self.database.now
        await self.database.write(lambda conn: writes.pause_pool(conn, now(conn), pool, paused=paused))

    # Workers ----------------------------------------------------------------------------------------------------

    async def register_worker(self, worker_id: str, info: Json) -> None:
        def unit(conn: Connection) -> None:
            now = self.database.now(conn)
            conn.execute(
                schema.workers.insert(), {"id": worker_id, "info": info, "started_at": now, "heartbeat_at": now}
            )

        await self.database.write(unit)

    async def heartbeat(self, worker_id: str) -> bool:
        def unit(conn: Connection) -> bool:
            beat = update(schema.workers).where(_w.id == worker_id).values(heartbeat_at=self.database.now(conn))
            return conn.execute(beat).rowcount == 1

        return await self.database.write(unit)

    async def retire_worker(self, worker_id: str) -> None:
        await self.database.write(lambda conn: conn.execute(delete(schema.workers).where(_w.id == worker_id)))

    async def workers(self) -> list[Json]:
        def unit(conn: Connection) -> list[Json]:
            rows = conn.execute(select(schema.workers).order_by(_w.started_at)).mappings()
            return [dict(row) for row in rows]

        return await self.database.read(unit)

    async def bury_workers(self, lease: Micros) -> list[Json]:
        def silent(conn: Connection) -> Any:
            return select(schema.workers).where(_w.heartbeat_at <= self.database.now(conn) - lease)

        def unit(conn: Connection) -> list[Json]:
            # Deleting the row is the death certificate: a late heartbeat finds nothing and its worker starts anew.
            dead = [dict(row) for row in conn.execute(silent(conn).with_for_update()).mappings()]
            conn.execute(delete(schema.workers).where(_w.id.in_([row["id"] for row in dead])))
            return dead

        def anybody(conn: Connection) -> bool:
            return conn.execute(silent(conn).limit(1)).first() is not None

        return await self.database.write(unit) if await self.database.read(anybody) else []

    async def owned(self, worker_id: str) -> dict[str, int]:
        query = select(_t.id, _t.fence).where(_t.worker_id == worker_id)
        return await self.database.read(lambda conn: {row[0]: row[1] for row in conn.execute(query)})

    async def orphans(self, limit: int) -> list[Task]:
        return await self.database.read(lambda conn: queries.tasks(conn, queries.orphans(limit)))

    # Files ------------------------------------------------------------------------------------------------------

    async def add_file(self, file: StoredFile) -> None:
        await self.database.write(lambda conn: conn.execute(schema.files.insert(), dataclasses.asdict(file)))

    async def file(self, file_id: str) -> StoredFile | None:
        return await self.database.read(lambda conn: queries.file(conn, file_id))

    async def files_of(self, task_id: str) -> list[StoredFile]:
        return await self.database.read(lambda conn: queries.files(conn, queries.files_of(task_id)))

    async def forget_files(self, file_ids: Sequence[str]) -> None:
        def unit(conn: Connection) -> None:
            forgotten = update(schema.files).where(_f.id.in_(file_ids)).values(deleted_at=self.database.now(conn))
            conn.execute(forgotten)

        await self.database.write(unit)

    # Upkeep -----------------------------------------------------------------------------------------------------

    async def now(self) -> Micros:
        return await self.database.read(self.database.now)

    async def expired_tasks(self, finished_before: Micros, limit: int) -> list[Task]:
        query = queries.expired_tasks(finished_before, limit)
        return await self.database.read(lambda conn: queries.tasks(conn, query))

    async def expired_uploads(self, created_before: Micros, limit: int) -> list[StoredFile]:
        query = queries.expired_uploads(created_before, limit)
        return await self.database.read(lambda conn: queries.files(conn, query))

    async def purge_idempotency(self, created_before: Micros) -> int:
        old = delete(schema.idempotency).where(schema.idempotency.c.created_at < created_before)
        return await self.database.write(lambda conn: conn.execute(old).rowcount)

    async def ping(self) -> None:
        await self.database.read(_select_one)

    async def close(self) -> None:
        await self._writes.close()
        await self.database.close()


def _select_one(conn: Connection) -> Any:
    return conn.execute(text("SELECT 1")).scalar_one()
