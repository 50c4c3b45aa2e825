"""Real servers for tests, as a pytest plugin (`pytest_plugins = ["tests.servers"]`).

`redis_url` is an empty Valkey for one test; `own_valkey` is one that the test may stop, freeze and start again.
`GENPULSE_TEST_REDIS_SERVER` names another server program, a Redis 6.2 say.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from genpulse.embedded.binary import find_server
from genpulse.mq import RedisManager


class ValkeyServer:
    """A Valkey (or Redis) on a Unix socket in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpv-"))  # short: a socket's path has 107 bytes at most
        self._socket = self.folder / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self, *options: str) -> None:
        program = os.environ.get("GENPULSE_TEST_REDIS_SERVER") or str(find_server())
        self._process = subprocess.Popen(
            [
                *(program, "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self.folder)),
                *("--appendonly", "yes", "--save", ""),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 10
        while self.command("PING") != b"+PONG\r\n":
            assert time.monotonic() < end, "the server does not answer"
            assert self._process.poll() is None, "the server ended"
            time.sleep(0.01)

    def command(self, *words: str) -> bytes:
        """The raw answer to one command on a fresh connection; empty when it can't be reached."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._socket))
            except OSError:
                return b""
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing: a network that swallows everything."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        self._wait()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start("--appendonly", "no")
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """REDIS_URL of an empty server."""
    valkey_server.command("FLUSHALL")
    return valkey_server.url


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A running server that the test may break."""
    server = ValkeyServer()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture
async def redis_manager(redis_url: str) -> AsyncIterator[RedisManager]:
    """The queue on an empty server."""
    manager = RedisManager(redis_url)
    yield manager
    await manager.close()
