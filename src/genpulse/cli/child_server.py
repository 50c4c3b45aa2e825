"""A whole GenPulse as a child process with a temporary data directory, which must leave nothing behind.

It sees no settings of its parent: neither the environment's nor a `.env`, so it can't touch real data.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from genpulse.cli.connect import running_gateway
from genpulse.cli.failure import CommandError
from genpulse.cli.processes import descendants, running

_START_S = 60.0
_STOP_S = 40.0
_LOG_LINES = 15
_OURS = ("GENPULSE_", "REDIS_URL", "DATABASE_URL")


class ChildServer:
    """Started by `start`, ended by `stop`; as a context manager it is stopped in any case."""

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="genpulse-")
        self.data_dir = Path(self._folder.name) / "data"
        self._log = Path(self._folder.name) / "server.log"
        self._options = options
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment |= environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ChildServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> str:
        """Start the server and wait until it has told its URL.

        Raises:
            CommandError: it ended or stayed silent; with the tail of its log.
        """
        arguments = ["start-all", "--port", "0", "--data-dir", str(self.data_dir), *self._options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
                [sys.executable, "-m", "genpulse.cli", *arguments],
                cwd=self._folder.name,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which then stops the child in order
            )
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if (url := running_gateway(self.data_dir)) is not None:
                return url
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise self._broken(f"The server ended with code {self._process.wait(timeout=0.05)}")
        raise self._broken(f"The server wasn't ready after {_START_S:.0f} s")

    def stop(self) -> list[str]:
        """Stop the server and say what it left behind: nothing, if all is well."""
        process, self._process = self._process, None
        if process is None:
            return []
        family = [process.pid, *descendants(process.pid)]
        left: list[str] = []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            left.append(f"the server didn't stop within {_STOP_S:.0f} s")
        left += [f"process {pid}" for pid in _still_alive(family)]
        left += ["the lock of its data directory"] if _is_locked(self.data_dir / ".lock") else []
        for pid in _still_alive(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        return left

    def log_tail(self) -> str:
        """The last lines that the server wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _broken(self, message: str) -> CommandError:
        return CommandError(
            f"{message}.",
            "Run `genpulse doctor`: it tests each part and says what to do.",
            code="server_failed",
            excerpt=self.log_tail(),
        )


def _still_alive(pids: list[int]) -> list[int]:
    """Those that still run; they get a moment, since a child notices its parent's end a little later."""
    end = time.monotonic() + 3
    while (alive := sorted(running().keys() & set(pids))) and time.monotonic() < end:
        time.sleep(0.02)
    return alive


def _is_locked(path: Path) -> bool:
    """The servers that the child started inherit its lock, so this tells of all of them."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
