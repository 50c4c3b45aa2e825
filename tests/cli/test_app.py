"""The root of the command line: help, global options, exit codes, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genpulse.cli.app import COMMANDS, root, run
from genpulse.cli.connect import DEFAULT_URL
from genpulse.embedded.lock import DataLock
from tests.cli.conftest import Cli, Done
from tests.cli.fake_gateway import FakeGateway


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from genpulse.cli.app import run; code = run(['--help']);"
        "heavy = {'httpx2', 'rich', 'sqlalchemy', 'fastapi', 'redis', 'pydantic_settings'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_and_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = root.get_command(root.make_context("genpulse", [], resilient_parsing=True), name)
    assert command is not None
    assert (command.help or "").partition("\n")[0] == COMMANDS[name][1]
    assert run([name, "--help"]) == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2]
    assert 2 <= sum("genpulse" in line for line in examples.partition("\n\n")[0].splitlines()) <= 3


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run"], ["tasks", "--limit", "x"], ["start-api", "--port", "65536"]]
)
def test_wrong_usage_is_2_and_points_to_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("→ See `genpulse")


def test_wrong_usage_with_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "nonsense"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_an_unreachable_gateway_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    # Port 9 (discard) isn't served on loopback.
    assert run(["--url", "http://127.0.0.1:9", "tasks", "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "unreachable"
    assert "genpulse start-all" in captured.err.splitlines()[-1]


async def test_the_default_gateway_is_the_one_that_serves_the_data_directory(
    capsys: pytest.CaptureFixture[str], gateway: FakeGateway, tmp_path: Path
) -> None:
    async with DataLock(tmp_path / "data") as lock:
        lock.announce(gateway_url=gateway.url)
        assert run(["tasks"]) == 0
    assert run(["tasks"]) == 3
    assert DEFAULT_URL in capsys.readouterr().err


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000"])
def test_a_url_that_is_none_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", url, "tasks"]) == 2
    assert "--url" in capsys.readouterr().err


def test_the_key_goes_to_the_gateway_also_when_named_after_the_command(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("tasks", "--key", "gp_secret").code == 0
    assert gateway.requests[-1][2]["authorization"] == "Bearer gp_secret"


def test_options_before_the_command_win_over_the_environment(
    lying: Cli, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENPULSE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GENPULSE_API_KEY", "gp_env")
    assert lying("tasks").code == 0
    assert gateway.requests[-1][2]["authorization"] == "Bearer gp_env"


def test_a_stranger_on_the_port_is_told_apart(capsys: pytest.CaptureFixture[str], stranger: str) -> None:
    assert Cli(capsys, stranger)("tasks").code == 1
    assert "no GenPulse gateway" in Cli(capsys, stranger)("show", "x").err


def test_wrong_settings_name_the_variable_and_not_the_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENPULSE_POOLS", "hunter2")
    assert run(["settings"]) == 2
    done = Done(2, *capsys.readouterr())
    assert "GENPULSE_POOLS: write pools as" in done.err
    assert "hunter2" not in done.err
