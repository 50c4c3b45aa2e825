"""What operators do with the queue: both databases, a real Valkey, a worker that runs what is let through."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genpulse.core import operations, states
from genpulse.core import worker as worker_module
from genpulse.core.models import FRONT_RANK, Priority, State, Task
from genpulse.core.operations import Operations, Pool
from genpulse.core.ports import QueueUnavailableError
from genpulse.errors import RequestError
from tests.core.system import System
from tests.servers import ValkeyServer

ONE_SLOT = {"handlers": 1}


async def _queued(system: System, tasks: list[Task]) -> None:
    """Until all hints are in the queue."""
    async with asyncio.timeout(5):
        while await system.queue.missing("handlers", [task.id for task in tasks]):
            await asyncio.sleep(0.01)


async def _waiting(system: System, priorities: list[str]) -> list[Task]:
    tasks = [await system.submit("hold", priority=Priority(priority)) for priority in priorities]
    await _queued(system, tasks)
    return tasks


async def _order(system: System, tasks: list[Task]) -> list[str]:
    """The order in which one slot starts all of them."""
    system.gate.open.set()
    async with system.working(pools=ONE_SLOT):
        for task in tasks:
            await system.end(task)
    return system.gate.started


async def _code(call: Any) -> tuple[str, int]:
    with pytest.raises(RequestError) as caught:
        await call
    return caught.value.code, caught.value.status


# Pools ----------------------------------------------------------------------------------------------------------


async def test_pools_are_those_that_anything_names(make_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_COUNT_CACHE_S", 0.0)
    system: System = make_system(pools={"handlers": 3})
    control = Operations(system.ledger, system.queue, system.registry, pools=["cloud"])
    await system.ledger.pause_pool("gone", paused=True)
    delayed = datetime.now(UTC) + timedelta(hours=1)
    await system.submit("hold", run_at=delayed)
    async with system.working(), system.working(pools={"handlers": 4, "gpu": 1}):
        running = await system.submit("hold")
        await system.until(running, State.RUNNING)
        assert await control.pools() == [
            Pool("cloud", paused=False, queued=0, running=0, slots=0, workers=0),
            Pool("gone", paused=True, queued=0, running=0, slots=0, workers=0),
            Pool("gpu", paused=False, queued=0, running=0, slots=1, workers=1),
            Pool("handlers", paused=False, queued=1, running=1, slots=7, workers=2),
        ]
        system.gate.open.set()
        await system.end(running)


async def test_a_paused_pool_finishes_what_runs_and_starts_nothing_until_it_is_resumed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_LEDGER_POLL_S", 60.0)  # only the message can tell
    async with system.working() as worker:
        running = await system.submit("hold")
        await system.until(running, State.RUNNING)
        assert (await system.operations.pause("handlers")).paused
        assert (await system.operations.pause("handlers")).paused, "once more is no error"
        async with asyncio.timeout(2):
            while worker.paused != {"handlers"}:
                await asyncio.sleep(0.01)
        waiting = [await system.submit("hold") for _ in range(3)]
        system.gate.open.set()
        assert (await system.end(running)).state == State.SUCCEEDED
        assert (await system.tasks.wait(waiting[0], 0.3)).state == State.QUEUED
        assert system.gate.started == [running.id]
        assert not (await system.operations.resume("handlers")).paused
        for task in waiting:
            assert (await system.end(task, within_s=2)).state == State.SUCCEEDED
        assert not (await system.operations.resume("handlers")).paused


async def test_a_resume_whose_message_is_lost_is_found_by_looking(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise QueueUnavailableError("away")

    system.gate.open.set()
    await system.operations.pause("handlers")
    async with system.working():
        task = await system.submit("hold")
        assert (await system.tasks.wait(task, 0.2)).state == State.QUEUED
        with monkeypatch.context() as patched:
            patched.setattr(system.queue, "publish", lost)
            assert not (await system.operations.resume("handlers")).paused
        assert (await system.end(task, within_s=3)).state == State.SUCCEEDED


async def test_a_pause_holds_without_the_queue_and_for_workers_that_come_later(
    make_system: Any, own_valkey: ValkeyServer
) -> None:
    system: System = make_system(redis_url=own_valkey.url)
    system.gate.open.set()
    own_valkey.stop()
    async with system.working() as early:  # it waits for its next look into the ledger already
        await system.operations.pause("handlers")
        async with asyncio.timeout(5):
            while not early.paused:
                await asyncio.sleep(0.01)
        async with system.working():
            task = await system.submit("hold")
            assert (await system.tasks.wait(task, 1.5)).state == State.QUEUED
            await system.operations.resume("handlers")
            assert (await system.end(task)).state == State.SUCCEEDED
            own_valkey.start()


async def test_an_unknown_pool_is_not_found_and_not_made(system: System) -> None:
    for name in ("nope", "", "\x00", "x" * 500):
        assert await _code(system.operations.pause(name)) == ("not_found", 404)
        assert await _code(system.operations.resume(name)) == ("not_found", 404)
    assert await system.ledger.pools() == {}


# Order ----------------------------------------------------------------------------------------------------------


async def test_what_is_moved_to_the_front_runs_first_and_the_latest_moved_before_it(system: System) -> None:
    tasks = await _waiting(system, ["high"] * 5 + ["normal"] * 10 + ["low"] * 5)
    for index in (19, 12, 15):
        moved = await system.operations.move_to_front(tasks[index].id)
        assert (moved.state, moved.priority) == (State.QUEUED, tasks[index].priority)
    await system.operations.move_to_front(tasks[12].id)  # again: ahead of the one that was moved after it
    await system.operations.move_to_front(tasks[12].id)
    order = await _order(system, tasks)
    assert order[:4] == [tasks[index].id for index in (12, 15, 19, 0)]
    assert sorted(order) == sorted(task.id for task in tasks)


async def test_the_order_at_the_front_survives_a_wipe_and_is_that_of_the_ledger(
    system: System, valkey_server: ValkeyServer
) -> None:
    tasks = await _waiting(system, ["high", "normal", "low", "normal"])
    for index in (1, 2, 3, 2):
        await system.operations.move_to_front(tasks[index].id)
    wanted = [tasks[index].id for index in (2, 3, 1, 0)]
    assert [task.id for task in await system.ledger.due("handlers", 9)] == wanted
    valkey_server.command("FLUSHALL")
    async with system.reconciling():
        await _queued(system, tasks)
    assert await _order(system, tasks) == wanted


async def test_a_raised_priority_runs_sooner_also_after_a_wipe(system: System, valkey_server: ValkeyServer) -> None:
    tasks = await _waiting(system, ["normal", "normal", "low", "high"])
    raised = await system.operations.prioritise(tasks[2].id, Priority.HIGH)
    assert (raised.priority, raised.rank) == ("high", 1)
    wanted = [tasks[2].id, tasks[3].id, tasks[0].id, tasks[1].id]
    # In the queue it is behind who had that priority before; rebuilt, the older one is before it.
    assert [await system.queue.rank("handlers", tasks[n].id) for n in (3, 2, 0, 1)] == [0, 1, 2, 3]
    valkey_server.command("FLUSHALL")
    async with system.reconciling():
        await _queued(system, tasks)
    assert await _order(system, tasks) == wanted


async def test_a_priority_takes_a_task_from_the_front(system: System) -> None:
    tasks = await _waiting(system, ["normal", "normal", "normal"])
    await system.operations.move_to_front(tasks[0].id)
    await system.operations.prioritise(tasks[0].id, Priority.LOW)
    assert await _order(system, tasks) == [tasks[1].id, tasks[2].id, tasks[0].id]


async def test_an_aged_task_keeps_its_place_when_its_priority_is_repeated(make_system: Any) -> None:
    system: System = make_system(ageing_s=0.2)
    low, normal = await _waiting(system, ["low", "normal"])
    async with system.reconciling(), asyncio.timeout(5):
        while (await system.tasks.get("default", low.id)).rank == 3:
            await asyncio.sleep(0.02)
    for task in (low, normal):
        kept = await system.operations.prioritise(task.id, Priority(task.priority))
        assert (kept.priority, kept.rank) == (task.priority, 2)
    assert await system.queue.rank("handlers", low.id) == 1
    assert (await system.operations.prioritise(low.id, Priority.HIGH)).rank == 1
    assert await system.queue.rank("handlers", low.id) == 0


async def test_changes_while_the_queue_is_away_reach_it_afterwards(make_system: Any, own_valkey: ValkeyServer) -> None:
    system: System = make_system(redis_url=own_valkey.url)
    first, second, third = await _waiting(system, ["normal", "normal", "low"])
    await system.queue.mark_generation()
    own_valkey.stop()
    await system.operations.prioritise(first.id, Priority.LOW)
    await system.operations.move_to_front(third.id)
    assert [task.id for task in await system.ledger.due("handlers", 9)] == [third.id, second.id, first.id]
    own_valkey.start()  # with all that it held
    async with system.reconciling(), asyncio.timeout(10):
        while True:
            try:
                ranks = [await system.queue.rank("handlers", task.id) for task in (third, second, first)]
            except QueueUnavailableError:
                ranks = []
            if ranks == [0, 1, 2]:
                break
            await asyncio.sleep(0.05)


async def test_a_hint_that_comes_late_does_not_take_the_place_away(system: System) -> None:
    tasks = await _waiting(system, ["normal", "normal"])
    late = await system.submit("hold", priority=Priority.LOW)
    system.signals.unhint(late)  # it is still on its way
    await system.operations.move_to_front(late.id)
    assert await system.queue.rank("handlers", late.id) == 0
    system.signals.hint(late)
    await system.signals.close()
    assert await _order(system, [*tasks, late]) == [late.id, tasks[0].id, tasks[1].id]


async def test_a_delayed_task_is_moved_and_still_waits_for_its_time(system: System) -> None:
    others = await _waiting(system, ["high", "high"])
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    delayed = await system.submit("hold", run_at=at)
    await system.operations.move_to_front(delayed.id)
    assert await system.queue.rank("handlers", delayed.id) is None
    async with system.reconciling():
        await _queued(system, [delayed])
    order = await _order(system, [*others, delayed])
    assert order[0] == delayed.id
    assert (await system.tasks.get("default", delayed.id)).started_at >= int(at.timestamp() * 1e6)


async def test_a_task_at_the_front_comes_back_there_and_its_retry_does_not(system: System) -> None:
    others = await _waiting(system, ["high", "high"])
    task = await system.submit("hold")
    await system.operations.move_to_front(task.id)
    async with system.working(pools=ONE_SLOT, drain_s=0.05):
        await system.until(task, State.RUNNING)
    handed_back = await system.until(task, State.QUEUED)
    assert handed_back.rank == FRONT_RANK
    async with system.reconciling():
        await _queued(system, [task])
    assert await system.queue.rank("handlers", task.id) == 0
    await system.tasks.cancel("default", task.id)
    again = await system.tasks.retry("default", task.id)  # a new task, which nobody has moved
    assert (again.priority, again.rank) == ("normal", 2)
    await _queued(system, [again])
    assert [await system.queue.rank("handlers", each.id) for each in (*others, again)] == [0, 1, 2]


async def test_tasks_of_any_tenant_and_only_waiting_ones_of_their_own_pool(system: System) -> None:
    foreign = await system.submit("hold", tenant="acme")
    assert (await system.operations.move_to_front(foreign.id)).tenant == "acme"
    running = await system.submit("hold")
    await system.ledger.change(running.id, states.claim("w"))
    done = await system.submit("hold")
    await system.tasks.cancel("default", done.id)
    for call in (system.operations.move_to_front, lambda each: system.operations.prioritise(each, Priority.HIGH)):
        for task, word in ((running, "processing"), (done, "canceled")):
            with pytest.raises(RequestError, match=word) as caught:
                await call(task.id)
            assert (caught.value.code, caught.value.status) == ("invalid_request", 409)
        assert await _code(call("0190f0f0-0000-7000-8000-000000000000")) == ("not_found", 404)
    assert (await system.tasks.get("default", running.id)).rank == 2
