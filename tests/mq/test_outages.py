"""The queue while its server is away: refused, killed, frozen (a network that swallows everything), full, restarted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable

import pytest

from genpulse.core.ports import QueueUnavailableError
from genpulse.mq import RedisManager
from tests.contracts.queue_contract import AHint, pop_all
from tests.servers import ValkeyServer


@pytest.fixture
async def queue(own_valkey: ValkeyServer) -> AsyncIterator[RedisManager]:
    manager = RedisManager(own_valkey.url)
    yield manager
    await manager.close()


async def failure_time(call: Awaitable[object]) -> float:
    begin = time.monotonic()
    with pytest.raises(QueueUnavailableError):
        await call
    return time.monotonic() - begin


async def answers_within(queue: RedisManager, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                assert await queue.ping()
            except QueueUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_every_call_says_unavailable_when_nothing_listens() -> None:
    queue = RedisManager("redis://127.0.0.1:1/0")
    calls = [
        queue.ping(),
        queue.push_task(AHint()),
        queue.requeue(AHint()),
        queue.pop_task("local", 5),
        queue.remove_task("local", "x"),
        queue.rank("local", "x"),
        queue.missing("local", ["x"]),
        queue.depth("local"),
        queue.generation(),
        queue.mark_generation(),
        queue.check_server(),
        queue.ingress("me").take(1),
    ]
    assert sum([await failure_time(call) for call in calls]) < 2
    await queue.close()


async def test_messages_say_where_without_secrets() -> None:
    queue = RedisManager("redis://user:hunter2@127.0.0.1:1/0")
    with pytest.raises(QueueUnavailableError, match=r"127\.0\.0\.1:1/0") as failure:
        await queue.ping()
    assert "hunter2" not in str(failure.value)
    await queue.close()


async def test_a_frozen_server_costs_one_timeout_then_answers_are_fast(
    own_valkey: ValkeyServer, queue: RedisManager
) -> None:
    await queue.ping()
    own_valkey.freeze()
    assert await failure_time(queue.ping()) < 3
    assert await failure_time(queue.push_task(AHint())) < 0.1
    assert await failure_time(queue.pop_task("local", 5)) < 0.1
    own_valkey.thaw()
    await answers_within(queue, 5)


async def test_only_one_caller_at_a_time_tries_a_frozen_server(own_valkey: ValkeyServer, queue: RedisManager) -> None:
    await queue.ping()
    own_valkey.freeze()
    await failure_time(queue.ping())
    await asyncio.sleep(1.05)  # the pause after a failure is over
    begin = time.monotonic()
    times = await asyncio.gather(*(failure_time(queue.ping()) for _ in range(20)))
    assert sum(seconds < 0.5 for seconds in times) == 19
    assert time.monotonic() - begin < 3


async def test_a_waiting_pop_notices_a_frozen_server(own_valkey: ValkeyServer, queue: RedisManager) -> None:
    pop = asyncio.create_task(queue.pop_task("local", 60))
    await asyncio.sleep(0.05)  # no event tells that a pop has reached the server
    own_valkey.freeze()
    async with asyncio.timeout(5):
        with pytest.raises(QueueUnavailableError):
            await pop


async def test_a_killed_server_is_noticed_by_waiting_pops_and_used_again(
    own_valkey: ValkeyServer, queue: RedisManager
) -> None:
    hint = AHint()
    await queue.push_task(hint)
    pop = asyncio.create_task(queue.pop_task("other", 60))
    await asyncio.sleep(0.05)  # no event tells that a pop has reached the server
    own_valkey.kill()
    async with asyncio.timeout(2):
        with pytest.raises(QueueUnavailableError):
            await pop
    own_valkey.start()
    await answers_within(queue, 3)
    assert await pop_all(queue) == [hint.id]


async def test_idle_connections_survive_a_restart_in_between(own_valkey: ValkeyServer, queue: RedisManager) -> None:
    """No call fails because of a connection that died while nobody used it."""
    assert await queue.pop_task("local", 0.01) is None
    await asyncio.gather(*(queue.ping() for _ in range(5)))
    await asyncio.to_thread(own_valkey.stop)  # the loop must run to see the connections end
    await asyncio.to_thread(own_valkey.start)
    hint = AHint()
    await queue.push_task(hint)
    assert await queue.pop_task("local", 1) == hint.id


async def test_a_wipe_is_visible_and_hints_can_be_pushed_again(own_valkey: ValkeyServer, queue: RedisManager) -> None:
    hint = AHint()
    await queue.push_task(hint)
    await queue.mark_generation()
    own_valkey.command("FLUSHALL")
    assert await queue.generation() is None
    assert await queue.missing("local", [hint.id]) == [hint.id]
    assert await queue.push_task(hint) == 1


async def test_no_push_is_lost_or_doubled_by_a_reply_that_never_came(
    own_valkey: ValkeyServer, queue: RedisManager
) -> None:
    """The frozen server executes the push when it wakes up; pushing again keeps one hint."""
    await queue.ping()
    hint = AHint()
    own_valkey.freeze()
    await failure_time(queue.push_task(hint))
    own_valkey.thaw()
    await answers_within(queue, 5)
    await queue.push_task(hint)
    assert await queue.depth("local") == 1


async def test_a_full_server_refuses_without_being_taken_for_dead(
    own_valkey: ValkeyServer, queue: RedisManager
) -> None:
    own_valkey.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(QueueUnavailableError, match="maxmemory"):
        await queue.mark_generation()
    assert await queue.ping()
    own_valkey.command("CONFIG", "SET", "maxmemory", "0")
    await queue.mark_generation()


async def test_messages_and_progress_go_on_inside_the_process(own_valkey: ValkeyServer, queue: RedisManager) -> None:
    async with queue.subscribe("task_updates:1") as before:
        own_valkey.kill()
        async with queue.subscribe("task_updates:1") as during:
            await queue.publish(("task_updates:1", {"n": 1}))
            await queue.set_progress("1", {"progress": 7.0}, {"n": 2})
            for subscription in (before, during):
                assert await subscription.get(1) == ("task_updates:1", {"n": 1})
                assert await subscription.get(1) == ("task_updates:1", {"n": 2})
        assert await queue.get_progress(["1", "2"]) == {"1": {"progress": 7.0}}


async def test_subscriptions_hear_other_processes_again_after_a_restart(
    own_valkey: ValkeyServer, queue: RedisManager
) -> None:
    async with queue.subscribe("task_updates:1") as kept:
        own_valkey.kill()
        async with queue.subscribe("task_updates:2") as made_meanwhile:
            own_valkey.start()
            other = RedisManager(own_valkey.url)
            for channel, subscription in (("task_updates:1", kept), ("task_updates:2", made_meanwhile)):
                async with asyncio.timeout(8):
                    while await subscription.get(0.1) is None:
                        await other.publish((channel, {}))
            await other.close()


async def test_a_frozen_link_is_noticed_while_nothing_is_said(
    own_valkey: ValkeyServer, queue: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pub/sub connection asks for a sign of life, is given up without one, and made anew."""
    monkeypatch.setattr("genpulse.mq.pubsub._SILENCE_S", 0.2)
    async with queue.subscribe("a") as subscription:
        own_valkey.freeze()
        async with asyncio.timeout(4):
            while queue._hub._connection is not None:
                await asyncio.sleep(0.02)
        own_valkey.thaw()
        other = RedisManager(own_valkey.url)
        async with asyncio.timeout(8):
            while await subscription.get(0.1) is None:
                await other.publish(("a", {}))
        await other.close()


async def test_a_second_subscriber_waits_for_the_same_confirmation(
    own_valkey: ValkeyServer, queue: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpulse.mq.pubsub._CONFIRM_S", 10)
    entered: list[int] = []

    async def listen(n: int) -> None:
        async with queue.subscribe("a"):
            entered.append(n)

    async with queue.subscribe("warm"):
        own_valkey.freeze()
        listeners = [asyncio.create_task(listen(n)) for n in range(2)]
        await asyncio.wait(listeners, timeout=0.2)
        assert entered == []
        own_valkey.thaw()
        async with asyncio.timeout(2):
            await asyncio.gather(*listeners)
