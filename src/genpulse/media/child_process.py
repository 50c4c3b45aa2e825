"""Parent side of a helper process in Python that speaks JSON lines over its stdin and stdout; `child_link` is its side.

A child never outlives its parent: it ends at the end of its stdin, and on Linux the kernel kills it when the thread
that started it dies. It gets a session of its own, so that Ctrl-C reaches the parent only, and an environment without
the parent's secrets. A `ChildPool` keeps idle children warm for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Generic, TypeVar

_log = logging.getLogger(__name__)

_MAX_LINE = 1 << 20
_STOP_S = 2.0
_KEPT_VARIABLES = ("PATH", "HOME", "USER", "TMPDIR", "TZ", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
_KEPT_PREFIXES = ("LC_", "LD_", "DYLD_")

Message = dict[str, Any]


class ChildDiedError(Exception):
    """The child ended or broke the protocol; the message says how, in words for a user."""


class ChildProcess:
    """One running child. Not safe for concurrent use: one exchange at a time."""

    def __init__(self, process: asyncio.subprocess.Process, label: str) -> None:
        self.label = label
        self.busy = False
        """An exchange is under way, or was given up: its answer may still come, so the child can't be used again."""
        self._process = process
        self._last_words: deque[str] = deque(maxlen=30)
        self._stderr_task = asyncio.create_task(self._keep_stderr(), context=Context())  # it serves many

    @classmethod
    async def start(
        cls,
        module: str,
        *arguments: str,
        label: str,
        hello: Message,
        variables: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> ChildProcess:
        """Start `python -m module` and send it `hello`, with the parent's import path added."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working directory may hold anybody's numpy.py
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE,
            env=_environment() | dict(variables or {}),
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
        child = cls(process, label)
        try:
            await child.send({**hello, "path": [entry for entry in sys.path if entry]})
        except BaseException:
            child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Alive and waiting for the next exchange."""
        return not self.busy and self._process.returncode is None

    async def send(self, message: Message) -> None:
        """Raises:
        ChildDiedError: it is gone.
        """
        stdin = self._stdin
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            await stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise await self._died() from error

    async def receive(self) -> Message:
        """The next message.

        Raises:
            ChildDiedError: it ended, or sent something else than messages.
        """
        try:
            line = await self._stdout.readline()
            message = json.loads(line) if line.endswith(b"\n") else None
        except ValueError as error:  # not JSON, or a line over the limit
            self.kill()
            raise ChildDiedError("sent something that is no message") from error
        if message is None:
            raise await self._died()
        return message

    async def ask(self, message: Message, *, timeout_s: float) -> Message:
        """Send one message and wait for its answer; whoever is too late or breaks off loses the child.

        Raises:
            ChildDiedError, TimeoutError.
        """
        self.busy = True
        async with asyncio.timeout(timeout_s):
            await self.send(message)
            answer = await self.receive()
        self.busy = False
        return answer

    def kill(self) -> None:
        """End it at once; `stop` must still be awaited."""
        self.busy = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, grace_s: float = _STOP_S) -> None:
        """Let it end by itself, kill it after a grace period, and take its last bytes."""
        self.busy = True
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._stdin.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._drain()
        except TimeoutError:
            self.kill()
            await self._drain()

    async def _drain(self) -> None:
        """Until the end of the process. Its pipes must be read for that: a full one would keep it waiting."""
        while await self._stdout.read(_MAX_LINE):
            pass
        await self._process.wait()
        await self._stderr_task

    async def _died(self) -> ChildDiedError:
        """How it ended, once it has."""
        await self.stop()
        how = how_it_ended(self._process.returncode or 0)
        if self._last_words:
            _log.error("%s (process %d) %s:\n%s", self.label, self.pid, how, self.last_words)
        return ChildDiedError(how)

    @property
    def last_words(self) -> str:
        """The last lines that it and its libraries printed."""
        return "\n".join(self._last_words)

    async def _keep_stderr(self) -> None:
        """What it and its libraries print is kept for the case that it dies; it is shown at debug level."""
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - asked for as a pipe
        while chunk := await stream.read(1 << 14):
            for line in chunk.decode(errors="replace").splitlines():
                self._last_words.append(line[:500])
                _log.debug("%s: %s", self.label, line)

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None  # noqa: S101 - asked for as a pipe
        return self._process.stdin

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None  # noqa: S101 - asked for as a pipe
        return self._process.stdout


def how_it_ended(status: int) -> str:
    """The exit status of a process, in words; a negative one is a signal's number."""
    if status >= 0:
        return f"ended unexpectedly with status {status}"
    name = signal.Signals(-status).name
    reason = " (out of memory, or killed by hand)" if name == "SIGKILL" else ""
    return f"was killed by {name}{reason}"


def _environment() -> dict[str, str]:
    """What a program needs to run; no keys of providers, no database URL."""
    return {
        name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }


ChildT = TypeVar("ChildT", bound=ChildProcess)


class ChildPool(Generic[ChildT]):
    """As many children as are used at once; those not in use end after `idle_s` seconds."""

    def __init__(self, start: Callable[[], Awaitable[ChildT]], *, idle_s: float) -> None:
        self._start = start
        self._idle_s = idle_s
        self._idle: list[ChildT] = []
        self._timers: dict[ChildT, asyncio.TimerHandle] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def lease(self) -> AsyncGenerator[ChildT]:
        """A child of one's own: a warm one, else a new one. One that is left busy is killed and replaced."""
        child = self._take() or await self._start()
        try:
            yield child
        finally:
            if child.usable and not self._closed:
                self._idle.append(child)
                loop = asyncio.get_running_loop()
                self._timers[child] = loop.call_later(self._idle_s, self._expire, child)
            else:
                if child.busy:
                    child.kill()
                self._retire(child)

    def _take(self) -> ChildT | None:
        while self._idle:
            child = self._idle.pop()  # the warmest one
            self._timers.pop(child).cancel()
            if child.usable:
                return child
            self._retire(child)
        return None

    def _expire(self, child: ChildT) -> None:
        self._idle.remove(child)
        self._timers.pop(child).cancel()
        self._retire(child)

    def _retire(self, child: ChildT) -> None:
        task = asyncio.get_running_loop().create_task(child.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def close(self) -> None:
        """End all idle children; those in use end when they are given back."""
        self._closed = True
        while self._idle:
            self._expire(self._idle[-1])
        await asyncio.gather(*self._stopping)
