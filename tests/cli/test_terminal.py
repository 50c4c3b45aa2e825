"""Nothing from outside may act on the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

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
    assert "[bold red]markup[/] {braces}" in outputs[0].err
    assert json.loads(outputs[3].out)["tasks"][0]["metadata"]["note"] == EVIL


def on_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and all that a terminal would have been sent."""
    terminal, other_side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "genpulse.cli", *arguments],
        stdin=other_side,
        stdout=other_side,
        stderr=other_side,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(other_side)
    written = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other side has closed the terminal
        while chunk := os.read(terminal, 4096):
            written += chunk
    os.close(terminal)
    return process.wait(timeout=10), written.decode()


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_bar_and_colours_unless_forbidden(gateway: FakeGateway, environment: dict[str, str]) -> None:
    gateway.twists.log = EVIL
    code, written = on_terminal("--url", gateway.url, "run", "picture", "--model", f"m{EVIL}", **environment)
    assert code == 0
    assert "━" in written
    assert "100 %" in written
    assert "\x1b]0;title" not in written
    assert "\x1b[31mred" not in written
    assert bool(re.search(r"\x1b\[[34]\dm|\x1b\[38;", written)) == (not environment)
