"""The lock on the data directory: one GenPulse at a time, the servers it started included.

The lock belongs to an open file that the embedded servers inherit, so it is free only when all of them are gone too:
holding it proves that the former owner and its servers are dead. Refuses to wait long for a living owner.

While it is held, `data_dir/run.json` tells other processes of this machine (`start-worker`, the CLI) what runs here.
Without the lock that file is a leftover of a crash, and counts for nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LOCK_NAME = ".lock"
_RUN_NAME = "run.json"
_RETRY_S = 0.05


class DataLockError(Exception):
    """Another process holds the data directory; the message says which one and what to do."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What a running GenPulse offers; a URL is None when there is no such part."""

    pid: int
    redis_url: str | None = None
    gateway_url: str | None = None


class DataLock:
    """Hold it for as long as anything in the data directory is used. `fd` is for servers to inherit."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._fd: int | None = None
        self._info = RunningServer(pid=os.getpid())

    @property
    def fd(self) -> int:
        if self._fd is None:
            raise RuntimeError("the data directory is not locked")
        return self._fd

    async def acquire(self, timeout_s: float = 5.0) -> None:
        """Lock the data directory, which is made when it doesn't exist.

        Raises:
            DataLockError: it was still in use after `timeout_s`. (A server whose parent was killed needs a moment.)
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.data_dir / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await self._flock(fd, timeout_s)
        except BaseException:
            os.close(fd)
            raise
        owner = {"pid": os.getpid(), "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])}
        os.truncate(fd, 0)
        os.pwrite(fd, json.dumps(owner).encode(), 0)
        self._fd = fd
        self._info = RunningServer(pid=os.getpid())
        (self.data_dir / _RUN_NAME).unlink(missing_ok=True)

    async def _flock(self, fd: int, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if loop.time() >= end:
                    raise DataLockError(self._in_use(fd)) from None
            else:
                return
            await asyncio.sleep(_RETRY_S)

    def _in_use(self, fd: int) -> str:
        try:
            owner = json.loads(os.pread(fd, 4096, 0))
            pid, command = int(owner["pid"]), str(owner["command"])
        except (ValueError, KeyError, TypeError):
            return f"{self.data_dir} is in use by another process. Stop it, or set another GENPULSE_DATA_DIR."
        if not _is_alive(pid):
            return (
                f"{self.data_dir}: process {pid} ({command}) is gone, but a server that it started is still stopping. "
                "Try again in a few seconds."
            )
        return (
            f"{self.data_dir} is in use by process {pid} ({command}). Stop that one, or set another GENPULSE_DATA_DIR, "
            "or run `start-worker` to add a worker to it."
        )

    def announce(self, *, redis_url: str | None = None, gateway_url: str | None = None) -> None:
        """Tell other processes in `run.json` where the queue or the gateway is; what was told before stays."""
        self._info = dataclasses.replace(
            self._info,
            redis_url=redis_url or self._info.redis_url,
            gateway_url=gateway_url or self._info.gateway_url,
        )
        fd, draft = tempfile.mkstemp(prefix=f"{_RUN_NAME}.", dir=self.data_dir)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self._info), file)
        Path(draft).replace(self.data_dir / _RUN_NAME)

    def release(self) -> None:
        """Free the data directory, once all servers that inherited the lock have ended."""
        if self._fd is None:
            return
        (self.data_dir / _RUN_NAME).unlink(missing_ok=True)
        os.close(self._fd)  # LOCK_UN would take the lock from the servers too
        self._fd = None

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()


def running_server(data_dir: Path) -> RunningServer | None:
    """The GenPulse that holds this data directory now, or None."""
    try:
        found = json.loads((data_dir / _RUN_NAME).read_text(encoding="utf-8"))
        server = RunningServer(found["pid"], found["redis_url"], found["gateway_url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return server if _is_locked(data_dir) else None


def _is_locked(data_dir: Path) -> bool:
    try:
        fd = os.open(data_dir / _LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, so that askers don't take each other for the holder; who wants to hold it tries again.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
