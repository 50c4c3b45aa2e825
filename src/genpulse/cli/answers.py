"""Reading JSON that a server sent: what isn't there or has another shape reads as empty."""

from __future__ import annotations

import json
from typing import Any, TypeAlias, cast

Json: TypeAlias = dict[str, Any]

TERMINAL = frozenset({"completed", "failed", "canceled"})
"""The statuses in which a task stays."""


def as_object(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def parse_object(text: str | bytes) -> Json:
    """A JSON object; empty when the text is none."""
    try:
        return as_object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def outputs_of(task: Json) -> list[Json]:
    """`result.outputs`, empty while there is no result."""
    return [as_object(output) for output in as_list(as_object(task.get("result")).get("outputs"))]
