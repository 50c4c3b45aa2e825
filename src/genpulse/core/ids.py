"""Identifiers that we mint: UUIDv7 text. Never order by them; order by time."""

from __future__ import annotations

import uuid

import uuid6


def new_id() -> str:
    """A fresh UUIDv7 in canonical lower-case form."""
    return str(uuid6.uuid7())


def attempt_token(task_id: str, attempt: int) -> str:
    """The stable token of one attempt: a UUID derived from both, the same after any crash."""
    return str(uuid.uuid5(uuid.UUID(task_id), f"attempt:{attempt}"))
