"""No-op tasks end to end: submitted over HTTP by the load generator while `start-all` runs them, until all have ended.

One process accepts and runs them. Counted from the first one's acceptance to the last one's end, by the ledger.
"""

from sqlalchemy import Connection, func, select

from bench import load
from bench.harness import system
from bench.report import Figure
from genpulse.store.schema import tasks

_TASKS = 3000
_TARGET = 150


def measure(database: str, *, large: bool) -> list[Figure]:
    del large
    with system(database) as made, made.running("start-all"):
        load.post(f"{made.url}/task", 2, limit=50)
        warm = made.until_sql(_span, 60)
        load.post(f"{made.url}/task", 25, limit=_TASKS)
        done, first, last = made.until_sql(lambda conn: _span(conn, after=warm[2]), 120)
    rate = done / (last - first) * 1e6
    return [Figure("no-op tasks end to end", f"{rate:,.0f}/s", f"≥ {_TARGET}/s", rate >= _TARGET)]


def _span(conn: Connection, after: int = 0) -> tuple[int, int, int] | None:
    """How many completed, when the first was accepted and the last ended; None while one has not ended."""
    accepted, completed, first, last = conn.execute(
        select(
            func.count(),
            func.count().filter(tasks.c.state == "succeeded"),
            func.min(tasks.c.created_at),
            func.max(tasks.c.finished_at),
        ).where(tasks.c.created_at > after)
    ).one()
    return (completed, first, last) if accepted and completed == accepted else None
