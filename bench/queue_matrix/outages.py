"""Probes that take Redis or PostgreSQL away while jobs run."""

from __future__ import annotations

import time

from bench.queue_matrix.marks import until
from bench.queue_matrix.probe import Outcome, probe
from bench.queue_matrix.system import Bench


def _until(moment: float) -> None:
    until(lambda: time.monotonic() >= moment, 60, "time to pass")


@probe(
    "redis-away",
    "Redis down for 10 s: jobs run across it, end in it, are submitted in it and after it",
    "the worker survives; all is accepted, runs once, new jobs start also meanwhile",
)
def redis_away(bench: Bench) -> Outcome:
    with bench.system(lease_s=3) as system:
        worker = system.worker()
        ids = [system.submit(f"across{n}", 14) for n in range(3)] + [system.submit(f"in{n}", 5) for n in range(3)]
        system.marks.wait("start", count=6)
        system.valkey.kill()
        down = time.monotonic()
        _until(down + 3)
        asked = time.monotonic()
        ids.append(system.submit("meanwhile"))
        meanwhile = system.marks.wait("start", "meanwhile")[0].at - asked
        _until(down + 10)
        system.valkey.start()
        asked = time.monotonic()
        ids.append(system.submit("after"))
        after = system.marks.wait("start", "after")[0].at - asked
        statuses = {task["status"] for task in system.ended(*ids, within_s=30)}
        repeated = system.marks.repeated()
        measured = (
            f"{'survives' if worker.alive else 'EXITS'}; a new job starts after {meanwhile:.1f} s in the outage, "
            f"{after:.1f} s when it is over; {len(repeated)} run again"
        )
        return Outcome(measured, after, sound=worker.alive and not repeated and statuses == {"completed"})


@probe("redis-blip", "Redis down for 2 s: two workers, a job of 12 s, lease 3 s", "one start")
def redis_blip(bench: Bench) -> Outcome:
    with bench.system(lease_s=3) as system:
        system.worker()
        task = system.submit("long", 12)
        system.marks.wait("start")
        system.worker()
        system.valkey.kill()
        _until(time.monotonic() + 2)
        system.valkey.start()
        [ended] = system.ended(task, within_s=25)
        starts = len(system.marks.of("start"))
        return Outcome(f"{starts} start", starts - 1, sound=(ended["status"], starts) == ("completed", 1))


@probe(
    "postgres-away",
    "PostgreSQL down for 3 s, lease 10 s: jobs run across it, end in it, are submitted in it and after it",
    "the worker survives; nothing is accepted meanwhile (503), nothing runs twice",
    databases=("postgresql",),
)
def postgres_away(bench: Bench) -> Outcome:
    assert bench.postgres is not None
    with bench.system(lease_s=10) as system:
        worker = system.worker()
        ids = [system.submit(f"across{n}", 8) for n in range(3)] + [system.submit(f"in{n}", 2) for n in range(3)]
        system.marks.wait("start", count=6)
        bench.postgres.stop()
        down = time.monotonic()
        refused = system.post("meanwhile").status_code
        _until(down + 3)
        bench.postgres.serve()
        up = time.monotonic()
        answer = system.post("after")
        while answer.status_code == 503:
            _until(time.monotonic() + 0.05)
            answer = system.post("after")
        ids.append(answer.json()["task_id"])
        after = system.marks.wait("start", "after")[0].at - up
        statuses = {task["status"] for task in system.ended(*ids, within_s=30)}
        repeated = system.marks.repeated()
        measured = (
            f"{'survives' if worker.alive else 'EXITS'}; {refused} meanwhile; a new job starts {after:.1f} s after the "
            f"restart; {len(repeated)} run again"
        )
        sound = worker.alive and refused == 503 and not repeated and statuses == {"completed"}
        return Outcome(measured, sound=sound)
