"""The ledger contract, on SQLite and PostgreSQL alike."""

import asyncio
import dataclasses
from typing import Any

import pytest

from genpulse.core import states
from genpulse.core.ids import attempt_token, new_id
from genpulse.core.ledger import TaskFilter
from genpulse.core.models import LEAST_RANK, NewTask, Priority, State, StoredFile, Submission, Task
from genpulse.errors import RequestError
from genpulse.store.ledger import SqlLedger


def new_task(**changes: Any) -> NewTask:
    fields: dict[str, Any] = {
        "id": new_id(),
        "tenant": "default",
        "task_type": "echo",
        "model": "local/echo",
        "pool": "handlers",
        "priority": Priority.NORMAL,
        "params": {"prompt": "a house", "b": 1.0, "a": [1, None, "ü"]},
        "metadata": {},
        "options": {},
        "seed": 2**53 - 1,
    }
    return NewTask(**fields | changes)


async def accept(ledger: SqlLedger, **changes: Any) -> Task:
    return (await ledger.accept(new_task(**changes))).task


async def claim(ledger: SqlLedger, task: Task, worker: str = "w") -> Task:
    changed = await ledger.change(task.id, states.claim(worker))
    assert changed.done and changed.task is not None
    return changed.task


async def test_an_accepted_task_is_read_back_as_it_was_sent(ledger: SqlLedger) -> None:
    task = await accept(ledger, metadata={"k": "v"}, options={"cache": True})
    assert await ledger.get("default", task.id) == task
    assert list((await ledger.get_any(task.id) or task).params) == ["prompt", "b", "a"]
    [event] = await ledger.events("default", task.id)
    assert (event.seq, event.type, event.data["status"]) == (1, "state", "pending")


async def test_a_foreign_task_is_like_a_missing_one(ledger: SqlLedger) -> None:
    task = await accept(ledger)
    assert await ledger.get("other", task.id) is None
    assert await ledger.events("other", task.id) == []
    assert await ledger.list("other", TaskFilter()) == []


async def test_a_life_writes_gap_free_events_and_ends_once(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger))
    assert (task.state, task.fence, task.worker_id) == (State.RUNNING, 1, "w")
    await ledger.change(task.id, states.log(1, "half way"))
    await ledger.change(task.id, states.ingest(1))
    end = await ledger.change(task.id, states.succeed(1, {"outputs": []}, warnings=["w1"]))
    assert end.task is not None
    assert (end.task.state, end.task.worker_id, end.task.warnings) == (State.SUCCEEDED, None, ["w1"])
    events = await ledger.events("default", task.id)
    assert [(event.seq, event.type) for event in events] == [
        (1, "state"),
        (2, "state"),
        (3, "log"),
        (4, "state"),
        (5, "state"),
    ]
    assert [event.seq for event in await ledger.events("default", task.id, after=3)] == [4, 5]
    for step in (states.succeed(1, {}), states.succeed(2, {}), states.fail(2, {}), states.request_cancel):
        assert not (await ledger.change(task.id, step)).done
    assert await ledger.get("default", task.id) == end.task


async def test_an_old_fence_changes_nothing(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger))
    await ledger.change(task.id, states.hand_back(1))
    again = await claim(ledger, task, worker="other")
    assert again.fence == 3
    for step in (states.ingest(1), states.succeed(1, {}), states.fail(1, {}), states.hand_back(1), states.log(1, "x")):
        assert not (await ledger.change(task.id, step)).done
    assert await ledger.get("default", task.id) == again


async def test_the_remote_id_is_recorded_even_when_the_fence_is_lost(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger))
    token = attempt_token(task.id, 1)
    intent = Submission(task.id, 1, token, "intent", 1, None, {"body": 1}, None)
    assert (await ledger.change(task.id, states.begin_submit(1, intent))).done
    await ledger.change(task.id, states.hand_back(1))
    accepted = Submission(task.id, 1, token, "accepted", 1, "remote-1", {"body": 1}, {"url": "u"})
    changed = await ledger.change(task.id, states.submitted(1, accepted))
    assert changed.done and changed.task is not None and changed.task.state == State.QUEUED
    stored = await ledger.submission(task.id, 1)
    assert stored is not None and stored.created_at > task.created_at
    assert dataclasses.replace(stored, created_at=0) == accepted


