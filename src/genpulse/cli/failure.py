"""What may go wrong in a command: one exception that carries the exit code and the next thing to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    """A failed task, a problem answer, a check that didn't pass."""
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Detail:
    """What is wrong with one field of a request."""

    field: str
    message: str


class CommandError(Exception):
    """Ends a command. `advice` is the one line that says what to do next, `excerpt` lines of a log that tell more."""

    def __init__(
        self,
        message: str,
        advice: str,
        *,
        exit_code: Exit = Exit.FAILED,
        code: str = "failed",
        details: Sequence[Detail] = (),
        status: int | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.exit_code = exit_code
        self.code = code
        self.details = tuple(details)
        self.status = status
        self.excerpt = excerpt

    def as_dict(self) -> dict[str, Any]:
        """The one document on stdout under `--json`."""
        errors = [{"field": detail.field, "message": detail.message} for detail in self.details]
        error: dict[str, Any] = {"code": self.code, "message": self.message, "advice": self.advice}
        if self.status is not None:
            error["status"] = self.status
        return {"error": error | ({"errors": errors} if errors else {})}
