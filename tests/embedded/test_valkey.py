"""The embedded Valkey: restarted when it dies, gone with its parent, not stopped by damaged files."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from genpulse.embedded import DataLock, DataLockError, EmbeddedError, EmbeddedValkey, running_server, valkey
from genpulse.embedded.run_dir import make_run_dir
from genpulse.mq import RedisManager

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux' kernel guards")
GUARDS = [pytest.param(True, id="kernel", marks=linux_only), pytest.param(False, id="watch")]


@pytest.fixture
def short_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gpe-") as folder:
        yield Path(folder)


@pytest.fixture
async def lock(tmp_path: Path) -> AsyncIterator[DataLock]:
    async with DataLock(tmp_path / "data") as held:
        yield held


def embedded(lock: DataLock, run_dir: Path, **options: bool) -> EmbeddedValkey:
    return EmbeddedValkey(lock.data_dir, lock, run_dir=run_dir, **options)


async def answer(url: str, *, within: float = 5) -> None:
    queue = RedisManager(url)
    async with asyncio.timeout(within):
        while True:
            try:
                assert await queue.ping()
                break
            except Exception:  # noqa: BLE001 - whatever it says, it isn't up yet
                await asyncio.sleep(0.02)
    await queue.close()


def servers_of(data_dir: Path) -> list[psutil.Process]:
    """Living server processes on this data directory."""
    return [
        process
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["cwd"] == str(data_dir / "valkey") and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


async def until_none(data_dir: Path, *, within: float = 8) -> None:
    async with asyncio.timeout(within):
        while servers_of(data_dir):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("guard", GUARDS)
async def test_starts_keeps_data_and_leaves_nothing_behind(lock: DataLock, short_dir: Path, guard: bool) -> None:
    for start in range(2):
        async with embedded(lock, short_dir, use_kernel_guard=guard) as server:
            queue = RedisManager(server.url)
            assert (await queue.check_server()).startswith(("Valkey", "Redis"))
            assert (await queue.generation() is None) == (start == 0)
            await queue.mark_generation()
            await queue.close()
            running = running_server(lock.data_dir)
            assert running is not None
            assert running.redis_url == server.url
        assert list(short_dir.iterdir()) == []
        assert servers_of(lock.data_dir) == []
    assert b"Ready to accept connections" in (lock.data_dir / "logs" / "valkey.log").read_bytes()


@pytest.mark.parametrize("guard", GUARDS)
async def test_a_killed_server_comes_back_with_its_data(lock: DataLock, short_dir: Path, guard: bool) -> None:
    async with embedded(lock, short_dir, use_kernel_guard=guard) as server:
        queue = RedisManager(server.url)
        await queue.mark_generation()
        mark = await queue.generation()
        await queue.close()
        for _ in range(2):
            [process] = servers_of(lock.data_dir)
            process.kill()
            process.wait()
            await answer(server.url)
        queue = RedisManager(server.url)
        assert await queue.generation() == mark
        await queue.close()


async def test_a_guard_killed_at_the_end_leaves_no_server(lock: DataLock, short_dir: Path) -> None:
    async with embedded(lock, short_dir, use_kernel_guard=False) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
    await until_none(lock.data_dir)


async def test_a_killed_guard_leaves_no_second_server(lock: DataLock, short_dir: Path) -> None:
    async with embedded(lock, short_dir, use_kernel_guard=False) as server:
        [before] = servers_of(lock.data_dir)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(before.wait, 5)
        await answer(server.url)
        assert len(servers_of(lock.data_dir)) == 1


PARENT = """
import asyncio, sys, time
from pathlib import Path
from genpulse.embedded import DataLock, EmbeddedValkey
async def main():
    data, run_dir, loop, guard = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "kernel"
    async with DataLock(data) as lock, EmbeddedValkey(data, lock, run_dir=run_dir, use_kernel_guard=guard) as valkey:
        print(valkey.url, flush=True)
        await asyncio.sleep(600)