async def test_many_claims_of_one_task_have_one_winner(ledger: SqlLedger) -> None:
    task = await accept(ledger)
    claims = await asyncio.gather(*(ledger.change(task.id, states.claim(f"w{n}")) for n in range(20)))
    assert sum(claimed.done for claimed in claims) == 1


async def test_an_idempotency_key_returns_the_same_task(ledger: SqlLedger) -> None:
    first = await ledger.accept(new_task(idempotency_key="k", body_hash="h"))
    again = await ledger.accept(new_task(idempotency_key="k", body_hash="h"))
    assert not first.replayed and again.replayed and again.task == first.task
    with pytest.raises(RequestError) as caught:
        await ledger.accept(new_task(idempotency_key="k", body_hash="other"))
    assert caught.value.code == "idempotency_key_reused"
    foreign = await ledger.accept(new_task(tenant="other", idempotency_key="k", body_hash="h"))
    assert not foreign.replayed


async def test_concurrent_uses_of_one_key_make_one_task(ledger: SqlLedger, database: Any) -> None:
    beside = SqlLedger(database)  # another gateway process on the same database
    uses = [side.accept(new_task(idempotency_key="k", body_hash="h")) for side in (ledger, beside) for _ in range(10)]
    accepted = await asyncio.gather(*uses)
    assert len({answer.task.id for answer in accepted}) == 1
    assert sum(not answer.replayed for answer in accepted) == 1
    assert len(await ledger.list("default", TaskFilter(limit=100))) == 1


async def test_one_bad_write_does_not_spoil_its_batch(ledger: SqlLedger) -> None:
    twice = new_task()
    answers = await asyncio.gather(
        ledger.accept(new_task()), ledger.accept(twice), ledger.accept(twice), return_exceptions=True
    )
    assert [isinstance(answer, BaseException) for answer in answers].count(True) <= 1
    assert len(await ledger.list("default", TaskFilter())) == 2


async def test_a_repeated_given_id_is_ignored_with_the_same_body_only(ledger: SqlLedger) -> None:
    given = new_task(given_id=True)
    first = await ledger.accept(given)
    again = await ledger.accept(given)
    assert not first.replayed and again.replayed and again.task == first.task
    for changes in ({"params": {}}, {"tenant": "other"}):
        with pytest.raises(RequestError) as caught:
            await ledger.accept(new_task(id=given.id, given_id=True, **changes))
        assert caught.value.code == "idempotency_key_reused"
    both = await asyncio.gather(*(ledger.accept(new_task(id=new_id(), given_id=True)) for _ in range(3)))
    assert not any(answer.replayed for answer in both)


async def test_lists_page_newest_first_and_filter(ledger: SqlLedger) -> None:
    tasks = [await accept(ledger, metadata={"n": str(n), "big": n >= 3}) for n in range(5)]
    await claim(ledger, tasks[0])
    page = await ledger.list("default", TaskFilter(limit=2))
    assert [task.id for task in page] == [tasks[4].id, tasks[3].id]
    rest = await ledger.list("default", TaskFilter(before=(page[1].created_at, page[1].id)))
    assert [task.id for task in rest] == [tasks[2].id, tasks[1].id, tasks[0].id]
    assert [t.id for t in await ledger.list("default", TaskFilter(statuses=["processing"]))] == [tasks[0].id]
    assert [t.id for t in await ledger.list("default", TaskFilter(metadata={"n": "3"}))] == [tasks[3].id]
    assert await ledger.list("default", TaskFilter(task_type="other")) == []


async def test_due_orders_by_priority_then_age_and_pages(ledger: SqlLedger) -> None:
    low = await accept(ledger, priority=Priority.LOW)
    first = await accept(ledger)
    second = await accept(ledger)
    high = await accept(ledger, priority=Priority.HIGH)
    await accept(ledger, run_at=2**60)
    await accept(ledger, pool="cloud")
    due = await ledger.due("handlers", 10)
    assert [task.id for task in due] == [high.id, first.id, second.id, low.id]
    after = await ledger.due("handlers", 10, after=(2, first.available_at, first.id))
    assert [task.id for task in after] == [second.id, low.id]
    assert await ledger.position(second) == 3
    assert await ledger.position(second, cap=2) is None
    assert sum(count.tasks for count in await ledger.backlog() if count.state == State.QUEUED) == 6
    assert await ledger.queued_of("default", 4) == 4


