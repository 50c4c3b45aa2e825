"""The reconciler: the queue follows the ledger again after every loss."""

import asyncio
import contextlib
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from genpulse.core import states
from genpulse.core.hosts import identify
from genpulse.core.models import State, Suspicion
from genpulse.core.ports import QueueUnavailableError
from genpulse.core.reconciler import Pace
from tests.core.system import System
from tests.servers import ValkeyServer


async def _rank(system: System, task_id: str, within_s: float = 5) -> int:
    async with asyncio.timeout(within_s):
        while (rank := await system.queue.rank("handlers", task_id)) is None:
            await asyncio.sleep(0.02)
        return rank


async def _rank_or_none(system: System, task_id: str) -> int | None:
    with contextlib.suppress(QueueUnavailableError):
        return await system.queue.rank("handlers", task_id)
    return None


async def test_a_lost_hint_comes_back(system: System) -> None:
    task = await system.submit("hold")
    await _rank(system, task.id)
    await system.queue.mark_generation()
    await system.queue.remove_task("handlers", task.id)
    async with system.reconciling():
        assert await _rank(system, task.id) == 0


async def test_hints_are_rebuilt_in_order_after_a_wipe(system: System, valkey_server: Any) -> None:
    tasks = [await system.submit("hold", priority=priority) for priority in ("low", "normal", "high")]
    await _rank(system, tasks[-1].id)
    valkey_server.command("FLUSHALL")
    async with system.reconciling():
        ranks = [await _rank(system, task.id) for task in tasks]
    assert ranks == [2, 1, 0]


async def test_hints_lost_in_an_outage_come_back_when_it_is_over(make_system: Any, own_valkey: ValkeyServer) -> None:
    system = make_system(redis_url=own_valkey.url, pace=Pace(hints_s=60))
    await system.queue.mark_generation()
    own_valkey.stop()
    task = await system.submit("hold")
    await system.signals.close()
    async with system.reconciling():
        await asyncio.sleep(0.1)  # its first round finds no queue
        own_valkey.start()
        async with asyncio.timeout(5):
            while await _rank_or_none(system, task.id) != 0:
                await asyncio.sleep(0.02)


async def test_tasks_of_a_dead_worker_are_rescued(make_system: Any) -> None:
    system = make_system(lease_s=0.3)
    await system.ledger.register_worker("dead", identify() | {"pid": 2**22 + 1})
    task = await system.submit("blocking")
    await system.ledger.change(task.id, states.claim("dead"))
    async with system.reconciling(), system.working():
        ended = await system.end(task)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    # It executed our own code in a process that is gone: it was a suspect and ran alone.
    assert ended.suspicion == Suspicion.SUSPECT


async def test_a_stopped_machine_is_nobodys_fault(make_system: Any) -> None:
    system = make_system(lease_s=0.3)
    await system.ledger.register_worker("asleep", identify())  # its process, this one, is alive
    task = await system.submit("hold")
    await system.ledger.change(task.id, states.claim("asleep"))
    async with system.reconciling():
        rescued = await system.until(task, State.QUEUED)
    assert (rescued.crashes, rescued.suspicion) == (0, Suspicion.NONE)


async def test_crashes_of_workers_never_end_a_task(make_system: Any) -> None:
    """Not even many: what was suspected after the first did not run in the workers that crashed later."""
    system = make_system(lease_s=0.2)
    task = await system.submit("blocking")
    reconciler = system.reconciler()
    for crash in range(5):
        await system.ledger.register_worker(f"w{crash}", identify() | {"pid": 2**22 + 1})
        await system.ledger.change(task.id, states.claim(f"w{crash}"))
        await reconciler.rescue(at_start=True)
    waiting = await system.tasks.get("default", task.id)
    assert (waiting.state, waiting.crashes, waiting.suspicion) == (State.QUEUED, 0, Suspicion.SUSPECT)
    await system.queue.push_task(waiting)
    async with system.working():
        assert (await system.end(task)).state == State.SUCCEEDED


async def test_a_delayed_task_starts_when_it_is_due(system: System) -> None:
    at = datetime.now(UTC) + timedelta(seconds=0.4)
    system.gate.open.set()
    async with system.reconciling(), system.working():
        task = await system.submit("hold", run_at=at)
        assert await system.queue.rank("handlers", task.id) is None
        ended = await system.end(task)
    assert ended.started_at is not None and ended.started_at >= int(at.timestamp() * 1_000_000)


async def test_a_delayed_task_does_not_wait_for_the_next_look(system: System) -> None:
    system.pace = Pace(due_s=60, hints_s=60)
    async with system.working():
        task = await system.submit("shout", run_at=datetime.now(UTC) + timedelta(seconds=0.8))
        async with system.reconciling():
            ended = await system.end(task, within_s=5)
    assert ended.state == State.SUCCEEDED


async def test_a_passed_deadline_fails_a_waiting_task(system: System) -> None:
    task = await system.submit("hold", deadline_s=0.05)
    async with system.reconciling():
        ended = await system.end(task)
    assert ended.error is not None and ended.error["code"] == "deadline_exceeded"
    assert await system.queue.rank("handlers", task.id) is None


async def test_a_low_task_ages(make_system: Any) -> None:
    system = make_system(ageing_s=0.2)
    low = await system.submit("hold", priority="low")
    await _rank(system, low.id)
    async with system.reconciling():
        async with asyncio.timeout(5):
            while (await system.tasks.get("default", low.id)).rank == 3:
                await asyncio.sleep(0.02)
    normal = await system.submit("hold")
    await _rank(system, normal.id)
    assert await system.queue.rank("handlers", low.id) == 0


async def test_old_tasks_and_their_files_are_removed(make_system: Any) -> None:
    system = make_system(retention_days=1e-9)
    async with system.working():
        task = await system.end(await system.submit("shout"))
    [file] = await system.ledger.files_of(task.id)
    async with system.reconciling():
        async with asyncio.timeout(5):
            while await system.ledger.get_any(task.id) is not None:
                await asyncio.sleep(0.02)
    stored = await system.files.find(file.id)
    assert stored is not None and stored.deleted_at is not None
    assert not any((system.folder / "files").rglob("*.txt"))


async def test_a_restart_leaves_a_living_worker_its_tasks(make_system: Any) -> None:
    system = make_system()
    sleeper = subprocess.Popen(["sleep", "60"])  # stands for a `start-worker` in another process
    try:
        await system.ledger.register_worker("alive", identify() | {"pid": sleeper.pid})
        await system.ledger.register_worker("dead", identify() | {"pid": 2**22 + 1})
        kept, taken = await system.submit("hold"), await system.submit("hold")
        await system.ledger.change(kept.id, states.claim("alive"))
        await system.ledger.change(taken.id, states.claim("dead"))
        assert await system.reconciler().rescue(at_start=True) == 1
        assert (await system.tasks.get("default", kept.id)).worker_id == "alive"
        assert (await system.tasks.get("default", taken.id)).state == State.QUEUED
    finally:
        sleeper.kill()
        sleeper.wait()
