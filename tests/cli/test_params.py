"""`-p` and `-s` become params."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


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
        ("18446744073709551615", 18446744073709551615),
    ],
)
def test_values_are_json_where_they_read_as_json(lying: Cli, gateway: FakeGateway, text: str, value: Any) -> None:
    assert lying("run", "picture", "-p", f"key={text}", "--no-wait").code == 0
    assert next(iter(gateway.tasks.values()))["params"] == {"key": value}


def test_a_string_option_is_never_interpreted(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("run", "picture", "-s", "a=1", "-s", "b=@file", "--no-wait").code == 0
    assert next(iter(gateway.tasks.values()))["params"] == {"a": "1", "b": "@file"}


def test_a_file_is_uploaded_and_referred_to(lying: Cli, gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(b"content")
    assert lying("run", "picture", "-p", "image=@in.bin", "--no-wait").code == 0
    reference = next(iter(gateway.tasks.values()))["params"]["image"]
    assert gateway.uploads[reference["file_id"]] == b"content"


@pytest.mark.parametrize(
    "arguments",
    [("-p", "novalue"), ("-p", "=x"), ("-p", "a=1", "-p", "a=2"), ("-p", "a=1", "-s", "a=2"), ("-p", "a=@missing")],
)
def test_what_is_no_pair_is_refused_before_anything_is_sent(
    lying: Cli, gateway: FakeGateway, arguments: tuple[str, ...]
) -> None:
    assert lying("run", "picture", *arguments).code == 2
    assert gateway.requests == []


def test_other_options_become_fields_of_the_body(lying: Cli, gateway: FakeGateway) -> None:
    options = "--model local/both --priority high --seed 5 --metadata a=1 --metadata b=x --idempotency-key k1 --no-wait"
    assert lying("run", "picture", *options.split()).code == 0
    task = next(iter(gateway.tasks.values()))
    assert (task["model"], task["priority"]) == ("local/both", "high")
    assert (task["params"], task["metadata"]) == ({"seed": 5}, {"a": "1", "b": "x"})
    assert gateway.requests[-1][2]["idempotency-key"] == "k1"
