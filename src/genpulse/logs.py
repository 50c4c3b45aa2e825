"""Logging: text for people, JSON lines for machines; control characters are escaped, since values come from outside.

What is logged within `bound` carries its fields (`task_id`, `request_id`, `trace_id` …), in all that it calls and in
the asyncio tasks and threads started there. What serves many callers must start in an empty context instead.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

import orjson

_QUIET = ("uvicorn.access", "alembic", "asyncio", "httpx2", "httpcore2", "PIL")
_SHORT = 8
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


@contextmanager
def bound(**fields: object) -> Generator[None]:
    """Add fields to all that is logged within the block; those that are None are left as they were."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _fields.set({**_fields.get(), **given})
    try:
        yield
    finally:
        _fields.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields.get(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:  # half of a surrogate pair, which is no text: shown escaped
            clean = {name: str(value).encode(errors="backslashreplace").decode() for name, value in entry.items()}
            return orjson.dumps(clean).decode()


class TextFormatter(logging.Formatter):
    """`12:00:00 info    genpulse.core.worker [8c21d0fe]: message`, with the end of the task's id within brackets."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        task_id = _fields.get().get("task_id")
        # The end: ids made within a minute begin alike.
        task = f" [{str(task_id)[-_SHORT:]}]" if task_id is not None else ""
        line = f"{moment} {record.levelname.lower():<7} {record.name}{task}: {_printable(record.getMessage())}"
        if not record.exc_info:
            return line
        # Indented, since a line of an exception's message must not look like one of ours.
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join([line, *(f"  {_printable(part)}" for part in trace)])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def configure(level: str, log_format: str) -> None:
    """Send all logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
