"""Several processes on one database, an SQLite file included: each write is seen by all, and won by one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genpulse.core import states
from genpulse.core.ids import new_id
from genpulse.core.models import Accepted, NewTask, Priority, State
from genpulse.store.database import Database
from genpulse.store.ledger import SqlLedger
from genpulse.store.migrate import migrate


@pytest.fixture
async def ledgers(database_url: str | None, tmp_path: Path) -> AsyncIterator[list[SqlLedger]]:
    """Each with connections and threads of its own, as in a process of its own."""
    opened = [Database.open(database_url, tmp_path) for _ in range(3)]
    await asyncio.gather(*(migrate(database) for database in opened))
    yield [SqlLedger(database) for database in opened]
    for database in opened:
        await database.close()


def new(key: str | None = None, *, task_id: str | None = None) -> NewTask:
    return NewTask(
        id=task_id or new_id(),
        tenant="default",
        task_type="t",
        model="local/t",
        pool="handlers",
        priority=Priority.NORMAL,
        params={},
        metadata={},
        options={},
        seed=1,
        idempotency_key=key,
        body_hash="h" if key else None,
        given_id=task_id is not None,
    )


async def test_each_task_is_claimed_once(ledgers: list[SqlLedger]) -> None:
    tasks = [(await ledgers[0].accept(new())).task for _ in range(60)]
    claims = [ledger.change(task.id, states.claim(f"w{n}")) for task in tasks for n, ledger in enumerate(ledgers)]
    won = [changed for changed in await asyncio.gather(*claims) if changed.done]
    assert len(won) == len(tasks)
    assert {changed.task.fence for changed in won if changed.task} == {1}


async def test_each_idempotency_key_makes_one_task(ledgers: list[SqlLedger]) -> None:
    keys = [f"k{n}" for n in range(30)] * 2
    found: list[Accepted] = await asyncio.gather(*(ledger.accept(new(key)) for ledger in ledgers for key in keys))
    assert len({accepted.task.id for accepted in found}) == 30
    assert sum(not accepted.replayed for accepted in found) == 30


async def test_each_chosen_id_makes_one_task(ledgers: list[SqlLedger]) -> None:
    ids = [new_id() for _ in range(30)]
    accepts = [ledger.accept(new(task_id=task_id)) for ledger in ledgers for task_id in ids]
    found: list[Accepted] = await asyncio.gather(*accepts)
    assert sum(not accepted.replayed for accepted in found) == 30


async def test_a_zombies_write_is_refused(ledgers: list[SqlLedger]) -> None:
    first, second, reconciler = ledgers
    task = (await first.accept(new())).task
    claimed = await first.change(task.id, states.claim("w1"))
    assert claimed.task is not None
    await reconciler.change(task.id, states.rescue("w1", suspect=False))
    again = await second.change(task.id, states.claim("w2"))
    assert again.task is not None
    assert not (await first.change(task.id, states.succeed(claimed.task.fence, {"outputs": []}))).done
    assert (await second.change(task.id, states.succeed(again.task.fence, {"outputs": []}))).done
    ended = await first.get_any(task.id)
    assert ended is not None and ended.state == State.SUCCEEDED
