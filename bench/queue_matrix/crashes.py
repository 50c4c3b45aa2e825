"""Probes that kill, freeze or poison workers."""

from __future__ import annotations

import signal
import time

from bench.queue_matrix.marks import Mark, until
from bench.queue_matrix.probe import Outcome, ProbeError, probe
from bench.queue_matrix.system import Bench, System

_LEASE_S = 3
_JOBS = 20


def _spread(marks: list[Mark], since: float) -> str:
    return f"{marks[0].at - since:.1f}–{marks[-1].at - since:.1f} s" if marks else "never"


def _kill(system: System, task_type: str, again: str, patience_s: float) -> tuple[list[str], list[Mark], float]:
    """Kill a worker with 20 jobs of 10 s beside an idle one; task ids, the marks of who took over, when it died."""
    first = system.worker(_JOBS)
    ids = [system.submit(f"j{n}", 10, task_type=task_type) for n in range(_JOBS)]
    system.marks.wait("start", count=_JOBS)
    second = system.worker(_JOBS)
    killed = first.kill()
    try:
        system.marks.wait(again, count=_JOBS, pid=second.pid, within_s=patience_s)
    except ProbeError:
        if not system.marks.of(again, pid=second.pid):
            raise
    return ids, system.marks.of(again, pid=second.pid), killed


def _tally(system: System, ids: list[str]) -> tuple[int, int]:
    """How many didn't complete, and how many have two ends."""
    lost = sum(task["status"] != "completed" for task in system.ended(*ids, within_s=30))
    ends = [mark.label for mark in system.marks.of("end")]
    return lost, len(ends) - len(set(ends))


@probe(
    "kill",
    f"kill -9 of a worker with 20 jobs of 10 s on a backend, a second one idle, lease {_LEASE_S} s",
    "all run again once the lease is over; none lost, none doubled",
)
def kill(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        ids, again, killed = _kill(system, "probe-sleep", "start", 20)
        lost, doubled = _tally(system, ids)
        sound = (len(again), lost, doubled) == (_JOBS, 0, 0)
        measured = f"{len(again)} of 20 run again after {_spread(again, killed)}; {lost} lost, {doubled} doubled"
        return Outcome(measured, again[-1].at - killed, sound)


@probe(
    "kill-remote",
    "the same with jobs at a provider",
    "found again, not submitted again; they end when they would have ended anyway",
)
def kill_remote(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        ids, again, killed = _kill(system, "probe-remote", "watch", 20)
        lost, doubled = _tally(system, ids)
        submits = len(system.marks.of("start"))
        sound = (len(again), submits, lost, doubled) == (_JOBS, _JOBS, 0, 0)
        measured = f"watched again after {_spread(again, killed)}; {submits} submits for 20 jobs; {lost} lost"
        return Outcome(measured, submits / _JOBS, sound)


@probe(
    "kill-own-code",
    "the same with handlers' own `execute`, each of which runs again in a process of its own",
    "all run again once the lease is over; none lost, none doubled; newcomers start at once",
)
def kill_own_code(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        first = system.worker(_JOBS)
        ids = [system.submit(f"j{n}", 10, task_type="probe-own-code") for n in range(_JOBS)]
        system.marks.wait("start", count=_JOBS)
        system.worker(_JOBS + 5)
        killed = first.kill()
        again = system.marks.wait("start", count=2 * _JOBS, within_s=25)[_JOBS:]
        asked = time.monotonic()
        newcomer = system.submit("newcomer", task_type="probe-own-code")
        started = system.marks.wait("start", "newcomer", within_s=10)[0].at - asked
        lost, doubled = _tally(system, [*ids, newcomer])
        sound = (len({mark.pid for mark in again}), lost, doubled) == (_JOBS, 0, 0)
        measured = (
            f"{len(again)} of 20 run again after {_spread(again, killed)}, in {len({mark.pid for mark in again})} "
            f"processes; {lost} lost, {doubled} doubled; a newcomer with own code starts after {started:.2f} s"
        )
        return Outcome(measured, again[-1].at - killed, sound)


@probe(
    "poison",
    "a job that kills its worker, restarted each time; lease 1 s, up to 45 s; 5 neighbours of 1 s",
    "a few starts, then `worker_crash_loop`; all neighbours complete",
)
def poison(bench: Bench) -> Outcome:
    with bench.system(lease_s=1) as system:
        worker = system.worker(10)
        neighbours = [system.submit(f"n{n}", 1, task_type="probe-own-code") for n in range(5)]
        system.marks.wait("start", count=5)
        poisoned = system.submit("poison", 0.2, task_type="probe-poison")
        end = time.monotonic() + 45
        while system.task(poisoned)["status"] != "failed" and time.monotonic() < end:
            if not worker.alive:
                worker = system.worker(10, ready=False)
            time.sleep(0.1)
        done = system.ended(*neighbours, within_s=20)
        starts, state = len(system.marks.of("start", "poison")), system.task(poisoned)
        code = (state["error"] or {}).get("code")
        completed = sum(task["status"] == "completed" for task in done)
        measured = f"{starts} starts, then {state['status']} ({code}); {completed} of 5 neighbours completed"
        return Outcome(measured, starts, sound=(code, completed) == ("worker_crash_loop", 5))


@probe(
    "zombie",
    f"SIGSTOP of a worker beyond its lease ({_LEASE_S} s), SIGCONT while its jobs run elsewhere",
    "its late result is refused, its other handler is stopped; the second run's result stands",
)
def zombie(bench: Bench) -> Outcome:
    with bench.system(lease_s=_LEASE_S) as system:
        first = system.worker()
        ids = [system.submit("long", 12), system.submit("short", 4)]
        system.marks.wait("start", count=2)
        second = system.worker()
        frozen = first.send(signal.SIGSTOP)
        again = system.marks.wait("start", count=2, pid=second.pid, within_s=15)
        until(lambda: time.monotonic() > frozen + 5, 10, "the end of the short job's sleep")
        woken = first.send(signal.SIGCONT)
        stopped = system.marks.wait("stop", "long", pid=first.pid, within_s=10)[0].at - woken
        tasks = system.ended(*ids)
        owners = {task["result"]["data"]["pid"] for task in tasks if task["status"] == "completed"}
        late = len(system.marks.of("end", "short", pid=first.pid))
        measured = (
            f"run elsewhere after {_spread(again, frozen)}; {late} late end, refused; "
            f"the other stopped {stopped:.1f} s after SIGCONT; results are the second worker's"
        )
        if owners != {second.pid}:
            measured += f" - NO: {owners}, second is {second.pid}"
        return Outcome(measured, sound=owners == {second.pid} and first.alive)
