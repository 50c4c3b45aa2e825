"""Direct producers: what they push is accepted once, or shown as rejected, wherever the process dies."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from genpulse.core.ledger import TaskFilter
from genpulse.core.models import Accepted, NewTask, State
from genpulse.core.ports import Entry
from genpulse.core.producers import DirectProducers
from genpulse.errors import RequestError
from genpulse.mq import RedisIngress
from genpulse.mq.ingress import DEAD_AFTER_S
from tests.core.system import System


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The producer: any client of any language."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@contextlib.asynccontextmanager
async def producing(system: System, consumer: str = "c1") -> AsyncIterator[None]:
    running = asyncio.create_task(DirectProducers(system.tasks, system.queue.ingress(consumer), tenant="default").run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], Any], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def tasks_of(system: System) -> list[Any]:
    return await system.ledger.list("default", TaskFilter(limit=1000))


async def test_an_entry_becomes_a_task_that_runs_and_tells(system: System, redis: Redis) -> None:
    task_id = str(uuid.uuid4())
    async with redis.pubsub() as listener, producing(system), system.working():
        await listener.subscribe(f"task_updates:{task_id}")
        body = {"task_type": "shout", "params": {"text": "hi"}, "task_id": task_id, "priority": "high"}
        await redis.lpush("tasks:pending", json.dumps(body))
        seen: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not seen or seen[-1]["status"] != "completed":
                message = await listener.get_message(timeout=1)
                if message is not None and message["type"] == "message":
                    seen.append(json.loads(message["data"]))
    assert [m["status"] for m in seen if "task_type" in m][:2] == ["pending", "processing"]
    assert seen[-1]["result"]["data"] == {"text": "HI"}
    progress = [m for m in seen if "task_type" not in m]
    assert progress and set(progress[0]) == {"task_id", "status", "progress", "stage"}
    assert await redis.llen("tasks:ingress:c1") == 0


async def test_a_repeated_id_is_ignored_and_with_another_body_rejected(system: System, redis: Redis) -> None:
    task_id = str(uuid.uuid4())
    body = {"task_type": "shout", "params": {"text": "a"}, "task_id": task_id}
    async with producing(system):
        await redis.lpush("tasks:pending", json.dumps(body), json.dumps(body))
        await until(lambda: tasks_of(system))
        await redis.lpush("tasks:pending", json.dumps(body), json.dumps(body | {"params": {"text": "b"}}))
        await until(lambda: redis.llen("tasks:rejected"))
        await until(lambda: _nothing_left(redis))
    [task] = await tasks_of(system)
    assert task.id == task_id and task.params == {"text": "a"}
    [rejected] = await redis.lrange("tasks:rejected", 0, -1)
    assert json.loads(rejected)["problem"]["error"]["code"] == "idempotency_key_reused"


async def _nothing_left(redis: Redis) -> bool:
    async with redis.pipeline(transaction=True) as both:  # at one moment: entries move from one to the other
        pending, held = await both.llen("tasks:pending").keys("tasks:ingress:*").execute()
    return not pending and not held


REJECTED = [
    (b"not json", "invalid_request", None),
    (b"\xff\x00", "invalid_request", None),
    (b"[]", "invalid_request", "body"),
    (b"task:0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04 {}", "invalid_request", "task_type"),
    (b'{"task_type": "nope"}', "unknown_task_type", "task_type"),
    (b'{"task_type": "shout", "params": {"text": NaN}}', "invalid_request", "params.text"),
    (b'{"task_type": "shout", "params": {"text": 1}}', "invalid_params", "params.text"),
    (b'{"task_type": "shout", "task_id": "1"}', "invalid_request", "task_id"),
    (b'{"task_type": "shout", "task_id": null}', "invalid_request", "task_id"),
    (b'{"task_type": "shout", "task_id": "0199C2F4-7D1E-7C58-9A53-3F2B8E6A1D04"}', "invalid_request", "task_id"),
    (b'{"task_type": "shout", "tenant": "other"}', "invalid_request", "tenant"),
    (b'{"task_type": "odd", "params": {"n": 2}}', "invalid_params", "params"),
    (b'{"task_type": "odd", "params": {"n": "x"}}', "invalid_request", None),  # its validation raises
    (b'{"task_type": "shout", "params": {"text": "' + b"x" * (1 << 20) + b'"}}', "payload_too_large", None),
]


async def test_what_cannot_be_accepted_is_shown_with_its_problem(system: System, redis: Redis) -> None:
    async with producing(system):
        await redis.lpush("tasks:pending", *(entry for entry, _, _ in REJECTED))
        await redis.lpush("tasks:pending", b'{"task_type": "shout"}')
        await until(lambda: tasks_of(system))
        await until(lambda: _nothing_left(redis))
    assert len(await tasks_of(system)) == 1
    shown = [json.loads(document) for document in reversed(await redis.lrange("tasks:rejected", 0, -1))]
    assert len(shown) == len(REJECTED)
    for document, (entry, code, field) in zip(shown, REJECTED, strict=True):
        assert document["problem"]["error"]["code"] == code, entry[:60]
        assert document["problem"]["error"]["param"] == field, entry[:60]
        if not entry.startswith(b"task:"):  # looks like a stamp of ours, so it is cut off
            assert document["entry"] == entry[: 1 << 20].decode(errors="replace")


async def test_what_cannot_be_accepted_now_waits(make_system: Any, redis: Redis) -> None:
    system: System = make_system(max_queued=2)
    await redis.lpush("tasks:pending", *(b'{"task_type": "shout"}' for _ in range(5)))
    async with producing(system):
        await until(lambda: _count(system, 2))
        async with system.working():
            await until(lambda: _count(system, 5), within_s=30)
    assert await redis.llen("tasks:rejected") == 0
    assert await _nothing_left(redis)


async def _count(system: System, wanted: int) -> bool:
    return len(await tasks_of(system)) == wanted


class DyingIngress(RedisIngress):
    """Comes to a stand for ever before or after its n-th step, and can't say goodbye."""

    def __init__(self, system: System, budget: int) -> None:
        super().__init__(system.queue._link, system.queue._blocking, "dying", prefix="")
        self._budget = budget
        self.dead = asyncio.Event()

    async def step(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            self.dead.set()
            await asyncio.Event().wait()

    async def take(self, timeout: float) -> list[Entry]:
        await self.step()
        entries = await super().take(timeout)
        if entries:
            await self.step()
        return entries

    async def done(self, *entries: Entry) -> None:
        await self.step()
        await super().done(*entries)
        await self.step()

    async def reject(self, entry: Entry, problem: Any) -> None:
        await self.step()
        await super().reject(entry, problem)
        await self.step()

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("budget", range(12))
async def test_killed_at_any_step_it_loses_nothing_and_accepts_nothing_twice(
    system: System, redis: Redis, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def push(first: int) -> None:
        bodies = [{"task_type": "shout", "params": {"text": str(n)}} for n in range(first, first + 3)]
        await redis.lpush("tasks:pending", *(json.dumps(body) for body in bodies), "junk")

    await push(0)
    dying = DyingIngress(system, budget)
    commit = system.ledger.accept

    async def accept(new: NewTask) -> Accepted:
        await dying.step()
        accepted = await commit(new)
        await dying.step()
        return accepted

    monkeypatch.setattr(system.ledger, "accept", accept)
    running = asyncio.create_task(DirectProducers(system.tasks, dying, tenant="default").run())
    await push(3)
    await asyncio.wait_for(dying.dead.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    monkeypatch.setattr(system.ledger, "accept", commit)

    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"dying": now - DEAD_AFTER_S - 1})
    async with producing(system, "heir"):
        await until(lambda: _nothing_left(redis))
    texts = sorted(task.params["text"] for task in await tasks_of(system))
    assert texts == [str(n) for n in range(6)]
    assert await redis.llen("tasks:rejected") == 2


async def test_an_outage_of_the_database_keeps_entries(
    system: System, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = True
    commit = system.ledger.accept

    async def accept(new: NewTask) -> Accepted:
        if down:
            raise RequestError("unavailable", "The database can't be reached.")
        return await commit(new)

    monkeypatch.setattr(system.ledger, "accept", accept)
    await redis.lpush("tasks:pending", *(json.dumps({"task_type": "shout"}) for _ in range(60)))
    async with producing(system):
        await until(lambda: redis.keys("tasks:ingress:*"))
        down = False
        await until(lambda: _count(system, 60))
        await until(lambda: _nothing_left(redis))
    assert {task.state for task in await tasks_of(system)} == {State.QUEUED}


async def test_two_consumers_share_the_work(system: System, redis: Redis) -> None:
    await redis.lpush("tasks:pending", *(json.dumps({"task_type": "shout"}) for _ in range(300)))
    async with producing(system, "c1"), producing(system, "c2"):
        await until(lambda: _count(system, 300))
        await until(lambda: _nothing_left(redis))


async def test_equal_ids_in_two_processes_make_one_task(system: System, make_system: Any, redis: Redis) -> None:
    """Their commits don't see each other's rows."""
    other: System = make_system()
    entry = json.dumps({"task_type": "shout", "task_id": str(uuid.uuid4())})
    await redis.lpush("tasks:pending", *[entry] * 120)
    async with producing(system, "c1"), producing(other, "c2"):
        await until(lambda: _nothing_left(redis))
    assert await _count(system, 1)
    assert await redis.llen("tasks:rejected") == 0


async def test_junk_beside_the_entries_does_no_harm(system: System, redis: Redis) -> None:
    await redis.zadd("tasks:consumers", {b"\xff\xfe": 1})
    await redis.set("tasks:ingress:odd", "a string")
    await redis.zadd("tasks:consumers", {"odd": 1})
    await redis.lpush("tasks:pending", json.dumps({"task_type": "shout"}))
    async with producing(system):
        await asyncio.sleep(0.3)
        await redis.delete("tasks:ingress:odd")
        await until(lambda: _count(system, 1))


async def test_a_consumer_that_slept_and_died_loses_nothing(system: System, redis: Redis) -> None:
    """Taken for dead while its machine was suspended, it took one more entry when it woke up, then it died."""
    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"sleeper": now - DEAD_AFTER_S - 1})
    other = system.queue.ingress("other")
    assert await other.recover() == 0
    await redis.lpush("tasks:ingress:sleeper", json.dumps({"task_type": "shout"}))
    assert await other.recover() == 1
    async with producing(system):
        await until(lambda: _count(system, 1))
