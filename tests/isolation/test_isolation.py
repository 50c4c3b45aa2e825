"""Handlers alone: they behave as in a worker, they die alone, they end when told, and nothing of them is left."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from genpulse.cli.processes import descendants, running
from genpulse.core import states
from genpulse.core.models import State, Suspicion, Task
from tests.core.system import System
from tests.isolation.handlers import Marks

ROOT = Path(__file__).parents[2]
PICTURE = {"data": base64.b64encode(b"pixels").decode(), "media_type": "text/plain"}


async def _gone(pids: list[int], within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while set(pids) & set(running()):
            await asyncio.sleep(0.02)


async def _seen(system: System, task: Task) -> dict[str, Any]:
    """All that a client sees of an ended task, without what is drawn anew for each."""
    outputs = (task.result or {}).pop("outputs", [])
    events = [event async for event in system.tasks.events(task)]
    kinds = [event.data.get("message") for event in events if event.type == "log"]
    return {
        "state": task.state,
        "result": task.result,
        "error": task.error,
        "warnings": task.warnings,
        "attempt": task.attempt,
        "outputs": sorted((file["name"], file["bytes"], file["media_type"]) for file in outputs),
        "log": kinds,
    }


@pytest.mark.parametrize(
    ("task_type", "params"),
    [
        ("use-everything", {"picture": PICTURE, "text": "hé"}),
        ("plain", {"a": [1, None, {"b": "ü"}]}),
        ("blocking", {"a": 1.5}),
        ("failing-files", {"picture": PICTURE, "text": ""}),
        ("failing-files", {"picture": {"url": "https://example.org/a.png"}, "text": ""}),
        *(("failing", {"how": how}) for how in ("task-error", "request-error", "bug", "list", "no-json", "own-cancel")),
    ],
)
async def test_alone_all_is_as_in_the_worker(system: System, task_type: str, params: dict[str, Any]) -> None:
    params = {**params, "seed": 7}
    fields: dict[str, Any] = {"metadata": {"m": 1}, "priority": "high"}
    alone = await system.suspect(task_type, params, **fields)
    inside = await system.submit(task_type, params, **fields)
    async with system.working():
        inside, alone = await system.end(inside), await system.end(alone)
    assert (inside.suspicion, alone.suspicion) == (Suspicion.NONE, Suspicion.SUSPECT)
    assert await _seen(system, alone) == await _seen(system, inside)


async def test_many_suspects_run_at_once_and_newcomers_beside_them(make_system: Any, marks: Marks) -> None:
    system = make_system(pools={"handlers": 30})
    suspects = [await system.suspect("holding", marks.params()) for _ in range(20)]
    async with system.working():
        pids = await marks.until("start", 20)
        assert len(set(pids)) == 20 and os.getpid() not in pids
        newcomer = await system.end(await system.submit("shout"))
        assert newcomer.state == State.SUCCEEDED
        marks.open()
        for task in suspects:
            ended = await system.end(task)
            assert (ended.state, ended.crashes) == (State.SUCCEEDED, 0)
        await _gone(pids)


@pytest.mark.parametrize("how", ["exit", "segfault", "kill", "group", "garbage", "parent"])
async def test_a_poison_ends_after_three_crashes_alone_and_hurts_nobody(
    make_system: Any, marks: Marks, how: str
) -> None:
    system = make_system()
    poison = await system.suspect("dying", marks.params(how=how))
    system.gate.open.set()
    async with system.reconciling(), system.working() as worker:
        ended = await system.end(poison)
        assert ended.error is not None
        assert (ended.error["code"], ended.crashes) == ("worker_crash_loop", 3)
        assert (await system.end(await system.submit("hold"))).state == State.SUCCEEDED
        assert [row["id"] for row in await system.ledger.workers()] == [worker.id]
    assert len(marks.of("start")) == 3
    events = [event async for event in system.tasks.events(ended)]
    assert sum(event.type == "log" for event in events) == 3


async def test_a_poison_beside_other_suspects_is_blamed_alone(make_system: Any, marks: Marks) -> None:
    """Also when it kills the template that they share: then nobody is blamed, and each gets one of its own."""
    system = make_system()
    innocent = [await system.suspect("holding", marks.params()) for _ in range(5)]
    async with system.reconciling(), system.working():
        await marks.until("start", 5)
        [template] = {running()[pid].parent for pid in marks.of("start")}
        os.kill(template, signal.SIGKILL)
        pids = (await marks.until("start", 10))[5:]
        assert len({running()[pid].parent for pid in pids}) == 5
        os.kill(running()[pids[0]].parent, signal.SIGKILL)
        await marks.until("start", 11)
        marks.open()
        crashes = [(await system.end(task)).crashes for task in innocent]
    assert sorted(crashes) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("task_type", ["holding", "holding-thread", "holding-everything"])
async def test_a_cancel_is_told_when_the_process_has_ended(system: System, marks: Marks, task_type: str) -> None:
    beside = f"beside {marks.folder}"
    task = await system.suspect(task_type, marks.params(beside=beside))
    async with system.working():
        [pid] = await marks.until("start")
        children = [pid, *descendants(pid)]
        await system.tasks.cancel("default", task.id)
        ended = await system.end(task)
        assert ended.state == State.CANCELLED
        assert pid not in running()
        await _gone(children)
    assert len(marks.of("stop")) == (task_type == "holding")


async def test_a_time_limit_and_a_drain_end_the_process(make_system: Any, marks: Marks) -> None:
    system = make_system()
    slow = await system.suspect("holding", marks.params(stubborn=True))
    async with system.working(task_timeout_s=1.5):
        ended = await system.end(slow)
        assert ended.error is not None and ended.error["code"] == "timeout"
        started = marks.of("start")
        await _gone(started)
    drained = await system.suspect("holding-thread", marks.params())
    async with system.working(drain_s=0.1):
        pids = await marks.until("start", len(started) + 1)
    handed = await system.tasks.get("default", drained.id)
    assert (handed.state, handed.crashes, handed.suspicion) == (State.QUEUED, 0, Suspicion.SUSPECT)
    assert not set(pids) & set(running())


async def test_a_lost_task_is_let_go(system: System, marks: Marks) -> None:
    task = await system.suspect("holding", marks.params())
    async with system.working() as worker:
        [pid] = await marks.until("start")
        await system.ledger.change(task.id, states.rescue(worker.id, suspect=False))
        worker._drop_all()
        await _gone([pid])
        marks.open()
    other = await system.tasks.get("default", task.id)
    assert (other.state, other.crashes) == (State.QUEUED, 0)


async def test_a_template_that_cannot_start_fails_the_task_and_says_why(
    make_system: Any, caplog: pytest.LogCaptureFixture
) -> None:
    system = make_system(plugins=["tests.isolation.no_such_module"])
    task = await system.suspect("blocking")
    async with system.reconciling(), system.working():
        ended = await system.end(task)
    assert ended.error is not None and (ended.error["code"], ended.attempt, ended.crashes) == ("internal", 3, 0)
    assert "no_such_module" in caplog.text and "no_such_module" not in ended.error["message"]


async def test_an_idle_template_ends_and_a_new_one_is_started(make_system: Any, marks: Marks) -> None:
    system = make_system(idle_s=0.05)
    async with system.working() as worker:
        for number in (1, 2):
            await system.ledger.pause_pool("handlers", paused=True)
            await worker._look_for_pauses()
            task = await system.suspect("holding", marks.params())
            await system.ledger.pause_pool("handlers", paused=False)
            pid = (await marks.until("start", number))[-1]
            template = running()[pid].parent
            marks.open()
            assert (await system.end(task)).state == State.SUCCEEDED
            await _gone([template])
            (marks.folder / "open").unlink()


async def test_no_secrets_but_what_plugins_ask_for(make_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "secret")
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("WANTED", "yes")
    system = make_system(variables=["WANTED", "ABSENT"])
    task = await system.suspect("environment")
    async with system.working():
        ended = await system.end(task)
    assert ended.result is not None
    names = set(ended.result["data"]["names"])
    assert "WANTED" in names and "PATH" in names
    assert not {"DATABASE_URL", "SOME_API_KEY", "ABSENT"} & names


@pytest.mark.parametrize("task_type", ["holding", "holding-thread", "holding-everything"])
def test_children_never_outlive_a_killed_worker(tmp_path: Path, task_type: str) -> None:
    """Not even those that block the interpreter, where the kernel helps."""
    if task_type == "holding-everything" and sys.platform != "linux":
        pytest.skip("needs PR_SET_PDEATHSIG")
    marks = Marks(tmp_path / "marks")
    program = Path(__file__).with_name("worker_program.py")
    worker = subprocess.Popen([sys.executable, str(program), task_type, str(marks.folder)], cwd=ROOT)
    try:
        end = time.monotonic() + 20
        while not marks.of("start"):
            assert worker.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        children = descendants(worker.pid)
        assert marks.of("start")[0] in children and len(children) == 2
    finally:
        worker.kill()
        worker.wait(10)
    end = time.monotonic() + 5
    while left := set(children) & set(running()):
        assert time.monotonic() < end, left
        time.sleep(0.02)
