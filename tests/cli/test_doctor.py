"""`doctor` finds what is broken and says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genpulse.cli.app import run
from tests.cli.conftest import Cli


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPULSE_PORT", "0")


def checks(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    code = run([*arguments, "doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code == 1) == (found["status"] == "problem") == any(c["status"] == "problem" for c in found["checks"])
    assert all(c["advice"] for c in found["checks"] if c["status"] == "problem")
    return {check["name"]: check for check in found["checks"]}


def test_a_fresh_machine_is_fine_and_stays_untouched(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = checks(capsys)
    for name in ("python", "data_dir", "queue", "database", "storage", "port"):
        assert found[name]["status"] == "ok", found[name]
    assert found["gateway"]["status"] == "note"
    assert list(tmp_path.iterdir()) == []


def test_a_line_is_what_was_tried_what_came_out_what_to_do(lying: Cli) -> None:
    done = lying("doctor")
    assert done.code == 1
    line = next(line for line in done.out.splitlines() if "workers" in line)
    assert line.split(" → ") == [
        "PROBLEM  the gateway's workers",
        "degraded: no worker is running",
        "Start one with `genpulse start-worker`.",
    ]


def test_a_gateway_that_should_answer_and_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks(capsys, "--url", "http://127.0.0.1:9")["gateway"]["status"] == "problem"


def test_a_queue_and_a_database_that_do_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:9/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:9/x")
    found = checks(capsys)
    assert found["queue"]["status"] == found["database"]["status"] == "problem"
    assert "REDIS_URL" in found["queue"]["advice"]
    assert "DATABASE_URL" in found["database"]["advice"]
    assert "hunter2" not in json.dumps(found)


def test_a_port_that_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    monkeypatch.setenv("GENPULSE_PORT", stranger.rpartition(":")[2])
    found = checks(capsys)["port"]
    assert found["status"] == "problem"
    assert "GENPULSE_PORT" in found["advice"]


def test_a_full_disk_and_an_unusable_data_directory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENPULSE_MIN_FREE_MB", "1000000000")
    assert "are free" in checks(capsys)["data_dir"]["result"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENPULSE_DATA_DIR", str(tmp_path / "file" / "data"))
    assert "can't be written" in checks(capsys)["data_dir"]["result"]


def test_a_damaged_database(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "genpulse.db").write_bytes(b"no database at all" * 100)
    assert checks(capsys)["database"]["status"] == "problem"


def test_a_broken_plugin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("import nonsense_that_is_missing")
    monkeypatch.setenv("GENPULSE_PLUGINS", "plugin.py")
    assert "nonsense_that_is_missing" in checks(capsys)["plugins"]["result"]
