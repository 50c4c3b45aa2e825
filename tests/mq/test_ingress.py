"""Direct producers: nothing pushed is lost, whichever side dies, and nothing is left in a dead consumer's hands."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from genpulse.mq import RedisIngress, RedisManager
from genpulse.mq.ingress import DEAD_AFTER_S, FORGOTTEN_AFTER_S


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The producer: any client of any language."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def take(ingress: RedisIngress, timeout: float = 1) -> list[bytes]:
    return [entry.body for entry in await ingress.take(timeout)]


async def test_entries_come_in_the_order_they_were_pushed(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    for n in range(120):
        await redis.lpush("tasks:pending", f"entry {n}")
    taken = [await take(ingress), await take(ingress), await take(ingress)]
    assert [len(batch) for batch in taken] == [50, 50, 20]
    assert [body for batch in taken for body in batch] == [f"entry {n}".encode() for n in range(120)]
    assert await ingress.take(0.01) == []


async def test_an_entry_is_held_until_it_is_done(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", "one", "two")
    one, two = await ingress.take(1)
    await ingress.done(one)
    assert await redis.lrange("tasks:ingress:w1", 0, -1) == [two.held]
    await ingress.done(one)
    assert await redis.llen("tasks:ingress:w1") == 1


async def test_equal_entries_are_two(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", "same", "same")
    one, two = await ingress.take(1)
    assert one.body == two.body and one.task_id != two.task_id
    await ingress.done(one)
    assert await redis.lrange("tasks:ingress:w1", 0, -1) == [two.held]


async def test_an_entry_keeps_its_stamp(redis_manager: RedisManager, redis: Redis) -> None:
    """Were it stamped anew, an entry whose commit was done and whose `done` was not would become two tasks."""
    await redis.lpush("tasks:pending", "one", "two")
    first = await redis_manager.ingress("w1").take(1)
    assert await redis_manager.ingress("w1").give_back() == 2
    assert await redis_manager.ingress("w2").take(1) == first


async def test_what_only_looks_like_a_stamp_is_shown_as_it_was_pushed(
    redis_manager: RedisManager, redis: Redis
) -> None:
    pushed = [b"task:", b"task:x {}", b"task:0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04"]
    await redis.lpush("tasks:pending", *pushed)
    assert await take(redis_manager.ingress("w1")) == pushed


async def test_a_rejected_entry_is_shown_with_its_problem(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", b"\xff{not json")
    [entry] = await ingress.take(1)
    await ingress.reject(entry, {"code": "invalid_request"})
    await ingress.reject(entry, {"code": "invalid_request"})  # its first reply was lost, say
    [shown] = await redis.lrange("tasks:rejected", 0, -1)
    assert json.loads(shown) == {"entry": "\ufffd{not json", "problem": {"code": "invalid_request"}}
    assert await redis.llen("tasks:ingress:w1") == 0


async def test_a_thousand_rejected_entries_are_kept(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:rejected", *range(1000))
    await redis.lpush("tasks:pending", "x" * (2 << 20))
    [entry] = await ingress.take(1)
    await ingress.reject(entry, {})
    assert await redis.llen("tasks:rejected") == 1000
    newest = await redis.lindex("tasks:rejected", 0)
    assert json.loads(newest)["entry"] == "x" * (1 << 20), "and of each at most a MiB"


async def test_what_a_dead_consumer_held_goes_back_in_order(redis_manager: RedisManager, redis: Redis) -> None:
    dead, alive = redis_manager.ingress("dead"), redis_manager.ingress("alive")
    await redis.lpush("tasks:pending", *(f"entry {n}" for n in range(4)))
    taken = await take(dead)
    assert await alive.take(0.01) == []
    assert await alive.recover() == 0, "it is not silent for long"

    await redis.lpush("tasks:pending", "entry 4")
    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"dead": now - DEAD_AFTER_S - 1})
    assert await alive.recover() == 4
    assert await take(alive) == [*taken, b"entry 4"]
    assert await redis.exists("tasks:ingress:dead") == 0


async def test_a_consumer_that_was_silent_for_long_is_forgotten(redis_manager: RedisManager, redis: Redis) -> None:
    """Not at once: one that only slept may take one more entry when it wakes up, and die then."""
    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"slept": now - 600, "gone": now - FORGOTTEN_AFTER_S - 1})
    await redis.lpush("tasks:ingress:slept", "one")
    await redis.lpush("tasks:ingress:gone", "two")
    assert await redis_manager.ingress("alive").recover() == 2
    assert await redis.zrange("tasks:consumers", 0, -1) == [b"slept"]


async def test_a_consumer_that_waits_is_alive(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"w1": now - 500})
    await ingress.take(0.01)
    assert await redis.zscore("tasks:consumers", "w1") >= now


async def test_closing_gives_back_and_signs_off(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", "one")
    await ingress.take(1)
    await ingress.close()
    assert await redis.keys("*") == [b"tasks:pending"]
    assert await take(redis_manager.ingress("w2")) == [b"one"]


async def test_a_cancelled_take_loses_nothing(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    taken: list[bytes] = []

    async def take_and_settle(seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                entries = await ingress.take(5)
        except TimeoutError:
            return
        await ingress.done(*entries)
        taken.extend(entry.body for entry in entries)

    for n in range(40):
        taking = asyncio.create_task(take_and_settle(0.0004 * (n % 10)))
        await redis.lpush("tasks:pending", f"entry {n}")
        await taking
    async with asyncio.timeout(5):
        while len(taken) < 40:
            await ingress.give_back()  # what a cancelled take had stamped already
            await take_and_settle(0.1)
    assert sorted(taken) == sorted(f"entry {n}".encode() for n in range(40))
    assert await redis.llen("tasks:ingress:w1") == 0
