"""After tasks of every kind of life nothing is left behind: not in Redis, not in memory, not in the work folder."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from genpulse.core import service, states
from genpulse.core.hosts import identify
from genpulse.core.metrics import _MAX_CHILDREN
from genpulse.core.models import State, Task
from genpulse.core.registry import Registry
from genpulse.core.worker import Worker
from genpulse.errors import RequestError
from genpulse.handlers.base import BaseHandler
from genpulse.mq import ingress
from genpulse.mq.blocking import _IDLE_CONNECTIONS
from genpulse.mq.progress import _KEPT_HERE
from tests.core.system import System

KEPT_KEYS = {
    r"generation": 1,
    r"queue:handlers": 100,  # a member for each waiting task, gone with the last of them
    r"tasks:pending": 100,  # what producers have pushed and nobody has taken
    r"tasks:ingress:w\d": 100,  # what one consumer holds
    r"tasks:consumers": 10,
    r"tasks:rejected": ingress.KEPT_REJECTED,
}
"""All keys that live without an end, and how many members each may have in this test."""
KEPT_IN_MEMORY = {
    "Worker._pools": 1,
    "ProgressBoard._here": _KEPT_HERE,
    "BlockingCalls._idle": _IDLE_CONNECTIONS,
    "TaskService._queued": service.COUNTED_TENANTS,
    "Family._children": _MAX_CHILDREN,
}
"""All containers that may hold something when nothing is going on, and how much."""
SIZES = {b"string": None, b"list": "LLEN", b"hash": "HLEN", b"zset": "ZCARD", b"set": "SCARD"}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def endless_keys(redis: Redis) -> dict[str, int]:
    """Keys without a TTL by name, with their sizes."""
    found: dict[str, int] = {}
    async for key in redis.scan_iter(count=1000):
        if await redis.ttl(key) == -1:
            command = SIZES[await redis.type(key)]
            found[key.decode()] = 1 if command is None else await redis.execute_command(command, key)
    return found


def check_keys(found: dict[str, int]) -> None:
    for key, size in found.items():
        [limit] = [limit for pattern, limit in KEPT_KEYS.items() if re.fullmatch(pattern, key)] or [0]
        assert size <= limit, (key, size)


def containers(part: Any, seen: set[int] | None = None) -> Iterator[tuple[str, int]]:
    """Every dict, set, list and deque that a part and its parts hold, as `Class.attribute`, and its size."""
    seen = set() if seen is None else seen
    if id(part) in seen or isinstance(part, Registry) or not type(part).__module__.startswith("genpulse."):
        return
    seen.add(id(part))
    names = [*getattr(part, "__dict__", {}), *(getattr(type(part), "__slots__", ()))]
    for name in names:
        value = getattr(part, name)
        if isinstance(value, dict | set | list | deque):
            yield f"{type(part).__name__}.{name}", len(value)
        else:
            yield from containers(value, seen)


class Lives:
    """Starts tasks of every kind of life, and watchers of every kind."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.watching: list[asyncio.Task[Any]] = []

    async def before_a_worker_runs(self) -> list[Task]:
        system, due = self.system, datetime.now(UTC) + timedelta(seconds=0.3)
        tasks = [await system.submit("shout", tenant=f"t{n}") for n in range(5)]
        tasks += [
            await system.submit("odd", {"answer": [1]}),
            await system.submit("late"),
            await system.submit("block"),
        ]
        tasks += [await system.submit("hold", run_at=due), await system.submit("hold", priority="low")]
        tasks.append(await system.submit("hold", deadline_s=0.01, priority="low"))
        cancelled = await system.submit("hold")
        await system.tasks.cancel("default", cancelled.id)
        tasks.append(await system.tasks.retry("default", cancelled.id))
        await system.ledger.register_worker("dead", identify() | {"pid": 2**22 + 1})
        tasks.append(await system.submit("hold"))
        await system.ledger.change(tasks[-1].id, states.claim("dead"))
        return tasks

    def watch(self, tasks: list[Task]) -> None:
        """To the end, until the watcher leaves, and until it gives up."""
        for task in tasks:
            self._follow(self.system.tasks.events(task))
            self.watching.append(asyncio.create_task(self.system.tasks.wait(task, 0.05)))
        left = self._follow(self.system.tasks.events(tasks[0])), self._follow(self.system.tasks.feed("default"))
        asyncio.get_running_loop().call_later(0.1, lambda: [watcher.cancel() for watcher in left])

    def _follow(self, seen: AsyncIterator[Any]) -> asyncio.Task[None]:
        async def follow() -> None:
            async for _ in seen:
                pass

        self.watching.append(asyncio.create_task(follow()))
        return self.watching[-1]

    async def cancel_one_while_it_runs(self) -> None:
        task = await self.system.submit("hold", priority="high")
        await self.system.until(task, State.RUNNING)
        await self.system.tasks.cancel("default", task.id)
        assert (await self.system.end(task)).state == State.CANCELLED

    async def end(self, tasks: list[Task]) -> None:
        self.system.gate.open.set()
        ends = {(await self.system.end(task)).state for task in tasks}
        assert ends == {State.SUCCEEDED, State.FAILED}
        await self.system.tasks.delete("default", tasks[5].id)
        async with asyncio.timeout(10):
            await asyncio.gather(*self.watching, return_exceptions=True)


