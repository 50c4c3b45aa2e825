"""An attempt on backends of every recovery class: what is sent how often, and what becomes of the task.

The backend is a double that keeps a ledger of sends, which stands for money.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from genpulse.core import execution, states
from genpulse.core.attempt import Attempt, Backends, Stop, Tools
from genpulse.core.files import FileService
from genpulse.core.ids import new_id
from genpulse.core.models import (
    Absent,
    Checkpoint,
    Finished,
    Job,
    MediaInfo,
    NewTask,
    Prepared,
    Priority,
    Recovery,
    RemoteOutput,
    Snapshot,
    State,
    Task,
    Unsure,
)
from genpulse.core.progress import ProgressReporter
from genpulse.core.registry import Model, Registry
from genpulse.core.signals import Signals
from genpulse.core.view import TaskView
from genpulse.errors import RequestError, TaskError
from genpulse.handlers.base import BaseHandler
from genpulse.isolation import ProcessIsolation
from genpulse.mq.redis_manager import RedisManager
from genpulse.storage.object_storage import ObjectStorage
from genpulse.store.ledger import SqlLedger


class Remote:
    """A backend whose remote side keeps what it was sent."""

    paid = True

    def __init__(self, recovery: Recovery) -> None:
        self.recovery = recovery
        self.sent: list[str] = []
        self.jobs: dict[str, str] = {}
        self.on_submit: Callable[[int], Any] = lambda count: None
        self.find_answer: Any = None
        self.gate: asyncio.Event | None = None
        self.error: TaskError | None = None
        self.cancelled: list[str] = []
        self.cancel_outcome = "stopped"

    async def prepare(self, job: Job) -> Prepared:
        return Prepared({"prompt": job.params["prompt"]})

    async def submit(self, job: Job, prepared: Prepared) -> Checkpoint | Finished:
        self.sent.append(job.token)
        outcome = self.on_submit(len(self.sent))
        if isinstance(outcome, TaskError):
            raise outcome
        self.jobs[job.token] = f"remote-{job.token}"
        if isinstance(outcome, Exception):
            raise outcome
        return Checkpoint(self.jobs[job.token], {"prepared": prepared.data})

    async def watch(self, job: Job, checkpoint: Checkpoint) -> AsyncIterator[Snapshot]:
        yield Snapshot(progress=10, stage="painting")
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            yield Snapshot(error=self.error)
        yield Snapshot(finished=Finished((RemoteOutput("out.txt", {"id": checkpoint.remote_id}),), data={"ok": True}))

    async def open(self, job: Job, checkpoint: Checkpoint | None, output: RemoteOutput) -> AsyncIterator[bytes]:
        yield f"output of {output.data['id']}".encode()

    async def cancel(self, job: Job, checkpoint: Checkpoint) -> Any:
        self.cancelled.append(checkpoint.remote_id)
        return self.cancel_outcome

    async def find(self, job: Job, prepared: Prepared) -> Any:
        return self.find_answer(job) if callable(self.find_answer) else self.find_answer

    async def close(self) -> None:
        pass


class TextInspector:
    async def inspect(self, path: Path, *, name: str = "") -> MediaInfo:
        return MediaInfo("text", "text/plain", "txt")


class Paint(BaseHandler):
    default_model = "remote/paint"


class Bench:
    """Everything an attempt needs, on the test's database."""

    def __init__(self, ledger: SqlLedger, folder: Path, remote: Remote) -> None:
        self.ledger = ledger
        self.remote = remote
        registry = Registry()
        registry.register("paint")(Paint)
        registry.register_model(Model("remote/paint", ("paint",), pool="cloud", backend=lambda: remote))
        self.registry = registry
        # No Redis: signals are best effort, and attempts must not need them.
        queue = RedisManager(f"unix://{folder}/none.sock")
        self.queue = queue
        self.signals = Signals(queue, TaskView("http://test", lambda file_id: "sig"))
        files = FileService(ledger, ObjectStorage.from_url(None, folder), TextInspector(), min_free_bytes=0)
        self.tools = Tools(
            ledger=ledger,
            registry=registry,
            files=files,
            signals=self.signals,
            progress=ProgressReporter(queue),
            backends=Backends(),
            isolation=ProcessIsolation(),
            work_root=folder / "work",
            task_timeout_s=60,
            max_attempts=3,
            retry_backoff_s=0,
        )

    async def claimed(self, **changes: Any) -> Task:
        fields: dict[str, Any] = {"id": new_id(), "tenant": "default", "task_type": "paint", "model": "remote/paint"}
        fields |= {"pool": "cloud", "priority": Priority.NORMAL, "params": {"prompt": "x"}, "metadata": {}}
        accepted = await self.ledger.accept(NewTask(**fields | {"options": {}, "seed": 5} | changes))
        return await self.claim(accepted.task.id)

    async def claim(self, task_id: str) -> Task:
        changed = await self.ledger.change(task_id, states.claim("w"))
        assert changed.done and changed.task is not None
        return changed.task

    def attempt(self, task: Task, tools: Tools | None = None) -> Attempt:
        assert task.started_at is not None
        return Attempt(task, tools or self.tools, task.started_at)

    async def run(self, task: Task) -> Task:
        await self.attempt(task).run()
        return await self.now(task)

    async def now(self, task: Task) -> Task:
        current = await self.ledger.get_any(task.id)
        assert current is not None
        return current

    async def until(self, task: Task, state: State) -> Task:
        async with asyncio.timeout(10):
            while (current := await self.now(task)).state != state:
                await asyncio.sleep(0.005)
            return current


