"""An embedded Valkey: a child process on a Unix socket that is restarted when it dies and that dies with this process.

Promises that no server outlives this process, that a second one never opens the same files (it inherits the data
directory's lock), and that damaged files are set aside and not fatal: the queue holds hints only, which are rebuilt.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from genpulse.embedded.binary import find_server
from genpulse.embedded.errors import EmbeddedError
from genpulse.embedded.lock import DataLock
from genpulse.embedded.run_dir import make_run_dir, remove_run_dir

_START_S = 30.0
"""Without an answer for so long it hasn't started; time that it spends loading its files doesn't count."""
_STOP_S = 5.0
_BACKOFF_S = (0.1, 5.0)
_STEADY_S = 60.0
_LOG_BYTES = 5_000_000
_TAIL_BYTES = 2000
_AOF_NAMES = ("appendonlydir", "appendonly.aof")
"""Where append-only files are: since Redis 7 and before."""
# What Valkey 9.1 says when it can't read its own files, tried out on each of them.
_DAMAGED = re.compile(rb"append only file|AOF manifest|AOF MANIFEST|obtain the AOF file|RDB reading|loading DB")
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
_log = logging.getLogger(__name__)


class EmbeddedValkey:
    """`async with EmbeddedValkey(data_dir, lock) as valkey: … valkey.url`. The lock's `run.json` shows the URL too."""

    def __init__(
        self, data_dir: Path, lock: DataLock, *, run_dir: Path | None = None, use_kernel_guard: bool | None = None
    ) -> None:
        """`lock` must be held.

        Args:
            run_dir: folder for the socket's folder; absent, the temporary directory.
            use_kernel_guard: see `guard.py`; absent, the better one for this system.
        """
        self._data_dir = data_dir.absolute()
        self._configured_run_dir = run_dir
        self._lock = lock
        if use_kernel_guard is None:
            # The kernel watches the forking thread; only the main thread surely lives as long as the process.
            use_kernel_guard = sys.platform == "linux" and threading.current_thread() is threading.main_thread()
        self._kernel_guard = use_kernel_guard
        self._dir = self._data_dir / "valkey"
        self._log_path = self._data_dir / "logs" / "valkey.log"
        self._run_dir: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For `RedisManager`."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """Of the server (of its guard where there is one), or None while it is down."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def _socket(self) -> Path:
        if self._run_dir is None:
            raise RuntimeError("the embedded Valkey is not started")
        return self._run_dir / "valkey.sock"

    async def __aenter__(self) -> Self:
        self._run_dir = make_run_dir(self._data_dir, self._configured_run_dir)
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._log_path.exists() and self._log_path.stat().st_size > _LOG_BYTES:
            self._log_path.replace(self._log_path.with_suffix(".log.1"))
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="valkey")
        self._lock.announce(redis_url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        await self._stop()

    async def _supervise(self) -> None:
        """Restart the server whenever it ends."""
        loop = asyncio.get_running_loop()
        backoff = _BACKOFF_S[0]
        while True:
            if self._process is not None:
                started = loop.time()
                status = await self._process.wait()
                self._kill_what_its_guard_left(self._process.pid)
                _log.warning("the embedded Valkey ended (%s); starting it again", _describe(status))
                if loop.time() - started > _STEADY_S:
                    backoff = _BACKOFF_S[0]
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_S[1])
            try:
                await self._start()
            except (EmbeddedError, OSError):
                _log.exception("the embedded Valkey does not start; trying again")
                await self._kill()

    async def _start(self) -> None:
        """Start it; if its files are damaged, set them aside and start it empty.

        Raises:
            EmbeddedError: it doesn't start.
        """
        for last_try in (False, True):
            begin = self._log_path.stat().st_size if self._log_path.exists() else 0
            status = await self._try_start()
            if status is None:
                return
            said = self._read_log(begin)
            damaged = status in _CRASHES or _DAMAGED.search(said) is not None
            if last_try or not damaged or not self._set_aside():
                tail = said[-_TAIL_BYTES:].decode(errors="replace").strip()
                raise EmbeddedError(f"The embedded Valkey ended at its start ({_describe(status)}); it said:\n{tail}")

    async def _try_start(self) -> int | None:
        """None when it answers, or its exit status.

        Raises:
            EmbeddedError: it neither answers nor ends.
        """
        self._socket.unlink(missing_ok=True)
        self._process = process = await self._spawn()
        ended = asyncio.create_task(process.wait())
        loop = asyncio.get_running_loop()
        patience = loop.time() + _START_S
        try:
            while not ended.done():
                answer = await _ping(self._socket)
                if answer.startswith(b"+PONG"):
                    return None
                if answer.startswith(b"-LOADING"):
                    patience = loop.time() + _START_S
                if loop.time() > patience:
                    raise EmbeddedError(f"The embedded Valkey does not answer; see {self._log_path}.")
                await asyncio.wait({ended}, timeout=0.01)
            return ended.result()
        finally:
            ended.cancel()

    async def _spawn(self) -> asyncio.subprocess.Process:
        mode = ["exec", str(os.getpid())] if self._kernel_guard else ["watch"]
        with self._open_log() as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), *mode),
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL if self._kernel_guard else asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal must not stop it before its clients have drained
                pass_fds=(self._lock.fd,),
            )

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "databases": "1",
            "daemonize": "no",
        }
        return [str(find_server()), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _open_log(self) -> BinaryIO:
        return self._log_path.open("ab")

    def _read_log(self, begin: int) -> bytes:
        with self._log_path.open("rb") as log:
            log.seek(begin)
            return log.read()

    def _set_aside(self) -> bool:
        """Rename damaged files, so that nothing is ever deleted; False when there are none."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        moved = False
        for path in (self._dir / name for name in _AOF_NAMES):
            if path.exists():
                target = self._dir / f"{path.name}.damaged-{stamp}"
                shutil.move(path, target)
                _log.error("the queue's files were damaged; they are now in %s, and the queue is rebuilt", target)
                moved = True
        return moved

    async def _stop(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                _log.warning("the embedded Valkey did not stop in %s s; killing it", _STOP_S)
                await self._kill()
        if process is not None:
            self._kill_what_its_guard_left(process.pid)
        self._process = None
        if self._run_dir is not None:
            self._socket.unlink(missing_ok=True)
            remove_run_dir(self._run_dir)

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads its session, alone or as the guard of the server
            await self._process.wait()
        self._process = None

    def _kill_what_its_guard_left(self, guard: int) -> None:
        """A guard that was killed itself leaves its server behind, in its process group."""
        if not self._kernel_guard:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard, signal.SIGKILL)


async def _ping(socket: Path) -> bytes:
    """The server's answer to a ping; empty when it doesn't listen yet."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return b""
    try:
        async with asyncio.timeout(1):
            writer.write(b"PING\r\n")
            return await reader.readline()
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.close()


def _describe(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
