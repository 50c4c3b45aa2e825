"""What is told about a task that has ended, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from genpulse.cli.answers import Json, as_list, as_number, as_object, outputs_of
from genpulse.cli.failure import Exit
from genpulse.cli.session import Session
from genpulse.cli.terminal import clean, document, result, say
from genpulse.errors import CODES


def report(session: Session, task: Json, files: Sequence[Path], *, quiet: bool = False) -> Exit:
    """Print the end of a task; 0 when it completed, 130 when canceled, 1 when failed."""
    if session.json:
        document({**task, "files": [str(path) for path in files]})
    else:
        _print_result(task, files)
    if not quiet:
        for warning in as_list(task.get("warnings")):
            say(f"Warning: {clean(warning)}")
    if task.get("status") == "completed":
        if not quiet:
            say(f"Completed in {_took(task)}.")
        return Exit.OK
    _say_error(task)
    return Exit.INTERRUPTED if task.get("status") == "canceled" else Exit.FAILED


def _print_result(task: Json, files: Sequence[Path]) -> None:
    outcome = as_object(task.get("result"))
    if outcome.get("text"):
        result(clean(outcome["text"], keep_newlines=True))
    if outcome.get("data") is not None:
        result(clean(orjson.dumps(outcome["data"], option=orjson.OPT_INDENT_2).decode(), keep_newlines=True))
    for index, output in enumerate(outputs_of(task)):
        result(str(files[index]) if files else clean(output.get("url")))
        say(f"  {describe(output)}")


def _say_error(task: Json) -> None:
    error = as_object(task.get("error"))
    code = str(error.get("code") or task.get("status"))
    kind = "" if code == task.get("status") else f" ({clean(code)})"
    say(f"{clean(task.get('status')).capitalize()}{kind}: {clean(error.get('message') or 'no reason given')}")
    if error.get("money_at_risk"):
        say("The provider may bill this task.")
    help_text = f"{CODES[code].help} " if code in CODES and code != "canceled" else ""
    say(f"→ {help_text}Again with the same params: genpulse retry {clean(task.get('task_id'))}")


def describe(output: Json) -> str:
    """`image/png, 1024×768, 1.2 MB`."""
    parts = [clean(output.get("media_type") or output.get("kind") or "file")]
    if output.get("width") and output.get("height"):
        parts.append(f"{clean(output['width'])}×{clean(output['height'])}")
    duration_s = as_number(output.get("duration_s"))
    if duration_s is not None:
        parts.append(f"{duration_s:.1f} s")
    return ", ".join([*parts, human_bytes(as_number(output.get("bytes")) or 0)])


def human_bytes(size: float) -> str:
    """`512 B`, `1.2 MB`; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def seconds_between(start: Any, end: Any) -> float | None:
    """Between two RFC 3339 times; None where one is missing."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return None


def _took(task: Json) -> str:
    total = seconds_between(task.get("created_at"), task.get("finished_at"))
    waited = seconds_between(task.get("created_at"), task.get("started_at"))
    if total is None:
        return "an unknown time"
    return f"{total:.1f} s" + (f" ({waited:.1f} s of it waiting)" if waited and waited >= 0.05 else "")
