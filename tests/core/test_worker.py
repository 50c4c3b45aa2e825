"""The worker with the real queue and ledger: it runs what is due, once, and lets go what it should."""

import asyncio
import threading
import time
from typing import Any

import pytest

from genpulse.core import states
from genpulse.core.models import State
from genpulse.errors import RequestError
from genpulse.handlers.base import BaseHandler
from tests.core.system import System
from tests.servers import ValkeyServer


async def test_a_typed_handler_runs_and_its_output_is_kept(system: System) -> None:
    async with system.working():
        task = await system.end(await system.submit("shout", {"text": "hi"}))
    assert task.state == State.SUCCEEDED and task.result is not None
    assert (task.result["data"], task.warnings) == ({"text": "HI"}, ["loud"])
    [output] = task.result["outputs"]
    file = await system.files.find(output["file_id"])
    assert file is not None and file.task_id == task.id
    assert b"".join([chunk async for chunk in system.files.open(file)]) == b"HI"


async def test_a_scaffold_handler_runs_unchanged(system: System) -> None:
    with pytest.raises(RequestError) as caught:
        await system.submit("odd", {"n": 2})
    assert (caught.value.code, caught.value.fields[0].field) == ("invalid_params", "params")
    async with system.working():
        task = await system.end(await system.submit("odd", {"n": 3}))
        wrong = await system.end(await system.submit("odd", {"answer": [1]}))
    assert task.result is not None and task.result["data"] == {"ok": True}
    assert wrong.error is not None and wrong.error["code"] == "internal"


async def test_a_field_without_effect_says_so(system: System) -> None:
    task = await system.submit("hold", callback_url="https://example.org/hook", cache=True)
    assert task.warnings == ["callback_url is kept, but has no effect yet.", "cache is kept, but has no effect yet."]
    assert (await system.submit("hold")).warnings == []


async def test_a_scaffold_handlers_seed_is_checked_too(system: System) -> None:
    for wrong in ("7", True, 1.0, -2):
        with pytest.raises(RequestError) as caught:
            await system.submit("odd", {"seed": wrong})
        assert caught.value.fields[0].field == "params.seed"
    assert (await system.submit("odd", {"seed": 7})).seed == 7


async def test_blocking_code_runs_in_a_thread(system: System) -> None:
    async with system.working():
        task = await system.end(await system.submit("block"))
    assert task.result is not None and task.result["data"] == {"thread": True}


async def test_a_pool_runs_no_more_than_its_slots(make_system: Any) -> None:
    system = make_system(pools={"handlers": 3})
    tasks = [await system.submit("hold") for _ in range(8)]
    async with system.working():
        async with asyncio.timeout(5):
            while len(system.gate.started) < 3:
                await asyncio.sleep(0.01)
        running = [count.tasks for count in await system.ledger.backlog() if count.state == State.RUNNING]
        assert running == [3]
        system.gate.open.set()
        for task in tasks:
            await system.end(task)
    assert system.gate.most == 3
    assert sorted(system.gate.started) == sorted(task.id for task in tasks)


async def test_two_workers_share_without_running_anything_twice(system: System) -> None:
    system.gate.open.set()
    async with system.working(), system.working():
        tasks = [await system.submit("hold") for _ in range(60)]
        for task in tasks:
            await system.end(task)
    assert sorted(system.gate.started) == sorted(task.id for task in tasks)


async def test_repeated_and_forged_hints_do_no_harm(system: System) -> None:
    system.gate.open.set()
    task = await system.submit("hold")
    async with system.working():
        await system.end(task)
        await system.queue.push_task(task, task)
        later = await system.end(await system.submit("hold"))
    assert system.gate.started == [task.id, later.id]


async def test_cancel_of_a_running_task(system: System) -> None:
    async with system.working():
        task = await system.submit("hold")
        await system.until(task, State.RUNNING)
        asked = await system.tasks.cancel("default", task.id)
        assert asked.status == "processing" and asked.cancel_requested_at is not None
        ended = await system.end(task)
    assert ended.state == State.CANCELLED and system.gate.running == 0


async def test_cancel_of_a_waiting_task_removes_its_hint(system: System) -> None:
    task = await system.submit("hold")
    ended = await system.tasks.cancel("default", task.id)
    assert ended.state == State.CANCELLED
    await system.signals.close()
    assert await system.queue.rank("handlers", task.id) is None
    again = await system.tasks.cancel("default", task.id)
    assert again == ended


async def test_a_stopped_worker_hands_its_tasks_back(system: System) -> None:
    async with system.working(drain_s=0.05):
        task = await system.submit("hold")
        await system.until(task, State.RUNNING)
    handed = await system.ledger.get_any(task.id)
    assert handed is not None and (handed.state, handed.attempt) == (State.QUEUED, 1)
    system.gate.open.set()
    async with system.working():
        assert (await system.end(task)).state == State.SUCCEEDED