def register_a_handler_that_reports_late(system: System) -> list[asyncio.Task[None]]:
    """It leaves something behind that goes on reporting after its task has ended."""
    late: list[asyncio.Task[None]] = []

    @system.registry.register("late")
    class Late(BaseHandler):
        async def execute(self, task: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
            async def report() -> None:
                while (await system.ledger.get_any(task["task_id"])).state != State.SUCCEEDED:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                await context["update_status"]("processing", progress=99)

            late.append(asyncio.create_task(report()))
            return {}

    return late


async def produce_directly(system: System, redis: Redis) -> None:
    """One entry committed, one refused, two given back: by their consumer, and for a dead one."""
    alive, dead = system.queue.ingress("w1"), system.queue.ingress("w2")
    await redis.lpush("tasks:pending", *(json.dumps({"task_type": "shout", "n": n}) for n in range(3)))
    committed, refused, _ = await alive.take(1)
    await alive.done(committed)
    await alive.reject(refused, {"status": 422})
    await redis.lpush("tasks:pending", json.dumps({"task_type": "shout", "n": 3}))
    await dead.take(1)
    await redis.zadd("tasks:consumers", {"w2": 1})
    assert await alive.recover() == 1
    await alive.close()
    assert await redis.llen("tasks:pending") == 2
    await redis.delete("tasks:pending")


async def test_nothing_is_left_behind(make_system: Any, redis: Redis) -> None:
    system: System = make_system(max_queued=1000, lease_s=1.0)
    late, lives = register_a_handler_that_reports_late(system), Lives(system)
    tasks = await lives.before_a_worker_runs()
    lives.watch(tasks)
    check_keys(await endless_keys(redis))
    async with system.reconciling(), system.working() as worker:
        await lives.cancel_one_while_it_runs()
        await lives.end(tasks)
        await produce_directly(system, redis)
        await asyncio.gather(*late)
        # While it waits for tasks that don't come:
        check_keys(found := await endless_keys(redis))
        assert found.keys() == {"generation", "tasks:rejected"}
    await system.signals.close()
    check_memory(system, worker)
    assert list((system.folder / "work").iterdir()) == []


def check_memory(system: System, worker: Worker) -> None:
    seen: set[int] = set()
    for part in (*vars(system).values(), worker):
        for name, size in containers(part, seen):
            assert size <= KEPT_IN_MEMORY.get(name, 0), (name, size)
    left = {task.get_name() for task in asyncio.all_tasks()} - {"pubsub"}
    assert len(left) == 1, left  # this test


async def test_counts_are_kept_for_so_many_tenants_only(make_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "COUNTED_TENANTS", 3)
    system: System = make_system(max_queued=2)
    for n in range(9):
        await system.submit("hold", tenant=f"t{n}")
    assert dict(containers(system.tasks))["TaskService._queued"] == 3
    for tenant in ("t8", "t0"):  # one that is remembered, and one that is counted again
        await system.submit("hold", tenant=tenant)
        with pytest.raises(RequestError, match="2 tasks waiting"):
            await system.submit("hold", tenant=tenant)
