"""What a long queue costs: submit, get and claim beside 100,000 and 1,000,000 queued tasks, and hints after a wipe.

The backlog is one really submitted task, copied inside the database; an empty system runs beside it. A claim is
measured where it happens: the worker's one slot is busy with a task of 50 ms when a high-priority no-op is submitted,
which says how long after that it started: the other's end is written, the next hint is popped, its task is claimed.
"""

import statistics
import time

from sqlalchemy import BigInteger, Connection, String, cast, func, insert, literal, select, text

from bench.harness import Client, System, system
from bench.report import Figure
from genpulse.store.schema import events, tasks

_FIRST, _DEPTHS, _LARGE = 20_000, ((100_000, 1.5),), ((1_000_000, 2.0),)
_FIRST_START_S, _ALL_HINTS_S = 10.0, 60.0
_REQUESTS, _CLAIMS, _WIPES = 200, 60, 5
_CHUNK = 100_000
"""Rows a transaction: PostgreSQL's statements are limited to 30 s."""
_QUEUE = "queue:handlers"
_ONE_SLOT = {"GENPULSE_POOLS": "handlers=1", "GENPULSE_DRAIN_S": "1"}

Samples = tuple[list[float], list[float]]
"""Milliseconds on the empty system and on the one with the backlog."""


def measure(database: str, *, large: bool) -> list[Figure]:
    figures: list[Figure] = []
    environment = {"GENPULSE_MAX_QUEUED": "2000000"}
    with system(database, **environment) as empty, system(database, **environment) as loaded:
        _fill(loaded, _FIRST)
        figures += _first_start(loaded)
        for depth, factor in (*_DEPTHS, *(_LARGE if large else ())):
            _fill(loaded, depth)
            with empty.running("start-api"), loaded.running("start-api"):
                rebuilt_s = _rebuild_s(loaded, depth)
                figures += [_compared(name, depth, *found, factor) for name, found in _costs(empty, loaded).items()]
            target = (f"≤ {_ALL_HINTS_S:g} s", rebuilt_s <= _ALL_HINTS_S) if depth >= 1_000_000 else ()
            figures.append(Figure(f"all hints rebuilt after a wipe of {depth:,}", f"{rebuilt_s:.1f} s", *target))
    return figures


def _compared(name: str, depth: int, without: list[float], beside: list[float], factor: float) -> Figure:
    empty, cost = statistics.median(without), statistics.median(beside)
    return Figure(
        f"{name}, p50 beside {depth:,} queued",
        f"{cost:.1f} ms ({cost / empty:.2f} ×)",
        f"≤ {factor:g} × empty",
        cost / empty <= factor,
        f"empty {empty:.1f} ms: {cost / empty:.2f}",
    )


# Costs -------------------------------------------------------------------------------------------------------------


def _costs(empty: System, loaded: System) -> dict[str, Samples]:
    """Requests go to both gateways in turns, so that the machine's moods meet both. Workers run for the claims only."""
    submit: Samples = ([], [])
    get: Samples = ([], [])
    claim: Samples = ([], [])
    with empty.client() as first, loaded.client() as second:
        for _ in range(_REQUESTS):
            for client, submitted, got in zip((first, second), submit, get, strict=True):
                before = time.perf_counter()
                task_id = client.submit("bench-no-op")["task_id"]
                between = time.perf_counter()
                client.ask("GET", f"/task/{task_id}")
                submitted.append((between - before) * 1000)
                got.append((time.perf_counter() - between) * 1000)
    workers = empty.running("start-worker", **_ONE_SLOT), loaded.running("start-worker", **_ONE_SLOT)
    # Connections of their own: the gateway closes one that is silent for five seconds.
    with workers[0], workers[1], empty.client() as first, loaded.client() as second:
        for _ in range(_CLAIMS):
            for client, claimed in zip((first, second), claim, strict=True):
                claimed.append(_claim_ms(client))
    return {"POST /task": submit, "GET /task/{id}": get, "free slot → start of a high-priority task": claim}


def _claim_ms(client: Client) -> float:
    client.submit("bench-sleep", priority="high")
    probe = client.end(client.submit("bench-no-op", priority="high"))
    return probe["result"]["data"]["waited_ns"] / 1e6


# Hints -------------------------------------------------------------------------------------------------------------


def _rebuild_s(made: System, depth: int) -> float:
    made.valkey("FLUSHALL")
    wiped = time.monotonic()
    while _hints(made) < depth:
        if time.monotonic() > wiped + 600:
            raise RuntimeError(f"only {_hints(made):,} of {depth:,} hints were rebuilt")
        time.sleep(0.02)
    return time.monotonic() - wiped


def _hints(made: System) -> int:
    return int(made.valkey("ZCARD", _QUEUE).strip(b":\r\n"))


def _first_start(made: System) -> list[Figure]:
    """A worker with one slot that is busy for 50 ms at a time, and the wipe: until it starts another task."""
    with made.running("start-api"), made.running("start-worker", **_ONE_SLOT):
        waited_s = max(_wipe_to_start_s(made) for _ in range(_WIPES))
    name = f"first start after a wipe of {_FIRST:,}, longest of {_WIPES}"
    return [Figure(name, f"{waited_s:.2f} s", f"≤ {_FIRST_START_S:g} s", waited_s <= _FIRST_START_S)]


def _wipe_to_start_s(made: System) -> float:
    made.valkey("FLUSHALL")
    wiped = time.time_ns() // 1000
    # The second one: the hint of the first may have been popped before the wipe.
    newer = select(tasks.c.started_at).where(tasks.c.started_at > wiped).order_by(tasks.c.started_at).offset(1).limit(1)
    return (made.until_sql(lambda conn: conn.execute(newer).scalar(), 60) - wiped) / 1e6


# Filling -----------------------------------------------------------------------------------------------------------


def _fill(made: System, depth: int) -> None:
    """Bring the queue to at least `depth` tasks, with nothing running."""
    with made.running("start-api"), made.client() as client:
        original = client.submit("bench-sleep")["task_id"]
    known = made.sql(lambda conn: conn.execute(select(func.count()).select_from(tasks)).scalar_one())
    missing = depth - made.sql(lambda conn: conn.execute(_queued).scalar_one())
    for start in range(0, missing, _CHUNK):
        count = min(_CHUNK, missing - start)
        made.sql(lambda conn, first=known + start, count=count: copy_task(conn, original, first, count))
    if made.database_url is not None:  # autovacuum would do it within a minute
        made.sql(lambda conn: conn.execute(text("ANALYZE")))


_queued = select(func.count()).where(tasks.c.state == "queued")


def copy_task(conn: Connection, original: str, first: int, count: int) -> None:
    """Copy one task and its events `count` times, under ids that count up from `first`."""
    numbers = select(literal(first, BigInteger).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < first + count - 1))
    digits = func.substr(cast(numbers.c.n + literal(10**12, BigInteger), String), 2)
    new_id = literal("01900000-0000-7000-8000-", String).concat(digits)
    changed = {"id": new_id, "task_id": new_id}
    for table, key in ((tasks, tasks.c.id), (events, events.c.task_id)):
        columns = [changed.get(column.name, column) for column in table.columns]
        copies = select(*columns).select_from(table).join(numbers, literal(True)).where(key == original)
        conn.execute(insert(table).from_select(table.columns.keys(), copies))