async def test_a_stopped_worker_lets_running_tasks_finish(system: System) -> None:
    async with system.working() as worker:
        task = await system.submit("hold")
        await system.until(task, State.RUNNING)
        worker.stop()
        system.gate.open.set()
    assert (await system.tasks.get("default", task.id)).state == State.SUCCEEDED
    assert await system.ledger.workers() == []


async def test_a_worker_declared_dead_drops_its_tasks_and_starts_anew(make_system: Any) -> None:
    system = make_system(lease_s=0.6)
    async with system.working() as worker:
        first_id = worker.id
        task = await system.submit("hold")
        await system.until(task, State.RUNNING)
        await system.ledger.bury_workers(0)
        await system.ledger.change(task.id, states.rescue(first_id, suspect=False))
        async with asyncio.timeout(5):
            while worker.id == first_id or system.gate.running:
                await asyncio.sleep(0.02)
        system.gate.open.set()
        await system.queue.push_task(task)
        ended = await system.end(task)
    assert ended.state == State.SUCCEEDED and len(system.gate.started) == 2


async def test_without_redis_tasks_are_claimed_from_the_ledger(make_system: Any, own_valkey: ValkeyServer) -> None:
    system = make_system(redis_url=own_valkey.url)
    async with system.working():
        own_valkey.stop()
        task = await system.end(await system.submit("shout", {"text": "x"}), within_s=8)
        assert task.state == State.SUCCEEDED
        running = await system.submit("hold")
        await system.until(running, State.RUNNING)
        await system.tasks.cancel("default", running.id)
        assert (await system.end(running)).state == State.CANCELLED
        own_valkey.start()
        async with system.reconciling():
            assert (await system.end(await system.submit("shout"))).state == State.SUCCEEDED


async def test_without_redis_all_free_slots_are_filled_at_once(make_system: Any, own_valkey: ValkeyServer) -> None:
    system = make_system(redis_url=own_valkey.url, pools={"handlers": 7})
    own_valkey.stop()
    tasks = [await system.submit("hold") for _ in range(9)]
    async with system.working():
        async with asyncio.timeout(6):  # one a second would take longer
            while len(system.gate.started) < 7:
                await asyncio.sleep(0.01)
        system.gate.open.set()
        for task in tasks:
            assert (await system.end(task)).state == State.SUCCEEDED
    assert system.gate.most == 7 and len(system.gate.started) == 9


async def test_a_paused_pool_starts_nothing(system: System) -> None:
    system.gate.open.set()
    await system.ledger.pause_pool("handlers", paused=True)
    async with system.working():
        task = await system.submit("hold")
        assert (await system.tasks.wait(task, 0.3)).state == State.QUEUED
        await system.ledger.pause_pool("handlers", paused=False)
        assert (await system.end(task)).state == State.SUCCEEDED


async def test_a_pause_catches_the_pop_that_was_waiting(system: System) -> None:
    system.gate.open.set()
    async with system.working() as worker:
        await system.end(await system.submit("hold"))
        await system.ledger.pause_pool("handlers", paused=True)
        async with asyncio.timeout(5):
            while not worker.paused:
                await asyncio.sleep(0.02)
        task = await system.submit("hold")
        assert (await system.tasks.wait(task, 0.3)).state == State.QUEUED
        await system.ledger.pause_pool("handlers", paused=False)
        assert (await system.end(task)).state == State.SUCCEEDED


async def test_a_late_watcher_gets_the_newest_progress_first(system: System) -> None:
    task = await system.submit("hold")
    async with system.working():
        running = await system.until(task, State.RUNNING)
        kept = {"progress": 40.0, "stage": "halfway", "attempt": running.attempt}
        await system.queue.set_progress(task.id, kept, {"task_id": task.id})
        found = [item async for item in _until_progress(system.tasks.events(running))]
        assert found[-1].data == {"task_id": task.id, "status": "processing", "progress": 40.0, "stage": "halfway"}
        system.gate.open.set()
        await system.end(task)


async def _until_progress(events: Any) -> Any:
    async for item in events:
        yield item
        if getattr(item, "type", None) == "progress":
            return


async def test_progress_is_kept_and_published(system: System) -> None:
    task = await system.submit("odd")
    async with system.working():
        seen: list[Any] = [found async for found in system.tasks.events(task)]
    types = [getattr(found, "type", None) for found in seen]
    assert types.count("state") == 3
    assert seen[-1].data["status"] == "completed"
    assert [event.seq for event in seen if event.__class__.__name__ == "Event"] == [1, 2, 3]


