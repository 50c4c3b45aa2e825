"""Nothing from outside may act on the terminal."""

from __future__ import annotations

import json
import re

import pytest

from genpulse.cli.terminal import clean
from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe [bold red]markup[/] {braces}\r\nError: forged"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", ["ordinary", "Ünïcode 漢字 🎉", "👨‍👩‍👧 ❤️", "[bold]kept[/]"])
def test_harmless_text_stays(text: str) -> None:
    assert clean(text) == text


def test_everything_that_acts_is_shown_instead() -> None:
    shown = clean(EVIL)
    assert not UNSAFE.search(shown)
    assert "\n" not in shown
    assert "\\x1b[31mred" in shown
    assert "[bold red]markup[/]" in shown
    assert clean("a\nb\tc", keep_newlines=True) == "a\nb\\tc"


def test_a_hostile_gateway_cannot_act(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.output_name = EVIL + ".png"
    gateway.twists.log = EVIL
    gateway.twists.warnings = [EVIL]
    outputs = [
        lying("run", "picture", "-p", "x=1", "--metadata", f"note={EVIL}", "-o", "out"),
        lying("show", next(iter(gateway.tasks))),
        lying("tasks"),
        lying("tasks", "--json"),
        lying("watch", next(iter(gateway.tasks))),
    ]
    assert all(done.code == 0 for done in outputs)
    for done in outputs:
        assert not UNSAFE.search(done.out + done.err)
        assert "\nError: forged" not in done.out + done.err
    assert EVIL in outputs[0].err.replace("\\x1b", "\x1b") or "[bold red]markup[/]" in outputs[0].err
    assert json.loads(outputs[3].out)["tasks"][0]["metadata"]["note"] == EVIL