async def test_a_delayed_task_becomes_due(ledger: SqlLedger) -> None:
    now = await ledger.now()
    task = await accept(ledger, run_at=now + 150_000)
    assert not (await ledger.change(task.id, states.claim("w"))).done
    while await ledger.now() < now + 160_000:
        await asyncio.sleep(0.02)
    assert [found.id for found in await ledger.newly_due((now, ""), now + 150_000, 10)] == [task.id]
    assert await ledger.newly_due((now, ""), now + 149_999, 10) == []
    assert await ledger.newly_due((now + 150_000, task.id), now + 150_000, 10) == []
    await claim(ledger, task)


async def test_many_that_become_due_at_one_moment_are_paged(ledger: SqlLedger) -> None:
    now = await ledger.now()
    tasks = [await accept(ledger, run_at=now + 10_000_000) for _ in range(5)]
    found: list[str] = []
    after = (now, "")
    while page := await ledger.newly_due(after, now + 20_000_000, 2):
        found += [task.id for task in page]
        after = (page[-1].available_at, page[-1].id)
    assert found == sorted(task.id for task in tasks)


async def test_a_waiting_task_past_its_deadline_fails(ledger: SqlLedger) -> None:
    task = await accept(ledger, deadline_s=0.001)
    await asyncio.sleep(0.01)
    assert await ledger.overdue(10) == [task.id]
    changed = await ledger.change(task.id, states.claim("w"))
    assert changed.task is not None and changed.task.error is not None
    assert (changed.task.state, changed.task.error["code"]) == (State.FAILED, "deadline_exceeded")


async def test_a_silent_worker_loses_its_tasks(ledger: SqlLedger) -> None:
    await ledger.register_worker("w", {"pid": 1})
    task = await claim(ledger, await accept(ledger))
    assert await ledger.heartbeat("w")
    assert await ledger.bury_workers(60_000_000) == []
    assert await ledger.orphans(10) == []
    assert [row["info"] for row in await ledger.bury_workers(0)] == [{"pid": 1}]
    assert [orphan.id for orphan in await ledger.orphans(10)] == [task.id]
    assert not await ledger.heartbeat("w")  # its row is its death certificate's other half
    changed = await ledger.change(task.id, states.rescue("w", suspect=False))
    assert changed.task is not None and changed.task.state == State.QUEUED
    assert not (await ledger.change(task.id, states.rescue("w", suspect=False))).done


async def test_retired_workers_are_gone(ledger: SqlLedger) -> None:
    await ledger.register_worker("a", {})
    await ledger.register_worker("b", {"pools": {"local": 1}})
    await ledger.retire_worker("a")
    assert [(row["id"], row["info"]) for row in await ledger.workers()] == [("b", {"pools": {"local": 1}})]
    await ledger.retire_worker("b")
    assert await ledger.workers() == []


async def test_cancel_requests_reach_the_worker(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger))
    assert await ledger.cancel_requested("w") == []
    marked = await ledger.change(task.id, states.request_cancel)
    assert marked.task is not None and marked.task.state == State.RUNNING
    assert await ledger.cancel_requested("w") == [task.id]
    assert not (await ledger.change(task.id, states.request_cancel)).done
    await ledger.change(task.id, states.cancelled(1))
    assert await ledger.cancel_requested("w") == []


async def test_files_and_deletion(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger))
    file = StoredFile(new_id(), "default", task.id, "a.png", "image", "image/png", 5, "00", 8, 8, None, "k", 1, None)
    assert await ledger.delete("default", task.id) == []  # not terminal
    await ledger.change(task.id, states.succeed(1, {"outputs": []}, files=[file]))
    assert await ledger.files_of(task.id) == [file]
    assert await ledger.delete("other", task.id) == []
    assert await ledger.delete("default", task.id) == [file]
    assert await ledger.get("default", task.id) is None
    assert await ledger.events("default", task.id) == []
    await ledger.forget_files([file.id])
    forgotten = await ledger.file(file.id)
    assert forgotten is not None and forgotten.deleted_at is not None


async def test_old_things_are_found_for_removal(ledger: SqlLedger) -> None:
    task = await claim(ledger, await accept(ledger, idempotency_key="k", body_hash="h"))
    await ledger.change(task.id, states.succeed(1, {"outputs": []}))
    upload = StoredFile(new_id(), "default", None, "u", "file", "a/b", 1, "0", None, None, None, "k", 5)
    await ledger.add_file(upload)
    later = await ledger.now() + 1
    assert [old.id for old in await ledger.expired_tasks(later, 10)] == [task.id]
    assert await ledger.expired_tasks(task.created_at, 10) == []
    assert await ledger.expired_uploads(6, 10) == [upload]
    assert await ledger.purge_idempotency(later) == 1


