"""RedisManager on a real server: the queue's contract, its prefix, its keys, its speed."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from genpulse.mq import RedisManager
from tests.contracts.queue_contract import FRONT, HIGH, LOW, NORMAL, AHint, QueueContract, hints, pop_all


class TestContract(QueueContract):
    @pytest.fixture(params=["", "gp:"], ids=["bare", "prefixed"])
    async def queue(self, redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[RedisManager]:
        manager = RedisManager(redis_url, prefix=request.param)
        yield manager
        await manager.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_prefixes_keep_two_queues_apart(redis_url: str) -> None:
    one, two = RedisManager(redis_url, prefix="one:"), RedisManager(redis_url, prefix="two:")
    await one.push_task(AHint())
    async with two.subscribe("a") as subscription:
        await one.publish(("a", {}))
        assert await subscription.get(0.1) is None
    assert await two.depth("local") == 0
    await one.close()
    await two.close()


async def test_a_message_crosses_processes(redis_url: str) -> None:
    """Each manager has its own tag, as each process has."""
    here, there = RedisManager(redis_url), RedisManager(redis_url)
    async with there.subscribe("task_updates:1", "cancel") as subscription:
        await here.publish(("task_updates:1", {"status": "completed"}), ("cancel", {"task_id": "1"}))
        assert await subscription.get(2) == ("task_updates:1", {"status": "completed"})
        assert await subscription.get(2) == ("cancel", {"task_id": "1"})
    await here.set_progress("1", {"progress": 5.0}, {})
    assert await there.get_progress(["1"]) == {"1": {"progress": 5.0}}
    await here.close()
    await there.close()


async def test_task_updates_are_bare_json_on_the_wire(redis_manager: RedisManager, redis: Redis) -> None:
    """What a direct producer of any language subscribes to (design §7)."""
    async with redis.pubsub() as listener:
        await listener.subscribe("task_updates:1")
        assert (await listener.get_message(timeout=2))["type"] == "subscribe"
        await redis_manager.publish(("task_updates:1", {"task_id": "1", "status": "processing"}))
        message = await listener.get_message(timeout=2)
        assert message["data"] == b'{"task_id":"1","status":"processing"}'


async def test_only_what_is_bounded_or_expires_is_left(redis_manager: RedisManager, redis: Redis) -> None:
    for round_ in range(3):
        pushed = [AHint(tenant=f"t{n % 50}", rank=(LOW, NORMAL, HIGH)[n % 3]) for n in range(600)]
        await redis_manager.push_task(*pushed)
        await redis_manager.requeue(AHint(pushed[7].id, tenant="t7", rank=FRONT))
        await redis_manager.requeue(AHint(pushed[9].id, tenant="t9", rank=HIGH))
        await redis_manager.remove_task("local", pushed[11].id)
        await redis_manager.set_progress(pushed[0].id, {"progress": 1.0}, {})
        for hint in pushed:  # one is cancelled, the others run
            await redis_manager.pop_task("local", 0)
            await redis_manager.publish((f"task_updates:{hint.id}", {}))
        assert await redis_manager.depth("local") == 0, round_
    await redis_manager.mark_generation()
    left = {key.decode() for key in await redis.keys("*")}
    assert {key for key in left if not key.startswith("progress:")} == {"generation"}
    assert all([await redis.ttl(key) > 0 for key in left - {"generation"}])


async def test_a_queue_that_is_never_empty_forgets_who_came_long_ago(redis_manager: RedisManager, redis: Redis) -> None:
    await redis_manager.push_task(*hints(300))
    for n in range(200):
        await redis_manager.push_task(AHint(tenant=f"tenant-{n}"))
        await redis_manager.pop_task("local", 0)
        await redis_manager.pop_task("local", 0)
    assert await redis_manager.depth("local") == 100
    assert await redis.zcard("fair:local:2") < 5


async def test_fairness_expires_when_removals_empty_the_queue(redis_manager: RedisManager, redis: Redis) -> None:
    hint = AHint()
    await redis_manager.push_task(hint)
    await redis_manager.remove_task("local", hint.id)
    assert await redis.ttl("fair:local:2") > 0


async def test_scores_stay_exact_after_many_years(redis_manager: RedisManager, redis: Redis) -> None:
    """2^47 hints served without the class ever being empty: tags still differ by one."""
    old = AHint(rank=LOW)
    await redis.zadd("queue:local", {old.id: 3 * 2**48 + 2**47})
    await redis.zadd("fair:local:3", {"alice": 2**47 + 1})
    later = hints(3, rank=LOW)
    await redis_manager.push_task(*later)
    scores = await redis.zmscore("queue:local", [hint.id for hint in later])
    assert scores == [3 * 2**48 + 2**47 + n for n in (1, 2, 3)]
    assert await pop_all(redis_manager) == [old.id, *(hint.id for hint in later)]


async def test_a_late_record_of_a_pop_does_no_harm(redis_manager: RedisManager, redis: Redis) -> None:
    """A worker's record of an old pop comes after its class was empty and filled again."""
    await redis.hset("fair:local", "2", "5000")
    await redis_manager.push_task(*hints(10))
    await redis.hset("fair:local", "2", "5000")
    bob = AHint(tenant="bob")
    await redis_manager.push_task(bob)
    assert await redis_manager.rank("local", bob.id) == 1


async def test_scripts_survive_a_script_flush(redis_manager: RedisManager, redis: Redis) -> None:
    await redis_manager.push_task(AHint())
    await redis.script_flush()
    assert await redis_manager.push_task(AHint()) == 1


async def test_concurrent_pops_use_a_connection_each_and_keep_few(redis_manager: RedisManager, redis: Redis) -> None:
    async def connections() -> int:
        return len([client for client in await redis.client_list() if client["cmd"] == "bzpopmin"])

    pops = [asyncio.create_task(redis_manager.pop_task(f"pool-{n}", 30)) for n in range(40)]
    while await connections() < 40:
        await asyncio.sleep(0.01)
    await redis_manager.push_task(*(AHint(pool=f"pool-{n}") for n in range(40)))
    assert all(await asyncio.gather(*pops))
    while await connections() > 16:
        await asyncio.sleep(0.01)


async def test_closing_ends_waiting_pops(redis_url: str) -> None:
    manager = RedisManager(redis_url)
    pop = asyncio.create_task(manager.pop_task("local", 60))
    await asyncio.sleep(0.05)  # no event tells that a pop has reached the server
    begin = time.monotonic()
    await manager.close()
    assert await pop is None
    assert time.monotonic() - begin < 1