@pytest.fixture
async def make_bench(ledger: SqlLedger, tmp_path: Path) -> AsyncIterator[Callable[[Recovery], Bench]]:
    made: list[Bench] = []

    def make(recovery: Recovery) -> Bench:
        made.append(Bench(ledger, tmp_path, Remote(recovery)))
        return made[-1]

    yield make
    for bench in made:
        await bench.signals.close()
        await bench.queue.close()


BACKEND_CLASSES = list(Recovery)


@pytest.mark.parametrize("recovery", BACKEND_CLASSES)
async def test_a_job_runs_once_and_its_output_is_stored(make_bench: Any, recovery: Recovery) -> None:
    bench = make_bench(recovery)
    task = await bench.run(await bench.claimed())
    assert task.state == State.SUCCEEDED and task.result is not None
    [output] = task.result["outputs"]
    assert (output["name"], output["media_type"], task.result["data"]) == ("out.txt", "text/plain", {"ok": True})
    file = await bench.tools.files.find(output["file_id"])
    content = b"".join([chunk async for chunk in bench.tools.files.open(file)])
    assert content == f"output of remote-{bench.remote.sent[0]}".encode()
    assert len(bench.remote.sent) == 1
    assert list((bench.tools.work_root).iterdir()) == []
    submission = await bench.ledger.submission(task.id, 1)
    assert (submission is None) == (recovery == Recovery.FREE)


