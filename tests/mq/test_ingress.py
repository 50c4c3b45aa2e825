"""Direct producers: nothing pushed is lost, whichever side dies, and nothing is left in a dead consumer's hands."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from genpulse.mq import RedisManager


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The producer: any client of any language."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_entries_come_in_the_order_they_were_pushed(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    for n in range(3):
        await redis.lpush("tasks:pending", f"entry {n}")
    assert [await ingress.take(1) for _ in range(3)] == [b"entry 0", b"entry 1", b"entry 2"]
    assert await ingress.take(0.01) is None


async def test_an_entry_is_held_until_it_is_acknowledged(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", "one", "two")
    one = await ingress.take(1)
    two = await ingress.take(1)
    assert one == b"one"
    assert two == b"two"
    await ingress.ack(one)
    assert await redis.lrange("tasks:ingress:w1", 0, -1) == [b"two"]
    await ingress.ack(one)
    assert await redis.llen("tasks:ingress:w1") == 1


async def test_equal_entries_are_acknowledged_one_by_one(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", "same", "same")
    await ingress.take(1)
    await ingress.take(1)
    await ingress.ack(b"same")
    assert await redis.llen("tasks:ingress:w1") == 1


async def test_a_rejected_entry_is_shown_with_its_problem(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:pending", b"\xff{not json")
    entry = await ingress.take(1)
    assert entry is not None
    await ingress.reject(entry, {"code": "invalid_request"})
    await ingress.reject(entry, {"code": "invalid_request"})  # its first reply was lost, say
    [shown] = await redis.lrange("tasks:rejected", 0, -1)
    assert json.loads(shown) == {"entry": "\ufffd{not json", "problem": {"code": "invalid_request"}}
    assert await redis.llen("tasks:ingress:w1") == 0


async def test_a_thousand_rejected_entries_are_kept(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    await redis.lpush("tasks:rejected", *range(1000))
    await redis.lpush("tasks:pending", "bad")
    entry = await ingress.take(1)
    assert entry == b"bad"
    await ingress.reject(entry, "no")
    assert await redis.llen("tasks:rejected") == 1000
    newest = await redis.lindex("tasks:rejected", 0)
    assert json.loads(newest)["entry"] == "bad"


async def test_what_a_dead_consumer_held_goes_back_in_order(redis_manager: RedisManager, redis: Redis) -> None:
    dead, alive = redis_manager.ingress("dead"), redis_manager.ingress("alive")
    await redis.lpush("tasks:pending", *(f"entry {n}" for n in range(4)))
    taken = [await dead.take(1), await dead.take(1)]
    assert await alive.take(1) == b"entry 2"
    assert await alive.recover() == 0, "it is not silent for long"

    now, _ = await redis.time()
    await redis.zadd("tasks:consumers", {"dead": now - 61})
    assert await alive.recover() == 2
    assert [await alive.take(1) for _ in range(3)] == [*taken, b"entry 3"]
    assert await redis.zrange("tasks:consumers", 0, -1) == [b"alive"]
    assert await redis.exists("tasks:ingress:dead") == 0


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
    assert await redis_manager.ingress("w2").take(1) == b"one"


async def test_a_cancelled_take_loses_nothing(redis_manager: RedisManager, redis: Redis) -> None:
    ingress = redis_manager.ingress("w1")
    taken: list[bytes] = []

    async def take(seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                entry = await ingress.take(5)
        except TimeoutError:
            return
        assert entry is not None
        taken.append(entry)
        await ingress.ack(entry)

    for n in range(40):
        taking = asyncio.create_task(take(0.0004 * (n % 10)))
        await redis.lpush("tasks:pending", f"entry {n}")
        await taking
    async with asyncio.timeout(5):
        while await redis.llen("tasks:pending") + len(taken) < 40:
            await asyncio.sleep(0.01)
    left = await redis.lrange("tasks:pending", 0, -1)
    assert sorted([*taken, *left]) == sorted(f"entry {n}".encode() for n in range(40))
    assert await redis.llen("tasks:ingress:w1") == 0
