"""What one task's whole life costs: transactions and rows written, and commands that Redis got; on both databases.

Counted at the execute seam, in SQLAlchemy's cursor events and by the server itself (MONITOR, which tells a script's
inner commands from those that were sent; `INFO commandstats` counts both alike). A figure that grows fails here.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Connection, Engine, event

from genpulse.core.ids import new_id
from genpulse.core.models import Recovery, State, Task
from genpulse.core.registry import Model
from genpulse.core.requests import TaskRequest
from genpulse.handlers.base import BaseHandler
from genpulse.store import queries
from genpulse.store.database import Database
from tests.core.system import System
from tests.core.test_execution import Remote

WRITES = ("INSERT", "UPDATE", "DELETE")
CONNECTING = {"CLIENT", "HELLO", "SELECT", "PING", "MONITOR", "ECHO"}
"""What opens or checks a connection, not what a task costs."""


class SqlCost:
    """Transactions by kind, and rows written by table, while `counting`."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.unwatched_read = database.read
        for kind in ("write", "read"):
            monkeypatch.setattr(database, kind, self._counted(kind, getattr(database, kind)))

    def _counted(self, kind: str, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def counted(unit: Callable[[Connection], Any]) -> Any:
            self.transactions[kind] += 1
            return await run(unit)

        return counted

    @contextmanager
    def counting(self) -> Iterator[None]:
        def executed(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            words = statement.split(None, 3)
            if words[0] in WRITES:
                table = words[1] if words[0] == "UPDATE" else words[2]
                self.rows[f"{words[0]} {table}"] += len(parameters) if many else cursor.rowcount

        self.transactions.clear()
        event.listen(Engine, "after_cursor_execute", executed)
        try:
            yield
        finally:
            event.remove(Engine, "after_cursor_execute", executed)


class RedisCost:
    """Commands that the server got, and those that scripts made of them."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, protocol=2)
        self.sent: Counter[str] = Counter()
        self.inside_scripts: Counter[str] = Counter()

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        end = new_id()
        async with self._client.monitor() as monitor:
            yield
            await self._client.execute_command("ECHO", end)
            while end not in (command := await monitor.next_command())["command"]:
                name = command["command"].split(" ", 1)[0].upper()
                if name not in CONNECTING:
                    (self.inside_scripts if command["client_type"] == "lua" else self.sent)[name] += 1
        # A pop that waits is sent again every two seconds, by an idle worker too: a task is popped once.
        self.sent["BZPOPMIN"] = 1
        await self._client.aclose()


class Paint(BaseHandler):
    default_model = "remote/paint"


@pytest.fixture
def remote(system: System) -> Remote:
    made = Remote(Recovery.IDEMPOTENT)
    system.pools = {"cloud": 2}
    system.registry.register("paint")(Paint)
    system.registry.register_model(Model("remote/paint", ("paint",), pool="cloud", backend=lambda: made))
    return made


async def live(system: System, sql: SqlCost) -> Task:
    """One task from its accept to its end, seen through no watcher: those would cost something of their own."""
    request = TaskRequest(task_type="paint", params={"prompt": "x"})
    accepted = await system.tasks.submit("default", request, idempotency_key=new_id())
    async with asyncio.timeout(10):
        while True:
            task = await sql.unwatched_read(lambda conn: queries.task(conn, accepted.task.id))
            assert task is not None
            if task.terminal:
                break
            await asyncio.sleep(0.005)
    await system.signals.close()  # sends what is left
    return task


@dataclass(frozen=True)
class Cost:
    """Of one life on a system that is warm: the server knows the scripts, the worker has subscribed."""

    transactions: Counter[str]
    rows: Counter[str]
    redis: Counter[str]
    inside_scripts: Counter[str]


@pytest.fixture
async def cost(
    system: System, remote: Remote, database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Cost:
    sql, redis = SqlCost(database, monkeypatch), RedisCost(redis_url)
    async with system.working():
        await live(system, sql)
        with sql.counting():
            async with redis.counting():
                task = await live(system, sql)
        found = Cost(sql.transactions.copy(), sql.rows, redis.sent, redis.inside_scripts)
    assert task.state == State.SUCCEEDED and len(remote.sent) == 2
    return found


async def test_transactions_of_a_paid_task(cost: Cost, record_property: Callable[[str, object], None]) -> None:
    """Accept, claim, intent, remote id, end: each must be durable before the next (invariants 2 to 5)."""
    record_property("cost", cost)
    assert cost.transactions["write"] <= 5, cost
    # The submission of an earlier owner, the time of the output. (An idle worker reads once a second besides.)
    assert cost.transactions["read"] <= 4, cost
    assert cost.rows["INSERT submissions"] <= 2, cost


async def test_rows_of_a_paid_task(cost: Cost) -> None:
    """Twelve, and one more for who sends an Idempotency-Key: the record that makes a repeat safe."""
    assert cost.rows.pop("INSERT idempotency") == 1
    assert cost.rows.total() <= 12, cost.rows


async def test_redis_commands_of_a_paid_task(cost: Cost) -> None:
    assert cost.redis.total() <= 12, cost.redis
