"""Whole systems for the probes: processes started as a user starts them, a Valkey and a database, and their end.

Whatever happens, leaving `Bench` or `Bench.system` kills every process it started, by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from bench.queue_matrix.marks import Marks, until
from bench.queue_matrix.probe import ProbeError
from genpulse.cli.processes import descendants, running
from tests.postgres import Postgres, fresh_database
from tests.servers import ValkeyServer

ROOT = Path(__file__).parents[2]
_PLUGIN = Path(__file__).with_name("plugin.py")
_START_S = 30


class Server:
    """One process of GenPulse."""

    def __init__(self, command: str, data_dir: Path, log: Path, environment: dict[str, str], *options: str) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manager.py"), command, "--data-dir", str(data_dir), *options],
                env=environment,
                cwd=data_dir.parent,  # a .env of the working directory would be read
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self, pattern: str, within_s: float = _START_S) -> re.Match[str]:
        """Wait for a line in its log.

        Raises:
            ProbeError: it isn't there in time, or the process ended before.
        """
        end = time.monotonic() + within_s
        while True:
            alive = self.alive
            text = self.log.read_text(errors="replace")
            if found := re.search(pattern, text):
                return found
            if not alive or time.monotonic() > end:
                raise ProbeError(f"no {pattern!r} in the log:\n{text[-2000:]}")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> float:
        """Send a signal; returns when."""
        self.process.send_signal(number)
        return time.monotonic()

    def kill(self) -> float:
        at = self.send(signal.SIGKILL)
        self.process.wait(10)
        return at

    def wait(self, within_s: float = 60) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise ProbeError(f"process {self.pid} has not ended after {within_s:g} s") from error

    def end(self) -> None:
        """Kill it and what it started."""
        children = descendants(self.pid) if self.alive else []
        if self.alive:
            self.kill()
        for pid in {*children} & set(running()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class System:
    """A gateway, workers, a Valkey and a database that one probe may break."""

    def __init__(
        self, folder: Path, valkey: ValkeyServer, database_url: str | None, settings: dict[str, str], stack: ExitStack
    ) -> None:
        self.valkey = valkey
        self._folder = folder
        self._stack = stack
        self._data_dir = folder / "data"
        self._data_dir.mkdir()
        self._servers = 0
        self.marks = Marks(folder / "marks")
        stack.callback(self.marks.close)
        ours = ("GENPULSE_", "REDIS_URL", "DATABASE_URL")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._environment |= {
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "REDIS_URL": valkey.url,
            "GENPULSE_PLUGINS": str(_PLUGIN),
            "GENPULSE_LOG_FORMAT": "text",
            "QUEUE_MATRIX_MARKS": str(self.marks.path),
            "GENPULSE_PLUGIN_VARIABLES": "QUEUE_MATRIX_MARKS",
            **({"DATABASE_URL": database_url} if database_url else {}),
            **settings,
        }
        gateway = self._start("start-api", {}, "--port", "0")
        url = gateway.said(r"serves (http://[\d.:]+)")[1]
        self.http = stack.enter_context(httpx2.Client(base_url=url, timeout=70))

    def _start(self, command: str, settings: dict[str, str], *options: str) -> Server:
        self._servers += 1
        log = self._folder / f"{self._servers}-{command}.log"
        server = Server(command, self._data_dir, log, self._environment | settings, *options)
        self._stack.callback(server.end)
        return server

    def worker(self, slots: int = 20, *, ready: bool = True, **settings: str) -> Server:
        """Start a worker; `ready`: and wait until it takes tasks."""
        worker = self._start("start-worker", {"GENPULSE_POOLS": f"handlers={slots}"} | settings)
        if ready:
            worker.said(r"worker \S+ runs pools")
        return worker

    def post(self, label: str, seconds: float = 0, *, task_type: str = "probe-sleep", **fields: Any) -> httpx2.Response:
        """Submit, whatever the answer."""
        headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
        body = {"task_type": task_type, "params": {"label": label, "seconds": seconds}, **fields}
        return self.http.post("/task", json=body, headers=headers)

    def submit(self, label: str, seconds: float = 0, **fields: Any) -> str:
        """Submit; the task's id."""
        answer = self.post(label, seconds, **fields)
        if answer.status_code != 202:
            raise ProbeError(f"POST /task: {answer.status_code} {answer.text}")
        return answer.json()["task_id"]

    def task(self, task_id: str) -> dict[str, Any]:
        return self.http.get(f"/task/{task_id}").json()

    def cancel(self, task_id: str) -> float:
        """Ask for it; returns when it was asked."""
        at = time.monotonic()
        self.http.post(f"/task/{task_id}/cancel").raise_for_status()
        return at

    def ended(self, *task_ids: str, within_s: float = 60) -> list[dict[str, Any]]:
        """All of them, once they have reached a terminal state."""
        end = time.monotonic() + within_s
        found: list[dict[str, Any]] = []
        for task_id in task_ids:
            left = max(0, int(end - time.monotonic()))
            task = self.http.get(f"/task/{task_id}", params={"wait": min(left, 60)}).json()
            if task["status"] in {"pending", "processing"}:
                raise ProbeError(f"task {task['params']} is still {task['status']} after {within_s:g} s")
            found.append(task)
        return found


class Bench:
    """Makes systems on one kind of database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.postgres: Postgres | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.database == "postgresql":
            folder = Path(tempfile.mkdtemp(prefix="gpm-pg-"))
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.postgres = Postgres(folder, durable=True)
            self._stack.callback(self.postgres.stop)
            self.postgres.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def system(self, *, lease_s: float = 30, **settings: str) -> Iterator[System]:
        """A new system with a gateway and no worker; killed and removed at the end."""
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="gpm-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            valkey = ValkeyServer()
            stack.callback(shutil.rmtree, valkey.folder, ignore_errors=True)
            stack.callback(valkey.stop)
            valkey.start()
            settings = {"GENPULSE_LEASE_S": str(lease_s), **settings}
            yield System(folder, valkey, self._database_url(stack), settings, stack)

    def _database_url(self, stack: ExitStack) -> str | None:
        if self.postgres is None:
            return None
        loop = stack.enter_context(asyncio.Runner())
        fresh = fresh_database(self.postgres)
        url = loop.run(fresh.__aenter__())
        stack.callback(lambda: loop.run(fresh.__aexit__(None, None, None)))
        return url


__all__ = ["Bench", "Server", "System", "until"]
