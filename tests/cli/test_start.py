"""`start-*` as child processes: they serve, say why they can't, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
