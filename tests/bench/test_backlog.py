"""The copies that make a backlog are tasks that the system takes for its own."""

from bench.backlog import copy_task
from genpulse.core.ids import new_id
from genpulse.core.models import NewTask, Priority
from genpulse.store.database import Database
from genpulse.store.ledger import SqlLedger


async def test_copies_are_due_in_order_behind_the_original(database: Database, ledger: SqlLedger) -> None:
    new = NewTask(new_id(), "default", "t", "local/t", "handlers", Priority.NORMAL, {"a": 1}, {}, {}, seed=1)
    original = (await ledger.accept(new)).task
    await database.write(lambda conn: copy_task(conn, original.id, 5, 3))
    await database.write(lambda conn: copy_task(conn, original.id, 8, 2))
    due = await ledger.due("handlers", 100)
    copies = [task for task in due if task.id != original.id]
    assert [task.id[-3:] for task in copies] == ["005", "006", "007", "008", "009"]
    assert {len(task.id) for task in copies} == {36}
    rows = [await ledger.get_any(task.id) for task in copies]
    assert all(row is not None and row.params == {"a": 1} for row in rows)
    assert [event.type for event in await ledger.events("default", copies[0].id)] == ["state"]
