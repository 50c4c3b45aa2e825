"""`-p` and `-s` become params."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from genpulse.cli.api import Api
from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


def submitted(cli: Cli, *arguments: str) -> dict[str, Any]:
    """The accepted task; nobody ever runs it."""
    done = cli("run", "waiting", *arguments, "--no-wait", "--json")
    assert done.code == 0, done.err
    cli("cancel", done.json["task_id"])
    return done.json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512", 512),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("a lighthouse", "a lighthouse"),
        ('"quoted"', '"quoted"'),
        ("007", "007"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("", ""),
        ("a=b", "a=b"),
        ("[not json", "[not json"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_json_where_they_read_as_json(cli: Cli, text: str, value: Any) -> None:
    assert submitted(cli, "-p", f"key={text}")["params"] == {"key": value}


def test_a_string_option_is_never_interpreted(cli: Cli) -> None:
    assert submitted(cli, "-s", "a=1", "-s", "b=@file")["params"] == {"a": "1", "b": "@file"}


def test_a_file_is_uploaded_and_referred_to(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"content")
    reference = submitted(cli, "-p", "image=@in.txt")["params"]["image"]
    assert list(reference) == ["file_id"]
    assert len(reference["file_id"]) == 36
    with Api(cli.url) as api:
        assert api.upload(tmp_path / "in.txt")["sha256"] == hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    "arguments",
    [("-p", "novalue"), ("-p", "=x"), ("-p", "a=1", "-p", "a=2"), ("-p", "a=1", "-s", "a=2"), ("-p", "a=@missing")],
)
def test_what_is_no_pair_is_refused_before_anything_is_sent(
    lying: Cli, gateway: FakeGateway, arguments: tuple[str, ...]
) -> None:
    assert lying("run", "picture", *arguments).code == 2
    assert gateway.requests == []


def test_other_options_become_fields_of_the_body(cli: Cli) -> None:
    named = {"priority": "high", "seed": "5", "deadline": "60", "metadata": "a=1", "idempotency-key": "k1"}
    options = [word for name, value in named.items() for word in (f"--{name}", value)]
    task = submitted(cli, *options)
    assert (task["model"], task["priority"]) == ("local/waiting", "high")
    assert (task["params"], task["metadata"]) == ({"seed": 5}, {"a": "1"})
    assert submitted(cli, *options)["task_id"] == task["task_id"]
