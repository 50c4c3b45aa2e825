"""Printing that is safe for a terminal, whatever text a server sent.

Promises: results go to stdout, chatter to stderr; nothing that came from outside can move the cursor, set colours or
forge lines. `clean` is the one place that knows which characters may pass.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control, format (direction overrides!), surrogate, private, unassigned, line and paragraph separators."""

_JOINERS = {"\u200d", "\ufe0f"}
"""Zero-width joiner and emoji selector: format characters that emoji are made of."""


def clean(value: object, *, keep_newlines: bool = False) -> str:
    """Text with every character that could act on the terminal shown as its escape."""
    text = str(value)
    if text.isprintable():  # the common case; `isprintable` refuses all of the categories above
        return text
    return "".join(c if _passes(c, keep_newlines) else c.encode("unicode_escape").decode("ascii") for c in text)


def _passes(char: str, keep_newlines: bool) -> bool:
    if char == "\n":
        return keep_newlines
    return char in _JOINERS or unicodedata.category(char) not in _UNSAFE_CATEGORIES


def say(text: str = "") -> None:
    """A line for human eyes, on stderr. `text` must be ours or cleaned."""
    click.echo(text, err=True)


def result(text: str) -> None:
    """A line of the result, on stdout. `text` must be ours or cleaned."""
    click.echo(text)


def document(value: Any) -> None:
    """The one JSON document of `--json`. ASCII only, so that no character in it can act on a terminal."""
    click.echo(json.dumps(value, indent=2))