class DyingLedger:
    """A ledger whose process is killed right after (or before) the n-th change is committed."""

    def __init__(self, ledger: SqlLedger, at: int, *, before: bool) -> None:
        self._ledger, self._left, self._before = ledger, at, before
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def change(self, task_id: str, step: states.Step) -> Any:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and self._before):
            await self._die()
        changed = await self._ledger.change(task_id, step)
        if self._left == 0:
            await self._die()
        return changed

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("before", [True, False], ids=["before-commit", "after-commit"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("recovery", BACKEND_CLASSES)
async def test_killed_at_every_commit_nothing_is_paid_twice(
    make_bench: Any, recovery: Recovery, at: int, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "LOOKUP_S", 0.0 if recovery == Recovery.FINDABLE else 5.0)
    bench = make_bench(recovery)
    bench.remote.find_answer = lambda job: (
        Checkpoint(bench.remote.jobs[job.token]) if job.token in bench.remote.jobs else Absent.ABSENT
    )
    task = await bench.claimed()
    dying = DyingLedger(bench.ledger, at, before=before)
    first = asyncio.create_task(bench.attempt(task, _with_ledger(bench.tools, dying)).run())
    dead = asyncio.create_task(dying.dead.wait())
    await asyncio.wait({first, dead}, return_when=asyncio.FIRST_COMPLETED)
    for ended in (first, dead):
        ended.cancel()
    await asyncio.gather(first, dead, return_exceptions=True)

    await bench.ledger.change(task.id, states.rescue("w", suspect=False))
    current = await bench.now(task)
    if not current.terminal:
        current = await bench.run(await bench.claim(task.id))
    assert len(set(bench.remote.sent)) <= 1
    if recovery in {Recovery.NONE, Recovery.FINDABLE, Recovery.CHOSEN_ID}:
        assert len(bench.remote.sent) <= 1
    if current.state == State.FAILED:
        # Parked: only where the outcome of a send was really unknown, and only without a way to look it up.
        assert current.error is not None
        assert (current.error["code"], current.error["money_at_risk"]) == ("submit_unknown", True)
        assert recovery in {Recovery.NONE, Recovery.FINDABLE}
    else:
        assert current.state == State.SUCCEEDED
        assert bench.remote.sent


class ForgetfulLedger:
    """A ledger that commits the n-th change and loses its answer, as a database does whose connection breaks then."""

    def __init__(self, ledger: SqlLedger, at: int) -> None:
        self._ledger, self._left = ledger, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def change(self, task_id: str, step: states.Step) -> Any:
        self._left -= 1
        changed = await self._ledger.change(task_id, step)
        if self._left == 0:
            raise RequestError("unavailable", "The database can't be reached.")
        return changed


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("recovery", BACKEND_CLASSES)
async def test_a_commit_whose_answer_is_lost_changes_nothing(make_bench: Any, recovery: Recovery, at: int) -> None:
    bench = make_bench(recovery)
    task = await bench.claimed()
    await bench.attempt(task, _with_ledger(bench.tools, ForgetfulLedger(bench.ledger, at))).run()
    ended = await bench.now(task)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert len(bench.remote.sent) == 1


def _with_ledger(tools: Tools, ledger: Any) -> Tools:
    fields = {name: getattr(tools, name) for name in Tools.__slots__}
    return Tools(**fields | {"ledger": ledger})


async def test_an_unknown_submit_without_recovery_is_parked(make_bench: Any) -> None:
    bench = make_bench(Recovery.NONE)
    bench.remote.on_submit = lambda count: ConnectionResetError("reply lost")
    task = await bench.run(await bench.claimed())
    assert task.error is not None and task.error["code"] == "submit_unknown" and task.error["money_at_risk"]
    assert len(bench.remote.sent) == 1
    submission = await bench.ledger.submission(task.id, 1)
    assert submission is not None and submission.state == "unknown"


async def test_a_refusal_after_an_unknown_send_proves_nothing(make_bench: Any) -> None:
    """The mistake that simulation found in the first design: token 1 was sent, then refused, then token 2 minted."""
    bench = make_bench(Recovery.IDEMPOTENT)
    answers = {1: TimeoutError("reply lost"), 2: TaskError("provider_rate_limited", "refused")}
    bench.remote.on_submit = answers.get
    task = await bench.run(await bench.claimed())
    assert task.state == State.SUCCEEDED
    assert len(set(bench.remote.sent)) == 1
    assert task.attempt == 1


async def test_a_clean_refusal_is_retried_with_a_new_token(make_bench: Any) -> None:
    bench = make_bench(Recovery.NONE)
    bench.remote.on_submit = {1: TaskError("provider_rate_limited", "too many")}.get
    task = await bench.run(await bench.claimed())
    assert (task.state, task.attempt) == (State.QUEUED, 2)
    task = await bench.run(await bench.claim(task.id))
    assert task.state == State.SUCCEEDED
    assert len(set(bench.remote.sent)) == 2


async def test_a_paid_job_that_failed_is_not_repeated(make_bench: Any) -> None:
    bench = make_bench(Recovery.IDEMPOTENT)
    bench.remote.error = TaskError("provider_failed", "the provider's GPU broke")
    task = await bench.run(await bench.claimed())
    assert (task.state, len(bench.remote.sent)) == (State.FAILED, 1)


async def test_free_work_that_failed_is_repeated_up_to_the_limit(make_bench: Any) -> None:
    bench = make_bench(Recovery.FREE)
    bench.remote.error = TaskError("engine_failed", "crashed")
    task = await bench.claimed()
    for attempt in (2, 3):
        task = await bench.run(task)
        assert (task.state, task.attempt) == (State.QUEUED, attempt)
        task = await bench.claim(task.id)
    task = await bench.run(task)
    assert (task.state, task.error and task.error["code"]) == (State.FAILED, "engine_failed")


async def test_cancel_stops_the_remote_job(make_bench: Any) -> None:
    bench = make_bench(Recovery.IDEMPOTENT)
    bench.remote.gate = asyncio.Event()
    attempt = bench.attempt(await bench.claimed())
    running = asyncio.create_task(attempt.run())
    task = await bench.until(attempt.task, State.WAITING)
    attempt.stop(Stop.CANCEL)
    await running
    task = await bench.now(task)
    assert (task.state, task.error and task.error["money_at_risk"]) == (State.CANCELLED, False)
    assert len(bench.remote.cancelled) == 1


async def test_a_finished_paid_result_wins_over_a_cancel(make_bench: Any) -> None:
    bench = make_bench(Recovery.IDEMPOTENT)
    bench.remote.gate = asyncio.Event()
    bench.remote.cancel_outcome = "too_late"
    attempt = bench.attempt(await bench.claimed())
    running = asyncio.create_task(attempt.run())
    await bench.until(attempt.task, State.WAITING)
    attempt.stop(Stop.CANCEL)
    bench.remote.gate.set()
    await running
    assert (await bench.now(attempt.task)).state == State.SUCCEEDED


async def test_a_drain_leaves_the_remote_job_running_and_the_next_owner_resumes_it(make_bench: Any) -> None:
    bench = make_bench(Recovery.NONE)
    bench.remote.gate = asyncio.Event()
    attempt = bench.attempt(await bench.claimed())
    running = asyncio.create_task(attempt.run())
    await bench.until(attempt.task, State.WAITING)
    attempt.stop(Stop.DRAIN)
    await running
    task = await bench.now(attempt.task)
    assert (task.state, bench.remote.cancelled) == (State.QUEUED, [])
    bench.remote.gate.set()
    task = await bench.run(await bench.claim(task.id))
    assert (task.state, len(bench.remote.sent)) == (State.SUCCEEDED, 1)


async def test_a_zombie_touches_nothing(make_bench: Any) -> None:
    bench = make_bench(Recovery.FREE)
    bench.remote.gate = asyncio.Event()
    zombie = bench.attempt(await bench.claimed())
    running = asyncio.create_task(zombie.run())
    async with asyncio.timeout(5):
        while not bench.remote.sent:
            await asyncio.sleep(0.005)
    await bench.ledger.change(zombie.task.id, states.rescue("w", suspect=False))
    owner = await bench.claim(zombie.task.id)
    bench.remote.gate.set()
    await running
    assert await bench.now(owner) == owner


async def test_a_task_over_its_limit_fails_with_timeout(make_bench: Any) -> None:
    bench = make_bench(Recovery.FREE)
    bench.remote.gate = asyncio.Event()
    fields = {name: getattr(bench.tools, name) for name in Tools.__slots__}
    bench.tools = Tools(**fields | {"task_timeout_s": 0.05})
    task = await bench.run(await bench.claimed())
    assert (task.state, task.error and task.error["code"]) == (State.FAILED, "timeout")
    assert len(bench.remote.cancelled) == 1


async def test_a_running_task_past_its_deadline_fails(make_bench: Any) -> None:
    bench = make_bench(Recovery.FREE)
    bench.remote.gate = asyncio.Event()
    task = await bench.run(await bench.claimed(deadline_s=0.2))
    assert (task.state, task.error and task.error["code"]) == (State.FAILED, "deadline_exceeded")


async def test_an_unexpected_error_says_nothing_of_its_inside(
    make_bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench(Recovery.FREE)
    bench.remote.on_submit = lambda count: ValueError("CANARY-secret")
    task = await bench.run(await bench.claimed())
    assert task.error is not None and task.error["code"] == "internal"
    assert "CANARY" not in str(task) and "CANARY" in caplog.text


async def test_an_unsure_lookup_waits_then_finds(make_bench: Any) -> None:
    bench = make_bench(Recovery.CHOSEN_ID)
    bench.remote.on_submit = lambda count: TimeoutError("reply lost")
    answers = [Unsure.UNSURE, None]

    def find(job: Job) -> Any:
        return answers.pop(0) if len(answers) > 1 else Checkpoint(bench.remote.jobs[job.token])

    bench.remote.find_answer = find
    task = await bench.run(await bench.claimed())
    assert (task.state, len(bench.remote.sent)) == (State.SUCCEEDED, 1)