if sys.argv[3] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("guard", [pytest.param("kernel", marks=linux_only), "watch"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_killed_parent_leaves_no_server(tmp_path: Path, short_dir: Path, loop: str, guard: str) -> None:
    data_dir = tmp_path / "data"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir), str(short_dir), loop, guard], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent:
        url = (await asyncio.to_thread(parent.stdout.readline)).strip()
        await answer(url)
        with pytest.raises(DataLockError):
            await DataLock(data_dir).acquire(timeout_s=0)
        parent.kill()
    begin = time.monotonic()
    async with DataLock(data_dir) as lock:  # free only when the server is gone
        assert time.monotonic() - begin < 4
        await until_none(data_dir)
        async with embedded(lock, short_dir) as server:  # over the leftovers
            await answer(server.url)
    assert list(short_dir.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("incr", id="broken log"),
        pytest.param("base", id="broken snapshot"),
        pytest.param("manifest", id="broken manifest"),
        pytest.param("missing", id="missing snapshot"),
    ],
)
async def test_damaged_files_are_set_aside(lock: DataLock, short_dir: Path, damage: str) -> None:
    async with embedded(lock, short_dir) as server:
        queue = RedisManager(server.url)
        for n in range(50):
            await queue.publish(("warm", {"n": n}))
            await queue.set_progress(str(n), {"progress": 1.0}, {})
        await queue.mark_generation()
        await queue.close()
    files = lock.data_dir / "valkey" / "appendonlydir"
    if damage == "manifest":
        next(files.glob("*.manifest")).write_text("nonsense\n")
    elif damage == "missing":
        next(files.glob("*.base.*")).unlink()
    else:
        path = next(files.glob(f"*.{damage}.*"))
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40] = b"\xff" * len(content[middle : middle + 40])
        path.write_bytes(content)
    async with embedded(lock, short_dir) as server:
        queue = RedisManager(server.url)
        assert await queue.generation() is None, "it starts empty, and says so"
        await queue.mark_generation()
        await queue.close()
    [aside] = (lock.data_dir / "valkey").glob("*.damaged-*")
    assert any(aside.iterdir()), "nothing is deleted"


async def test_a_torn_end_of_the_log_is_mended_in_place(lock: DataLock, short_dir: Path) -> None:
    """What a power cut leaves: Valkey cuts the torn command off and keeps the rest."""
    async with embedded(lock, short_dir) as server:
        queue = RedisManager(server.url)
        await queue.mark_generation()
        await queue.set_progress("1", {"progress": 1.0}, {})
        await queue.close()
    [log] = (lock.data_dir / "valkey" / "appendonlydir").glob("*.incr.*")
    os.truncate(log, log.stat().st_size - 5)
    async with embedded(lock, short_dir) as server:
        queue = RedisManager(server.url)
        assert await queue.generation() is not None
        await queue.close()


async def test_a_server_that_can_not_start_says_why(lock: DataLock, short_dir: Path) -> None:
    (lock.data_dir / "valkey").mkdir()
    (lock.data_dir / "valkey" / "appendonlydir").write_text("in the way")
    with pytest.raises(EmbeddedError, match=r"it said:\n[\s\S]*appendonlydir: Not a directory"):
        async with embedded(lock, short_dir):
            pass
    assert servers_of(lock.data_dir) == []


async def test_no_server_program_names_the_way_out(
    lock: DataLock, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpulse.embedded.binary.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(short_dir))
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        async with embedded(lock, short_dir):
            pass


async def test_a_program_on_path_is_used_without_the_wheel(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = short_dir / "redis-server"
    program.touch(mode=0o755)
    monkeypatch.setattr("genpulse.embedded.binary.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(short_dir))
    assert valkey.find_server() == program


async def test_a_large_log_is_put_by(lock: DataLock, short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "_LOG_BYTES", 100)
    for _ in range(3):
        async with embedded(lock, short_dir):
            pass
    assert sorted(path.name for path in (lock.data_dir / "logs").iterdir()) == ["valkey.log", "valkey.log.1"]


def test_the_run_dir_is_short_private_and_stable(tmp_path: Path, short_dir: Path) -> None:
    folder = make_run_dir(tmp_path, short_dir)
    assert folder == make_run_dir(tmp_path, short_dir)
    assert folder != make_run_dir(tmp_path / "other", short_dir)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert make_run_dir(tmp_path, short_dir).stat().st_mode & 0o777 == 0o700
    default = make_run_dir(tmp_path, None)
    assert len(str(default / "valkey.sock")) < 100
    default.rmdir()


def test_a_run_dir_that_is_too_long_or_somebody_elses_is_refused(tmp_path: Path, short_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match="GENPULSE_RUN_DIR"):
        make_run_dir(tmp_path, short_dir / ("x" * 80))
    folder = make_run_dir(tmp_path, short_dir)
    folder.rmdir()
    folder.symlink_to(short_dir)
    with pytest.raises(EmbeddedError, match="belongs to somebody else"):
        make_run_dir(tmp_path, short_dir)
