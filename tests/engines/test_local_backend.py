"""Local engines in real child processes: results, failures of all kinds, cancel, limits, and nobody left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from genpulse.core.models import Absent, Checkpoint, Job, RemoteOutput, Snapshot
from genpulse.engines.engine import EngineLimits
from genpulse.engines.local_backend import LocalBackend
from genpulse.errors import TaskError
from tests.contracts import backend_contract as contract
from tests.engines.conftest import SAMPLE, MakeJob


async def failure(backend: LocalBackend, job: Job) -> TaskError:
    with pytest.raises(TaskError) as caught:
        await contract.run(backend, job)
    return caught.value


async def started(
    backend: LocalBackend, job: Job, stage: str = "waiting"
) -> tuple[Checkpoint, AsyncIterator[Snapshot]]:
    """A job that has reached a stage, and its watch."""
    checkpoint = await backend.submit(job, await backend.prepare(job))
    watch = backend.watch(job, checkpoint)
    async for snapshot in watch:
        assert snapshot.error is None
        if snapshot.stage == stage:
            return checkpoint, watch
    raise AssertionError("the stage was not reached")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pid: int) -> None:
    """Until a process has ended."""
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.01)


async def test_keeps_the_backend_contract(backend: LocalBackend, make_job: MakeJob) -> None:
    job = make_job(text="hello ", times=100_000)
    await contract.check_prepare(backend, job)
    checkpoint, finished, snapshots = await contract.run(backend, job)
    assert checkpoint is not None
    assert await contract.check_outputs(backend, job, checkpoint, finished) == [b"hello " * 100_000]
    await contract.check_watch_again(backend, job, checkpoint, finished)
    assert [s.stage for s in snapshots if s.stage] == ["loading", "thinking", "writing"]
    assert [s.preview for s in snapshots if s.preview] == [b"\xff\xd8\xff a picture"]
    assert finished.warnings == ("mind the gap",)
    assert finished.data is not None
    assert finished.data["seed"] == 7


async def test_a_child_is_reused(backend: LocalBackend, make_job: MakeJob) -> None:
    results = [(await contract.run(backend, make_job()))[1].data for _ in range(3)]
    assert len({data["pid"] for data in results if data}) == 1
    assert [data["jobs"] for data in results if data] == [1, 2, 3]


async def test_jobs_run_side_by_side_in_children_of_their_own(backend: LocalBackend, make_job: MakeJob) -> None:
    waiting = make_job(do="wait")
    checkpoint, _ = await started(backend, waiting)
    _, finished, _ = await contract.run(backend, make_job())
    assert finished.outputs
    assert await backend.cancel(waiting, checkpoint) == "stopped"


async def test_what_the_child_prints_does_no_harm(backend: LocalBackend, make_job: MakeJob) -> None:
    job = make_job(do="chatter", text="x")
    checkpoint, finished, _ = await contract.run(backend, job)
    assert await contract.check_outputs(backend, job, checkpoint, finished) == [b"x"]


async def test_the_child_gets_no_secrets_a_lower_priority_and_a_session(
    backend: LocalBackend, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    _, finished, _ = await contract.run(backend, make_job(do="environment"))
    assert finished.data is not None
    assert not {"OPENAI_API_KEY", "DATABASE_URL"} & set(finished.data["names"])
    assert {"PATH", "OMP_NUM_THREADS", "HF_HUB_OFFLINE"} <= set(finished.data["names"])
    assert finished.data["nice"] == os.nice(0) + 5
    assert finished.data["session"] != os.getsid(0)


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        ("crash", "engine_failed", "SIGSEGV"),
        ("leave", "engine_failed", "status 3"),
        ("bug", "engine_failed", "ValueError"),
        ("hog", "engine_failed", "more memory"),
        ("refuse", "input_unreadable", "no picture"),
    ],
)
async def test_failures_are_told(backend: LocalBackend, make_job: MakeJob, action: str, code: str, words: str) -> None:
    error = await failure(backend, make_job(do=action))
    assert error.code == code
    assert words in error.message
    assert "secret" not in error.message
    assert error.retryable == (code == "engine_failed")
    _, finished, _ = await contract.run(backend, make_job(text="fine"))  # the next job is served
    assert finished.outputs


async def test_a_slow_job_is_killed(make_job: MakeJob) -> None:
    backend = LocalBackend(SAMPLE, EngineLimits(job_s=1.0))
    error = await failure(backend, make_job(do="stubborn"))
    assert error.code == "timeout"
    await backend.close()


@pytest.mark.parametrize("action", ["wait", "interrupted", "stubborn"])
async def test_cancel_stops_the_job_for_sure(backend: LocalBackend, make_job: MakeJob, action: str) -> None:
    before = (await contract.run(backend, make_job()))[1].data
    assert before is not None
    job = make_job(do=action)
    checkpoint, watch = await started(backend, job)
    assert await backend.cancel(job, checkpoint) == "stopped"
    end = await anext(watch)
    assert isinstance(end.error, TaskError)
    after = (await contract.run(backend, make_job()))[1].data
    assert after is not None
    # One that obeys stays warm, one that doesn't is replaced.
    assert (after["pid"] == before["pid"]) == (action != "stubborn")


async def test_cancel_before_the_child_has_started(backend: LocalBackend, make_job: MakeJob) -> None:
    job = make_job(do="stubborn")
    checkpoint = await backend.submit(job, await backend.prepare(job))
    assert await backend.cancel(job, checkpoint) == "stopped"
    assert await backend.find(job, await backend.prepare(job)) == Absent.ABSENT


async def test_cancel_after_the_end(backend: LocalBackend, make_job: MakeJob) -> None:
    job = make_job()
    checkpoint, _, _ = await contract.run(backend, job)
    assert checkpoint is not None
    assert await backend.cancel(job, checkpoint) == "too_late"


async def test_a_job_of_another_process_is_not_found(backend: LocalBackend, make_job: MakeJob) -> None:
    with pytest.raises(TaskError) as caught:
        await contract.follow(backend, make_job(), Checkpoint("unknown"))
    assert caught.value.code == "engine_failed"
    assert caught.value.retryable


@pytest.mark.parametrize("action", ["name_a_path", "link_out"])
async def test_outputs_come_from_the_jobs_folder_only(backend: LocalBackend, make_job: MakeJob, action: str) -> None:
    job = make_job(do=action)
    (job.work_dir.parent / "secret.txt").write_text("secret")
    checkpoint, finished, _ = await contract.run(backend, job)
    with pytest.raises(TaskError):
        _ = [chunk async for chunk in backend.open(job, checkpoint, finished.outputs[0])]
    with pytest.raises(TaskError):
        _ = [chunk async for chunk in backend.open(job, checkpoint, RemoteOutput("x", {"path": "/etc/passwd"}))]


async def test_idle_children_end(make_job: MakeJob) -> None:
    backend = LocalBackend(SAMPLE, EngineLimits(idle_s=0.05))
    data = (await contract.run(backend, make_job()))[1].data
    assert data is not None
    await gone(data["pid"])
    again = (await contract.run(backend, make_job()))[1].data
    assert again is not None
    assert again["pid"] != data["pid"]
    await backend.close()


async def test_close_ends_running_jobs_and_children(backend: LocalBackend, make_job: MakeJob) -> None:
    warm = (await contract.run(backend, make_job()))[1].data
    job = make_job(do="stubborn")
    _, watch = await started(backend, job)
    await backend.close()
    assert warm is not None
    await gone(warm["pid"])
    assert (await anext(watch)).error is not None


PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from genpulse.core.models import Job
from genpulse.engines.local_backend import LocalBackend

async def main():
    backend = LocalBackend("tests.engines.samples:Sample")
    for do, token in (("write", "a"), ("stubborn", "b")):
        job = Job("t", "d", "s", "m", 1, 1, {"do": do}, token, Path(sys.argv[1]))
        async for snapshot in backend.watch(job, await backend.submit(job, await backend.prepare(job))):
            if snapshot.finished:
                print(snapshot.finished.data["pid"], flush=True)
            if snapshot.stage == "waiting":
                print("waiting", flush=True)

uvloop.run(main())
"""


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PARENT, tmp_path]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    with parent:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "waiting\n"
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    asyncio.run(gone(pid))


def test_works_on_uvloop(make_job: MakeJob) -> None:
    async def main() -> None:
        backend = LocalBackend(SAMPLE, EngineLimits(cancel_s=0.3))
        _, finished, _ = await contract.run(backend, make_job(text="x"))
        assert finished.outputs
        job = make_job(do="stubborn")
        checkpoint, _ = await started(backend, job)
        assert await backend.cancel(job, checkpoint) == "stopped"
        await backend.close()

    uvloop.run(main())
