"""Starts the real thing for a figure: servers as child processes, in a temporary folder, ready when they say so.

A `System` is GenPulse's processes on one database with its queue: SQLite with the embedded Valkey, or PostgreSQL and
Valkey as servers of their own. Both are as durable as in production (the tests' PostgreSQL is not). Everything that was
started is stopped by its process id.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from genpulse.embedded import running_server
from genpulse.store.database import Database, Unit
from tests.postgres import Postgres
from tests.servers import ValkeyServer

ROOT = Path(__file__).parents[1]
PLUGIN = Path(__file__).with_name("plugin.py")
SQLITE, POSTGRESQL = "SQLite + embedded Valkey", "PostgreSQL + Valkey"
DATABASES = (SQLITE, POSTGRESQL)
T = TypeVar("T")
Json = dict[str, Any]
Groups = dict[str, list[psutil.Process]]
"""Processes by what they are."""


class Process:
    """A child process whose log is kept, and which is ready when its log says so."""

    def __init__(self, command: list[str], ready: str, folder: Path, **environment: str) -> None:
        self._ready = ready
        self._seen = threading.Event()
        self._started = False
        self.log: list[str] = []
        self.popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        with self.popen.stderr as lines:
            for line in lines:
                self.log.append(line)
                if self._ready in line:
                    self._started = True
                    self._seen.set()
        self._seen.set()

    def wait_ready(self, within_s: float = 60) -> None:
        if not self._seen.wait(within_s) or not self._started:
            self.stop()
            raise RuntimeError(f"{self.popen.args} did not start:\n{''.join(self.log[-20:])}")

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(40)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(10)
        self._reader.join(10)


class Client:
    """One kept-alive connection, for requests one after the other."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=90)

    def ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Json]:
        content = None if body is None else json.dumps(body).encode()
        self._http.request(method, path, content, {"Content-Type": "application/json"} | headers)
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())

    def submit(self, task_type: str, params: Json | None = None, **fields: Any) -> Json:
        status, task = self.ask("POST", "/task", {"task_type": task_type, "params": params or {}, **fields})
        if status != 202:
            raise RuntimeError(f"POST /task answered {status}: {task}")
        return task

    def end(self, task: Json) -> Json:
        """The task when it has completed."""
        _, ended = self.ask("GET", f"/task/{task['task_id']}?wait=60")
        if ended["status"] != "completed":
            raise RuntimeError(f"a task did not complete: {ended}")
        return ended

    def close(self) -> None:
        self._http.close()


class System:
    """GenPulse on one database, empty at first. Its processes may be stopped and started again."""

    def __init__(self, database: str, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url: str | None = None
        self._embedded = database == SQLITE
        self._environment = {"GENPULSE_PLUGINS": str(PLUGIN), "GENPULSE_LOG_FORMAT": "text", **environment}
        self._stack = contextlib.ExitStack()
        self._redis_url: str | None = None
        self._servers: list[psutil.Process] = []

    def __enter__(self) -> Self:
        if not self._embedded:
            before = psutil.Process().children()
            self._start_servers()
            self._servers = [child for child in psutil.Process().children() if child not in before]
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def _start_servers(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gp-pg-"))  # short: a socket's path has 107 bytes at most
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = Postgres(folder, durable=True)
        postgres.start()
        self._stack.callback(postgres.stop)
        asyncio.run(postgres.admin("CREATE DATABASE bench"))
        valkey = ValkeyServer()
        self._stack.callback(shutil.rmtree, valkey.folder, ignore_errors=True)
        valkey.start()
        self._stack.callback(valkey.stop)
        self.database_url, self._redis_url = postgres.url("bench"), valkey.url
        self._environment |= {"DATABASE_URL": self.database_url, "REDIS_URL": self._redis_url}

    def spawn(self, command: str, **environment: str) -> Process:
        """Start `start-all`, `start-api` or `start-worker`, without waiting for it."""
        words = [sys.executable, str(ROOT / "manager.py"), command, "--data-dir", str(self.data_dir)]
        if command != "start-worker":
            words += ["--port", str(self.port)]
        ready = "runs pools" if command == "start-worker" else "serves http://"
        return Process(words, ready, self.folder, **(self._environment | environment))

    @contextlib.contextmanager
    def running(self, command: str, **environment: str) -> Iterator[Process]:
        """A process for the length of a block. It has answered a request, or registered as a worker."""
        process = self.spawn(command, **environment)
        try:
            process.wait_ready()
            self._await_answer(worker=command != "start-api")
            yield process
        finally:
            process.stop()

    def _await_answer(self, *, worker: bool) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(ConnectionError), self.client() as client:
                _, status = client.ask("GET", "/status")
                if not worker or status["components"]["workers"].get("count"):
                    return
            time.sleep(0.01)
        raise RuntimeError("the system does not get ready")

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.port)
        try:
            yield client
        finally:
            client.close()

    def valkey(self, *words: str) -> bytes:
        """The raw answer of the queue's server to one command."""
        server = running_server(self.data_dir) if self._embedded else None
        url = server.redis_url if server is not None else self._redis_url
        assert url is not None, "the queue's server is not running"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(url.removeprefix("unix://"))
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)

    def sql(self, unit: Unit[T]) -> T:
        """Run a unit on the database directly, in a transaction."""

        async def run() -> T:
            async with self._database() as database:
                return await database.write(unit)

        return asyncio.run(run())

    def until_sql(self, unit: Unit[T | None], within_s: float) -> T:
        """Look into the database until a unit answers something else than None."""

        async def look() -> T:
            async with self._database() as database, asyncio.timeout(within_s):
                while (found := await database.read(unit)) is None:
                    await asyncio.sleep(0.05)
                return found

        return asyncio.run(look())

    @contextlib.asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        database = Database.open(self.database_url, self.data_dir)
        try:
            yield database
        finally:
            await database.close()

    def servers(self, process: Process) -> Groups:
        """All of its processes that serve now, by what they are."""
        main = psutil.Process(process.popen.pid)
        groups: Groups = {"genpulse": [main], "valkey": []}
        if not self._embedded:
            groups["postgres"] = []
        for server in (main, *self._servers):
            for found in (server, *server.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    kind = next((kind for kind in groups if kind in found.name()), None)
                    if kind is not None and found != main:
                        groups[kind].append(found)
        return groups


@contextlib.contextmanager
def system(database: str, **environment: str) -> Iterator[System]:
    """A system in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="gpb-") as folder, System(database, Path(folder), **environment) as made:
        yield made


class CpuMeter:
    """CPU seconds that groups of processes use from here on. Which ones they are is asked again at each look:
    PostgreSQL's come and go.
    """

    def __init__(self, groups: Callable[[], Groups]) -> None:
        self._groups = groups
        self._before = self._read()
        self._at = time.monotonic()

    def _read(self) -> dict[str, float]:
        return {name: sum(_cpu_s(process) for process in group) for name, group in self._groups().items()}

    def used(self) -> dict[str, float]:
        now = self._read()
        return {name: now[name] - self._before[name] for name in now}

    def share(self) -> float:
        """Of one core, all groups together, since the meter was made."""
        return sum(self.used().values()) / (time.monotonic() - self._at)


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # A child that ended and was waited for has left its time here.
    return times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
