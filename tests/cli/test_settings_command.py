"""`settings` shows where values come from and never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genpulse.cli.app import run
from genpulse.cli.settings import mask_url
from genpulse.settings import Settings


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert run(["settings", "--json"]) == 0
    return {entry["variable"]: entry for entry in json.loads(capsys.readouterr().out)["settings"]}


def test_all_settings_with_source_and_description(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("GENPULSE_LOG_LEVEL=debug\nGENPULSE_PORT=1\n")
    monkeypatch.setenv("GENPULSE_PORT", "9")
    entries = shown(capsys)
    assert len(entries) == len(Settings.model_fields)
    assert all(entry["description"] for entry in entries.values())
    found = {name: (entries[name]["value"], entries[name]["source"]) for name in entries}
    assert found["GENPULSE_PORT"] == (9, "env")
    assert found["GENPULSE_LOG_LEVEL"] == ("debug", ".env")
    assert found["GENPULSE_HOST"] == ("127.0.0.1", "default")
    assert found["REDIS_URL"] == (None, "default")


def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@queue:6379/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@db/genpulse?password=hunter2")
    monkeypatch.setenv("GENPULSE_SECRET_KEY", "hunter2" * 8)
    monkeypatch.setenv("GENPULSE_STORAGE_URL", "s3://hunter2@bucket/prefix")
    monkeypatch.setenv("GENPULSE_PUBLIC_URL", "https://user:hunter2@example.org")
    assert run(["settings"]) == 0
    table = capsys.readouterr()
    entries = shown(capsys)
    assert "hunter2" not in table.out + table.err + json.dumps(entries)
    assert entries["REDIS_URL"]["value"] == "redis://:***@queue:6379/0"
    assert entries["DATABASE_URL"]["value"] == "postgresql://user:***@db/genpulse?password=***"
    assert entries["GENPULSE_SECRET_KEY"]["value"] == "***"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://queue:6379/0", "redis://queue:6379/0"),
        ("redis://:p%40ss@[::1]:6379", "redis://:***@[::1]:6379"),
        ("unix:///run/x.sock?db=1", "unix:///run/x.sock?db=***"),
        ("postgresql://a:b@c@d/e", "postgresql://a:***@d/e"),
    ],
)
def test_urls_keep_all_but_their_secrets(url: str, expected: str) -> None:
    assert mask_url(url) == expected
