"""What a worker costs that waits for 1,000 jobs of a remote provider, each polled every two seconds.

The provider is a fake in the worker's process, and each poll finds new progress. The polls send nothing: this is the
price of waiting, of the heartbeat and of reporting progress, not of HTTP.
"""

import time

import psutil
from sqlalchemy import Connection, func, select

from bench import load
from bench.harness import CpuMeter, system
from bench.report import Figure
from genpulse.store.schema import tasks

_TASKS, _SECONDS = 1000, 10
_RSS_MB, _CPU = 200, 0.30


def measure(database: str, *, large: bool) -> list[Figure]:
    del large
    options = {"GENPULSE_POOLS": f"cloud={_TASKS}", "GENPULSE_DRAIN_S": "0"}
    with system(database, **options) as made, made.running("start-api"), made.running("start-worker") as worker:
        load.post(f"{made.url}/task", 15, body={"task_type": "bench-remote"}, limit=_TASKS)
        made.until_sql(_all_wait, 120)
        process = psutil.Process(worker.popen.pid)
        time.sleep(4)  # two rounds of polls: after the start's own work
        meter = CpuMeter(lambda: {"worker": [process]})
        time.sleep(_SECONDS)
        cpu, rss = meter.share(), process.memory_info().rss / 2**20
    name = f"{_TASKS:,} waiting tasks, the worker's"
    return [
        Figure(f"{name} memory (RSS)", f"{rss:.0f} MB", f"≤ {_RSS_MB} MB", rss <= _RSS_MB),
        Figure(f"{name} CPU over {_SECONDS} s", f"{cpu:.1%} of a core", f"≤ {_CPU:.0%}", cpu <= _CPU),
    ]


def _all_wait(conn: Connection) -> bool | None:
    waiting = conn.execute(select(func.count()).where(tasks.c.state == "waiting")).scalar_one()
    return True if waiting >= _TASKS else None
