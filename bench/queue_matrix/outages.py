"""Probes that take Redis or PostgreSQL away while jobs run."""

from __future__ import annotations

import time

from bench.queue_matrix.marks import until
from bench.queue_matrix.probe import Outcome, probe
from bench.queue_matrix.system import Bench, System


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
        meanwhile = _delays(system, ids, "meanwhile")
        _until(down + 10)
        system.valkey.start()
        after = _delays(system, ids, "after")
        statuses = {task["status"] for task in system.ended(*ids, within_s=30)}
        repeated = system.marks.repeated()
        measured = (
            f"{'survives' if worker.alive else 'EXITS'}; {len(repeated)} run again; a new job starts after "
            f"{meanwhile[0]:.1f}–{meanwhile[-1]:.1f} s in the outage, {after[0]:.1f}–{after[-1]:.1f} s when it is over"
        )
        return Outcome(measured, after[-1], sound=worker.alive and not repeated and statuses == {"completed"})


def _delays(system: System, ids: list[str], label: str) -> list[float]:
    """From submit to start, of five jobs sent a third of a second apart; shortest first."""
    asked: list[float] = []
    for n in range(5):
        asked.append(time.monotonic())
        ids.append(system.submit(f"{label}{n}"))
        _until(asked[-1] + 1 / 3)
    return sorted(system.marks.wait("start", f"{label}{n}")[0].at - at for n, at in enumerate(asked))


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
