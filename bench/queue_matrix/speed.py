"""Speed, as far as it can be set beside the engines': theirs is a call of a library, ours a request over HTTP that
answers after a durable commit."""

from __future__ import annotations

import math
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from bench.queue_matrix.probe import Outcome, probe
from bench.queue_matrix.system import Bench, System

_CLIENTS = 16


def _fill(system: System, count: int, seconds: float = 0) -> float:
    """Submit from several clients at once; how many a second."""
    started = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda n: system.submit(f"j{n}", seconds), range(count)))
    return count / (time.monotonic() - started)


@probe("enqueue", "enqueue one by one, jobs/s (POST /task, durable)", "one or two orders above what media need")
def enqueue(bench: Bench) -> Outcome:
    with bench.system() as system:
        count, started = 0, time.monotonic()
        while time.monotonic() < started + 4:
            system.submit(f"one{count}")
            count += 1
        one_by_one = count / (time.monotonic() - started)
        together = _fill(system, 1500)
        return Outcome(f"{one_by_one:.0f}/s; {_CLIENTS} clients at once {together:.0f}/s", one_by_one)


@probe("drain-rate", "drain of 2000 queued no-op jobs, concurrency 100, jobs/s", "one or two orders above media needs")
def drain_rate(bench: Bench) -> Outcome:
    with bench.system() as system:
        _fill(system, 2000)
        worker = system.worker(100, ready=False)
        system.marks.wait("start")
        before = sum(psutil.Process(worker.pid).cpu_times()[:2])  # of its start
        starts = system.marks.wait("start", count=2000, within_s=60)
        rate = len(starts) / (starts[-1].at - starts[0].at)
        system.marks.wait("end", count=2000)
        per_job = (sum(psutil.Process(worker.pid).cpu_times()[:2]) - before) / 2000 * 1e6
        repeated = system.marks.repeated()
        measured = f"{rate:.0f}/s; {per_job:.0f} µs of worker CPU a job; {len(repeated)} doubled"
        return Outcome(measured, rate, sound=not repeated)


@probe("latency", "enqueue → start, 200 jobs one after the other, idle worker", "not noticed beside seconds of work")
def latency(bench: Bench) -> Outcome:
    with bench.system() as system:
        system.worker()
        took: list[float] = []
        for n in range(210):
            asked = time.monotonic()
            system.submit(f"j{n}")
            took.append(1000 * (system.marks.wait("start", f"j{n}")[0].at - asked))
        took = sorted(took[10:])  # the first ones find connections and caches cold
        p50, p99 = statistics.median(took), took[math.ceil(0.99 * len(took)) - 1]
        return Outcome(f"p50 {p50:.1f} ms, p99 {p99:.0f} ms", p50)


@probe("many", "500 jobs of 5 s in one worker", "all at once")
def many(bench: Bench) -> Outcome:
    with bench.system() as system:
        _fill(system, 500, 5)
        process = psutil.Process(system.worker(500, ready=False).pid)
        system.marks.wait("start")
        idle = process.memory_info().rss
        peak = _watch(system, process, idle)
        ends = system.marks.of("end")
        wall = ends[-1].at - system.marks.of("start")[0].at
        _, line = system.valkey.command("CLIENT", "LIST").split(b"\r\n", 1)
        connections = line.count(b"id=") - 1  # but ours
        measured = (
            f"{wall:.2f} s from the first start to the last end; "
            f"RSS {idle >> 20} → {peak >> 20} MiB; {connections} Redis connections, the gateway's included"
        )
        return Outcome(measured, wall, sound=len(ends) == 500)


def _watch(system: System, process: psutil.Process, peak: int) -> int:
    """The largest RSS until all have ended."""
    end = time.monotonic() + 60
    while len(system.marks.of("end")) < 500 and time.monotonic() < end:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.05)
    return peak