async def test_blocking_code_is_not_canceled_before_it_has_stopped(system: System) -> None:
    begun, may_end = threading.Event(), threading.Event()
    stuck(system, begun, may_end)
    async with system.working():
        task = await system.submit("stuck")
        await asyncio.to_thread(begun.wait, 5)
        asked = await system.tasks.cancel("default", task.id)
        assert asked.cancel_requested_at is not None
        ended = await system.tasks.wait(task, 0.3)
        assert ended.status == "processing", "its thread still runs"
        may_end.set()
        assert (await system.end(task)).state == State.CANCELLED


async def test_blocking_code_is_not_handed_back_while_it_runs(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpulse.core.worker._HAND_BACK_S", 0.2)
    begun, may_end = threading.Event(), threading.Event()
    stuck(system, begun, may_end)
    try:
        async with system.working(drain_s=0) as worker:
            task = await system.submit("stuck")
            await asyncio.to_thread(begun.wait, 5)
        now = await system.ledger.get_any(task.id)
        assert now is not None and (now.state, now.worker_id) == (State.RUNNING, worker.id)
        assert worker.stuck, "its process must end at once"
        assert [row["id"] for row in await system.ledger.workers()] == [worker.id], "nobody takes it over meanwhile"
    finally:
        may_end.set()


async def test_blocking_code_that_hangs_fails_when_its_time_is_over(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpulse.core.attempt._STUCK_S", 0.2)
    begun, may_end = threading.Event(), threading.Event()
    stuck(system, begun, may_end)
    try:
        async with system.working(task_timeout_s=0.2):
            ended = await system.end(await system.submit("stuck"))
            assert ended.error is not None and ended.error["code"] == "timeout"
    finally:
        may_end.set()


def stuck(system: System, begun: threading.Event, may_end: threading.Event) -> None:
    @system.registry.register("stuck")
    class Stuck(BaseHandler):
        def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            may_end.wait(20)
            return {}


async def test_a_rerun_has_what_is_left_until_the_deadline(system: System) -> None:
    task = await system.submit("hold", deadline_s=1.0)
    async with system.working(drain_s=0):
        await system.until(task, State.RUNNING)
        await asyncio.sleep(0.6)
    begun = time.monotonic()
    async with system.working():
        ended = await system.end(task)
    assert ended.error is not None and ended.error["code"] == "deadline_exceeded"
    assert time.monotonic() - begun < 0.8, "0.4 s were left"


async def test_a_claim_whose_answer_was_lost_is_made_good(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says running, and nobody else would take it as long as its owner lives."""
    monkeypatch.setattr("genpulse.core.worker._LOOK_S", 0.1)
    commit, lost = system.ledger.change, []

    async def change(task_id: str, step: Any) -> Any:
        changed = await commit(task_id, step)
        if not lost and changed.done and changed.task.state == State.RUNNING:
            lost.append(task_id)
            raise RequestError("unavailable", "The database can't be reached.")
        return changed

    monkeypatch.setattr(system.ledger, "change", change)
    async with system.working():
        task = await system.submit("shout")
        ended = await system.end(task)
    assert lost == [task.id]
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


async def test_a_handler_that_is_cancelled_from_inside_fails(system: System) -> None:
    @system.registry.register("undone")
    class Undone(BaseHandler):
        async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            helper = asyncio.ensure_future(asyncio.sleep(10))
            helper.cancel()
            await helper
            return {}

    async with system.working():
        ended = await system.end(await system.submit("undone"))
    assert ended.error is not None and ended.error["code"] == "internal"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
async def test_a_handler_cannot_end_the_worker(system: System, error: BaseException) -> None:
    @system.registry.register("leave")
    class Leave(BaseHandler):
        async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            raise error

    @system.registry.register("leave-thread")
    class LeaveThread(BaseHandler):
        def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            raise error

    async with system.working():
        for task_type in ("leave", "leave-thread"):
            ended = await system.end(await system.submit(task_type))
            assert ended.error is not None and ended.error["code"] == "internal"
        assert (await system.end(await system.submit("shout"))).state == State.SUCCEEDED


KEPT_BY_ONE_ONLY = [{"a": "\x00"}, {"\x00": 1}, {"a": ["\ud800"]}, {"a": float("nan")}, {"a": (1, float("inf"))}]


async def test_an_answer_that_the_databases_would_not_keep_alike_fails(system: System) -> None:
    answers = iter([*KEPT_BY_ONE_ONLY, {"fine": [1, 0.5, "é😀", None, {"n": 2**63}]}])

    @system.registry.register("answer")
    class Answer(BaseHandler):
        async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            return next(answers)

    async with system.working():
        for answer in KEPT_BY_ONE_ONLY:
            ended = await system.end(await system.submit("answer"))
            assert ended.error is not None and ended.error["code"] == "internal", answer
        assert (await system.end(await system.submit("answer"))).state == State.SUCCEEDED
