"""Ctrl-C: cancels once, leaves when pressed again; `watch` only leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


@contextmanager
def running(url: str, *arguments: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """A command line in a process of its own, once it has said `until`."""
    command = [sys.executable, "-m", "genpulse.cli", "--url", url, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if until in line:
                break
        yield process
        process.kill()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said on stderr from now on."""
    assert process.stderr is not None
    said = process.stderr.read()
    return process.wait(timeout=10), said


def test_the_first_interrupt_cancels_and_waits_for_the_end(cli: Cli) -> None:
    with running(cli.url, "run", "slow", "--json", until="styling") as process:
        process.send_signal(signal.SIGINT)
        code, said = finish(process)
        assert process.stdout is not None
        task = json.load(process.stdout)
    assert code == 130
    assert "Canceled: " in said
    assert task["status"] == "canceled"
    assert cli("show", task["task_id"], "--json").json["status"] == "canceled"


def test_a_second_interrupt_leaves_and_says_the_id(gateway: FakeGateway) -> None:
    gateway.twists.ignore_cancel = True
    with running(gateway.url, "run", "slow", until="styling") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Ctrl-C again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code, said = finish(process)
    assert code == 130
    assert f"genpulse watch {next(iter(gateway.tasks))}" in said
    assert [task["status"] for task in gateway.tasks.values()] == ["processing"]


def test_watching_is_left_without_harm(cli: Cli) -> None:
    task_id = cli("run", "slow", "--no-wait").out.strip()
    with running(cli.url, "watch", task_id, until="styling") as process:
        process.send_signal(signal.SIGINT)
        code, said = finish(process)
    assert code == 130
    assert task_id in said
    assert cli("show", task_id, "--json").json["status"] == "processing"
    assert cli("cancel", task_id).code == 0
    assert cli("watch", task_id).code == 130
