"""Answers: JSON, rendered fast, never cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response


def render(value: Any) -> bytes:
    """JSON as UTF-8."""
    return orjson.dumps(value)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. It may hold signed URLs and private prompts, so no cache may keep it."""
    return Response(render(value), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
