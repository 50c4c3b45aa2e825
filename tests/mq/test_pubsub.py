"""Subscriptions: counted per channel, one connection for all, confirmed before they are used."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from genpulse.mq import RedisManager


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def subscribed(redis: Redis) -> set[str]:
    return {name.decode() for name in await redis.pubsub_channels()}


async def until_subscribed(redis: Redis, *channels: str) -> None:
    async with asyncio.timeout(2):
        while await subscribed(redis) != set(channels):
            await asyncio.sleep(0.01)


async def test_a_subscription_is_confirmed_on_entry(redis_manager: RedisManager, redis: Redis) -> None:
    async with redis_manager.subscribe("a", "b"):
        assert await subscribed(redis) == {"wake:a", "wake:b"}


async def test_channels_are_counted(redis_manager: RedisManager, redis: Redis) -> None:
    async with redis_manager.subscribe("a"):
        async with redis_manager.subscribe("a", "b"):
            pass
        await until_subscribed(redis, "wake:a")
    await until_subscribed(redis)


async def test_thousands_of_subscriptions_share_one_connection(redis_manager: RedisManager, redis: Redis) -> None:
    async def listen(n: int) -> int:
        async with redis_manager.subscribe(f"task_updates:{n}") as subscription:
            message = await subscription.get(20)
            assert message is not None
            return message[1]["n"]

    listeners = [asyncio.create_task(listen(n)) for n in range(2000)]
    async with asyncio.timeout(20):
        while len(await redis.pubsub_channels()) < 2000:
            await asyncio.sleep(0.02)
    listening = [client for client in await redis.client_list() if client["sub"] != "0"]
    assert len(listening) == 1
    other = RedisManager("unix://" + redis.connection_pool.connection_kwargs["path"])
    await other.publish(*((f"task_updates:{n}", {"n": n}) for n in range(2000)))
    assert await asyncio.gather(*listeners) == list(range(2000))
    await other.close()
    await until_subscribed(redis)


async def test_leaving_and_entering_again_hears_everything(redis_manager: RedisManager, redis_url: str) -> None:
    """A confirmation that belongs to an earlier subscription of the channel is not taken for the new one's."""
    other = RedisManager(redis_url)
    for n in range(50):
        async with redis_manager.subscribe("a") as subscription:
            await other.publish(("a", {"n": n}))
            assert await subscription.get(2) == ("a", {"n": n})
    await other.close()


async def test_a_cancelled_subscriber_leaves_nothing_behind(redis_manager: RedisManager, redis: Redis) -> None:
    async def listen() -> None:
        async with redis_manager.subscribe("a") as subscription:
            await subscription.get()

    for n in range(30):
        listener = asyncio.create_task(listen())
        await asyncio.sleep(0.0005 * n)
        listener.cancel()
        await asyncio.wait({listener})
    await until_subscribed(redis)
    async with redis_manager.subscribe("a") as subscription:
        await redis_manager.publish(("a", {}))
        assert await subscription.get(1) == ("a", {})


async def test_what_is_no_json_is_dropped(redis_manager: RedisManager, redis: Redis) -> None:
    async with redis_manager.subscribe("a") as subscription:
        await redis.publish("wake:a", b"somebody:{nonsense")
        await redis.publish("wake:a", b"")
        await redis.publish("wake:a", b'somebody:{"n":1}')
        assert await subscription.get(2) == ("a", {"n": 1})
