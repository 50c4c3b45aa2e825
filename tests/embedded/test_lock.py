"""The lock on the data directory and what it tells other processes."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genpulse.embedded import DataLock, DataLockError, RunningServer, running_server

HOLDER = """
import asyncio, os, sys
from pathlib import Path
from genpulse.embedded import DataLock
async def main():
    lock = DataLock(Path(sys.argv[1]))
    await lock.acquire()
    lock.announce(redis_url="unix:///a", gateway_url="http://127.0.0.1:8000")
    print("held", flush=True)
    sys.stdin.read()
    lock.release()
asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), "start-all"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


async def test_a_second_owner_is_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DataLockError) as failure:
        await DataLock(tmp_path).acquire(timeout_s=0.1)
    message = str(failure.value)
    assert f"process {holder.pid} " in message
    assert "start-all" in message
    assert "start-worker" in message
    assert "GENPULSE_DATA_DIR" in message


async def test_waits_for_an_owner_that_stops(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    waiting = asyncio.create_task(DataLock(tmp_path).acquire(timeout_s=5))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert holder.stdin is not None
    holder.stdin.close()
    await asyncio.wait_for(waiting, 5)


async def test_a_killed_owner_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert running_server(tmp_path) == RunningServer(holder.pid, "unix:///a", "http://127.0.0.1:8000")
    holder.kill()
    holder.wait()
    assert (tmp_path / "run.json").exists()
    assert running_server(tmp_path) is None, "a leftover counts for nothing"
    async with DataLock(tmp_path):
        assert not (tmp_path / "run.json").exists()


async def test_within_one_process_it_is_exclusive_too(tmp_path: Path) -> None:
    async with DataLock(tmp_path / "new"):
        with pytest.raises(DataLockError):
            await DataLock(tmp_path / "new").acquire(timeout_s=0)
    async with DataLock(tmp_path / "new"):
        pass


async def test_a_child_that_inherited_it_keeps_it(tmp_path: Path) -> None:
    """As the embedded servers do: two of them can never open the same files."""
    lock = DataLock(tmp_path)
    await lock.acquire()
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock.fd,))
    lock.release()
    with pytest.raises(DataLockError):
        await DataLock(tmp_path).acquire(timeout_s=0.1)
    child.kill()
    child.wait()
    async with DataLock(tmp_path):
        pass


async def test_a_dead_owner_with_a_living_server_is_explained(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    lock = DataLock(tmp_path)
    await lock.acquire()
    (tmp_path / ".lock").write_text(json.dumps({"pid": holder.pid, "command": "genpulse start-all"}))
    with pytest.raises(DataLockError, match="still stopping"):
        await DataLock(tmp_path).acquire(timeout_s=0)
    lock.release()


async def test_the_message_survives_an_empty_lock_file(tmp_path: Path) -> None:
    async with DataLock(tmp_path):
        os.truncate(tmp_path / ".lock", 0)
        with pytest.raises(DataLockError, match="another process"):
            await DataLock(tmp_path).acquire(timeout_s=0)


async def test_announcements_add_up_and_end_with_the_lock(tmp_path: Path) -> None:
    async with DataLock(tmp_path) as lock:
        assert running_server(tmp_path) is None
        lock.announce(redis_url="unix:///a")
        lock.announce(gateway_url="http://127.0.0.1:8000")
        assert running_server(tmp_path) == RunningServer(os.getpid(), "unix:///a", "http://127.0.0.1:8000")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "run.json"]
    assert running_server(tmp_path) is None
    assert not (tmp_path / "run.json").exists()


def test_no_directory_means_nothing_runs(tmp_path: Path) -> None:
    assert running_server(tmp_path / "nowhere") is None


async def test_askers_do_not_take_each_other_for_the_owner(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        assert await asyncio.gather(*(asyncio.to_thread(running_server, tmp_path) for _ in range(8))) == [None] * 8