async def test_ageing_and_moving_to_the_front_change_the_order(ledger: SqlLedger) -> None:
    low = await accept(ledger, priority=Priority.LOW)
    normal = await accept(ledger)
    assert await ledger.ageing(await ledger.now() + 1, 10) == [low.id]
    await ledger.change(low.id, states.age)
    assert [task.id for task in await ledger.due("handlers", 10)] == [low.id, normal.id]
    aged = await ledger.get("default", low.id)
    assert aged is not None and aged.priority == "low"
    assert await ledger.ageing(await ledger.now() + 1, 10) == []
    high = await accept(ledger, priority=Priority.HIGH)
    await ledger.change(normal.id, states.move_to_front(1))
    await ledger.change(low.id, states.reprioritise("low"))
    assert [task.id for task in await ledger.due("handlers", 10)] == [normal.id, high.id, low.id]


async def test_the_least_rank_of_the_others(ledger: SqlLedger) -> None:
    first, second = await accept(ledger, priority=Priority.LOW), await accept(ledger)
    assert await ledger.least_rank("handlers", besides=first.id) == 2
    await ledger.change(first.id, states.move_to_front(-6))
    assert await ledger.least_rank("handlers", besides=first.id) == 2
    assert await ledger.least_rank("handlers", besides=second.id) == -7
    await ledger.change(first.id, states.claim("w"))
    assert await ledger.least_rank("handlers", besides=second.id) is None
    assert await ledger.least_rank("elsewhere", besides=second.id) is None
    await ledger.change(second.id, states.move_to_front(-(10**6)))
    assert await ledger.least_rank("handlers", besides="") == LEAST_RANK


async def test_counts_by_pool(ledger: SqlLedger) -> None:
    assert await ledger.backlog() == []
    tasks = [await accept(ledger) for _ in range(3)]
    await ledger.change(tasks[0].id, states.claim("w"))
    await ledger.change(tasks[1].id, states.request_cancel)
    found = [(count.pool, count.state, count.tasks) for count in await ledger.backlog()]
    assert found == [("handlers", "queued", 1), ("handlers", "running", 1)]


async def test_pools_that_are_paused_at_once(ledger: SqlLedger) -> None:
    assert await ledger.pools() == {}
    await asyncio.gather(*(ledger.pause_pool("local", paused=True) for _ in range(8)))
    assert await ledger.pools() == {"local": True}
    await ledger.pause_pool("local", paused=False)
    assert await ledger.pools() == {"local": False}


async def test_pools_are_paused_and_resumed(ledger: SqlLedger) -> None:
    assert await ledger.paused_pools() == frozenset()
    await ledger.pause_pool("local", paused=True)
    await ledger.pause_pool("local", paused=True)
    assert await ledger.paused_pools() == {"local"}
    await ledger.pause_pool("local", paused=False)
    assert await ledger.paused_pools() == frozenset()


FILTERS = [
    (True, "true", "True"),
    (False, "false", "0"),
    (5, "5", "5.0"),
    (5.0, "5.0", "5"),
    (1e22, "1e22", "1e21"),
    ("true", "true", "TRUE"),
    ("5", "5", "05"),
    ("", "", "x"),
    ("é😀", "é😀", "é"),
]


@pytest.mark.parametrize(("value", "found_by", "not_by"), FILTERS)
async def test_metadata_is_found_by_what_it_says(ledger: SqlLedger, value: Any, found_by: str, not_by: str) -> None:
    """The same on both databases, whatever they make of booleans and numbers."""
    task = await accept(ledger, metadata={"a.b[0]": value})
    for asked, found in ((found_by, [task.id]), (not_by, [])):
        tasks = await ledger.list("default", TaskFilter(metadata={"a.b[0]": asked}))
        assert [listed.id for listed in tasks] == found, asked


async def test_delayed_tasks_are_not_before_those_that_are_due(ledger: SqlLedger) -> None:
    now = await ledger.now()
    await accept(ledger, run_at=now + 3_600_000_000, priority=Priority.HIGH)
    task = await accept(ledger)
    assert await ledger.position(task) == 1
