"""`start-*` as child processes: they serve, say why they can't, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx2
import pytest

from genpulse.cli.api import Api
from genpulse.cli.child_server import ChildServer
from genpulse.cli.failure import CommandError
from genpulse.cli.processes import descendants, running


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    command = [sys.executable, "-m", "genpulse.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_child_serves_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # What counts for the parent must not count for the child, or a demo could touch real data.
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9")
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    monkeypatch.setenv("GENPULSE_POOLS", "nonsense")
    with ChildServer() as server:
        with Api(server.start()) as api:
            assert api.status()["components"]["database"] == {"status": "ok"}
        data_dir = server.data_dir
        assert server.stop() == []
    assert not data_dir.exists()


def test_a_run_survives_a_crash_of_the_server(tmp_path: Path) -> None:
    plugin = str(Path(__file__).with_name("plugin.py"))
    environment = {**os.environ, "GENPULSE_PLUGINS": plugin, "GENPULSE_DRAIN_S": "1"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    server = ("start-all", "--port", port, "--data-dir", str(tmp_path))
    with spawned(*server, environment=environment) as first:
        wait_for_gateway(url)
        with spawned("--url", url, "run", "slow") as client:
            assert client.stderr is not None
            read_until(client.stderr, "styling")
            first.kill()
            read_until(client.stderr, "connection lost")
            with spawned(*server, environment=environment):
                read_until(client.stderr, "running")
                client.send_signal(signal.SIGINT)
                assert "Canceled" in client.stderr.read()
                assert client.wait(timeout=10) == 130


@contextmanager
def spawned(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command line that is ended with the test, whatever happens. Only a client's stderr is of interest."""
    stderr = subprocess.PIPE if environment is None else subprocess.DEVNULL
    command = [sys.executable, "-m", "genpulse.cli", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()


def read_until(lines: IO[str], part: str) -> None:
    assert any(part in line for line in lines), f"nothing said {part!r}"


def wait_for_gateway(url: str) -> None:
    with Api(url) as api:
        for _ in range(200):
            try:
                api.status()
            except CommandError:
                time.sleep(0.05)  # nothing tells of a listening port but a connection
            else:
                return
    raise AssertionError("no gateway")


def test_a_child_that_cannot_start_shows_its_log() -> None:
    with ChildServer("--pools", "nonsense") as server, pytest.raises(CommandError) as raised:
        server.start()
    assert "ended with code 2" in raised.value.message
    assert "GENPULSE_POOLS: write pools as" in raised.value.excerpt


def test_a_taken_port_and_what_to_do(stranger: str, tmp_path: Path) -> None:
    port = stranger.rpartition(":")[2]
    done = start("start-all", "--port", port, "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "--port" in done.stderr.splitlines()[-1]


def test_a_database_file_elsewhere_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two data directories on one file would share the tasks and not the files of their outputs."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/shared/x.db")
    done = start("start-all", "--port", "0", "--data-dir", str(tmp_path / "own"))
    assert done.returncode == 1
    assert "--data-dir" in done.stderr and "PostgreSQL" in done.stderr


def test_two_gateways_on_one_database_file(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a Redis of their own choice: the second is refused, and told why."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("REDIS_URL", redis_url)
    command = [sys.executable, "-m", "genpulse.cli", "start-all", "--port", "0", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        try:
            end = time.monotonic() + 20
            while not (tmp_path / "run.json").exists():
                assert first.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            second = start("start-api", "--port", "0", "--data-dir", str(tmp_path))
        finally:
            first.terminate()
    assert second.returncode == 1
    assert "data" in second.stderr and "Traceback" not in second.stderr


def test_a_worker_alone_needs_something_to_attach_to(tmp_path: Path) -> None:
    done = start("start-worker", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "start-all" in done.stderr
    assert "REDIS_URL" in done.stderr


def test_descendants_are_found_across_sessions() -> None:
    script = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, start_new_session=True);"
        "print(child.pid, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert descendants(process.pid) == [grandchild]
        assert {process.pid, grandchild} <= running().keys()
        process.communicate(b"\n")
    assert process.pid not in running()


def test_a_worker_tells_its_metrics_where_the_setting_says(tmp_path: Path) -> None:
    environment = {**os.environ, "GENPULSE_METRICS_PORT": "0", "GENPULSE_LOG_FORMAT": "text"}
    with ChildServer() as server:
        server.start()
        command = [sys.executable, "-m", "genpulse.cli", "start-worker", "--data-dir", str(server.data_dir)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as worker:
            try:
                assert worker.stderr is not None
                url = next(
                    found[0] for line in worker.stderr if (found := re.search(r"http://127.0.0.1:\d+/metrics", line))
                )
                text = httpx2.get(url, trust_env=False).text
                port = url.split(":")[2].split("/")[0]
                taken = subprocess.run(
                    command,
                    env=environment | {"GENPULSE_METRICS_PORT": port},
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
            finally:
                worker.terminate()
                worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert "genpulse_event_loop_lag_seconds_count" in text and "genpulse_build_info" in text
    assert taken.returncode == 1 and f"GENPULSE_METRICS_PORT {port} can't be bound" in taken.stderr
