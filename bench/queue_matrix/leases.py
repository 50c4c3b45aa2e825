"""Probes of leases without any crash: long jobs, drains."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.queue_matrix.probe import Outcome, probe
from bench.queue_matrix.system import Bench, System

_LEASE_S = 3


@contextmanager
def _traffic(system: System) -> Iterator[None]:
    """Short jobs beside: some engines take over others' work only when new messages come."""
    over = threading.Event()

    def send() -> None:
        count = 0
        while not over.wait(0.3):
            system.submit(f"traffic{count}", 0.05)
            count += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@probe("live", f"a live job of 15 s, lease {_LEASE_S} s, other traffic, two workers", "one start")
def live(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        system.worker()
        system.worker()
        task = system.submit("long", 15)
        with _traffic(system):
            system.ended(task, within_s=30)
        starts, repeated = len(system.marks.of("start", "long")), system.marks.repeated()
        return Outcome(f"{starts} start, {len(repeated)} of all jobs doubled", starts, sound=not repeated)


@probe("no-fault", f"no fault at all: concurrency 2, 8 jobs of 7 s, lease {_LEASE_S} s", "8 starts")
def no_fault(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        system.worker(2)
        system.ended(*(system.submit(f"j{n}", 7) for n in range(8)), within_s=45)
        starts, repeated = len(system.marks.of("start")), len(system.marks.repeated())
        return Outcome(f"{starts} starts, {repeated} doubled", repeated, sound=starts == 8)


@probe(
    "drain",
    f"SIGTERM with grace 20 s: lease {_LEASE_S} s, a job of 14 s, a second worker",
    "drained: one start, exit 0",
)
def drain(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S, GENPULSE_DRAIN_S="20") as system:
        first = system.worker()
        task = system.submit("long", 14)
        system.marks.wait("start")
        system.worker()
        first.send(signal.SIGTERM)
        [ended] = system.ended(task, within_s=25)
        code, starts = first.wait(10), len(system.marks.of("start"))
        measured = f"{ended['status']}, {starts} start, exit {code}"
        return Outcome(measured, starts - 1, sound=(ended["status"], starts, code) == ("completed", 1, 0))


@probe(
    "sigterm",
    "SIGTERM with grace 0: a job of 8 s, a second worker, lease 30 s",
    "handed back and run by the second at once, without waiting for the lease",
)
def sigterm(bench: Bench) -> Outcome:
    with bench.system(lease_s=30, GENPULSE_DRAIN_S="0") as system:
        first = system.worker()
        task = system.submit("job", 8)
        system.marks.wait("start")
        second = system.worker()
        at = first.send(signal.SIGTERM)
        again = system.marks.wait("start", pid=second.pid, within_s=40)[0].at - at
        code = first.wait(15)
        stopped = system.marks.wait("stop", pid=first.pid)[0].at - at
        [ended] = system.ended(task, within_s=20)
        measured = f"stopped after {stopped:.1f} s, run by the second after {again:.1f} s; exit {code}"
        return Outcome(measured, again, sound=(ended["status"], ended["attempt"], code) == ("completed", 1, 0))
