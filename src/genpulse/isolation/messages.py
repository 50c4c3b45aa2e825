"""What worker and child tell each other: JSON lines of bounded size over a socket, and errors as JSON.

JSON is written as the ledger writes it, so that an answer which can't be stored fails alike in the worker and alone.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

from genpulse.core.models import Json, Task
from genpulse.errors import CODES, GenPulseError, RequestError, TaskError

MAX_MESSAGE = 16 << 20
"""The largest thing that is sent: a raw workflow has up to 8 MiB, an answer is bounded by this. Files go as paths."""
_REFERENCE_FIELDS = ("file_id", "url", "data", "media_type")


def encode(message: Json) -> bytes:
    """One line.

    Raises:
        TypeError: it can't be JSON.
        ValueError: it is too large.
    """
    line = orjson.dumps(message)
    if len(line) >= MAX_MESSAGE:
        raise ValueError(f"more than {MAX_MESSAGE >> 20} MiB in one message")
    return line + b"\n"


def decode(line: bytes) -> Json:
    """Raises:
    ValueError: it is no message.
    """
    message = orjson.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")  # noqa: TRY004 - to callers all broken lines are one error
    return cast("Json", message)


def task_as_message(task: Task, work_dir: Path, log_level: int) -> Json:
    """The worker's first message."""
    return {"task": dataclasses.asdict(task), "work_dir": str(work_dir), "log_level": log_level}


def error_as_message(error: Exception) -> Json:
    """Keeps what a handler may tell errors by: the class and the code of ours, the number of the system's."""
    match error:
        case TaskError():
            return {**error.as_dict(), "retry_after_s": error.retry_after_s}
        case GenPulseError():
            return {"code": error.code, "message": error.message}
        case OSError():
            return {"errno": error.errno, "message": error.strerror or str(error), "file": _text(error.filename)}
        case _:
            return {"message": f"{type(error).__name__} in the worker; its log has the traceback"}


def error_of(message: Json) -> Exception:
    """The error that `error_as_message` wrote."""
    if "errno" in message:
        return OSError(message["errno"], message["message"], message["file"])
    code = message.get("code")
    if code is None:
        return RuntimeError(message["message"])
    if CODES[code].scope == "request":
        return RequestError(code, message["message"])
    return TaskError(
        code,
        message["message"],
        retryable=message["retryable"],
        money_at_risk=message["money_at_risk"],
        retry_after_s=message["retry_after_s"],
    )


def reference_as_message(reference: Any) -> Any:
    """A `MediaInput`: its text, or its fields."""
    if isinstance(reference, str):
        return reference
    return {name: _text(getattr(reference, name, None)) for name in _REFERENCE_FIELDS}


def reference_of(message: Any) -> Any:
    return message if isinstance(message, str) else SimpleNamespace(**message)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
