"""`-p key=value` on the command line becomes `params`: JSON where it reads as JSON, files are uploaded, else text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from genpulse.cli.api import Api


def parse(smart: Iterable[str], text: Iterable[str], api: Api) -> dict[str, Any]:
    """The params of a task; `key=@path` uploads the file and refers to it.

    Raises:
        click.UsageError: something is not `key=value`, is given twice, or the file can't be read.
    """
    smart_pairs, text_pairs = [pair(item, "-p") for item in smart], [pair(item, "-s") for item in text]
    names = [name for name, _ in smart_pairs + text_pairs]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"{name} is given twice.")
    paths = {name: _readable(name, value[1:]) for name, value in smart_pairs if value.startswith("@")}
    params: dict[str, Any] = {name: _value(value) for name, value in smart_pairs if name not in paths}
    params |= dict(text_pairs)
    return params | {name: {"file_id": api.upload(path)["file_id"]} for name, path in paths.items()}


def pair(item: str, option: str) -> tuple[str, str]:
    """`key=value` in two."""
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise click.UsageError(f"Write {option} key=value, not {item!r}.")
    return name, value


def _readable(name: str, text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise click.UsageError(f"{name}: there is no file {text!r}; for text that starts with @ use -s {name}=@…")
    return path


def _value(text: str) -> Any:
    """JSON number, bool, null, object or array; else the text itself. A quoted string stays as it was typed."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
