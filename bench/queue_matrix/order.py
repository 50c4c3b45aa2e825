"""Probes of the queue itself: order, cancelling, repeats, delays, forged hints."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from bench.queue_matrix.marks import until
from bench.queue_matrix.probe import Outcome, ProbeError, probe
from bench.queue_matrix.system import Bench


@probe("priorities", "50 low, then 5 high, concurrency 1", "the high ones run first")
def priorities(bench: Bench) -> Outcome:
    with bench.system() as system:
        for n in range(50):
            system.submit(f"low{n}", priority="low")
        for n in range(5):
            system.submit(f"high{n}", priority="high")
        system.worker(1)
        order = [mark.label for mark in system.marks.wait("start", count=55)]
        positions = [place for place, label in enumerate(order) if label.startswith("high")]
        measured = f"high at {','.join(map(str, positions))}"
        return Outcome(measured, max(positions), sound=positions == [0, 1, 2, 3, 4])


@probe("cancel-queued", "cancel a queued job", "at once, and it never runs")
def cancel_queued(bench: Bench) -> Outcome:
    with bench.system() as system:
        system.worker(1)
        busy = system.submit("busy", 2)
        system.marks.wait("start", "busy")
        waiting = system.submit("waiting")
        asked = system.cancel(waiting)
        status, took = system.task(waiting)["status"], time.monotonic() - asked
        system.ended(busy, system.submit("after"))
        ran = len(system.marks.of("start", "waiting"))
        measured = f"{status} after {took:.2f} s; {ran} starts"
        return Outcome(measured, took, sound=(status, ran) == ("canceled", 0))


@probe("cancel-running", "cancel a running job, 5 times", "really stopped")
def cancel_running(bench: Bench) -> Outcome:
    with bench.system() as system:
        system.worker()
        took: list[float] = []
        statuses: set[str] = set()
        for n in range(5):
            task = system.submit(f"j{n}", 30)
            system.marks.wait("start", f"j{n}")
            asked = system.cancel(task)
            took.append(system.marks.wait("stop", f"j{n}", within_s=10)[0].at - asked)
            statuses.add(system.ended(task, within_s=5)[0]["status"])
        measured = f"stopped after {min(took):.2f}–{max(took):.2f} s"
        return Outcome(measured, max(took), sound=statuses == {"canceled"})


@probe("same-id", "the same Idempotency-Key twice: queued / running / after the end", "one run, and the repeat is told")
def same_id(bench: Bench) -> Outcome:
    with bench.system() as system:
        first = system.post("job", 1, key="once")
        answers = [system.post("job", 1, key="once")]
        system.worker()
        system.marks.wait("start")
        answers.append(system.post("job", 1, key="once"))
        system.ended(first.json()["task_id"])
        answers.append(system.post("job", 1, key="once"))
        system.ended(system.submit("after"))
        same = [
            answer.json().get("task_id") == first.json()["task_id"] and "idempotent-replayed" in answer.headers
            for answer in answers
        ]
        starts = len(system.marks.of("start", "job"))
        words = " / ".join("dedupe" if one else "RUNS AGAIN" for one in same)
        return Outcome(f"{words}, told each time; {starts} start", starts - 1, sound=all(same) and starts == 1)


@probe("delayed", "5 jobs delayed by 3 s", "start when due, not before")
def delayed(bench: Bench) -> Outcome:
    with bench.system() as system:
        system.worker()
        due: dict[str, float] = {}
        for n in range(5):
            in_s = 3 + n / 5  # spread over a tick
            run_at = datetime.now(UTC) + timedelta(seconds=in_s)
            due[f"j{n}"] = time.monotonic() + in_s
            system.submit(f"j{n}", run_at=run_at.isoformat())
        late = sorted(mark.at - due[mark.label] for mark in system.marks.wait("start", count=5, within_s=15))
        return Outcome(f"{late[0]:+.2f} to {late[-1]:+.2f} s", late[-1], sound=late[0] > -0.05)


@probe("repeated-hints", "its hint forged 10 times while a job runs and 10 times after its end", "one run")
def repeated_hints(bench: Bench) -> Outcome:
    with bench.system() as system:
        task = system.submit("job", 2)
        system.worker()
        system.marks.wait("start")
        for _ in range(2):
            for _ in range(10):
                system.valkey.command("ZADD", "queue:handlers", "1", task)
                until(lambda: system.valkey.command("ZCARD", "queue:handlers") == b":0\r\n", 5, "the hint is taken")
            system.ended(task)
        system.ended(system.submit("after"))
        starts = len(system.marks.of("start", "job"))
        if system.task(task)["status"] != "completed":
            raise ProbeError("the job did not complete")
        return Outcome(f"{starts} start", starts - 1, sound=starts == 1)
