"""What a handler's own code may do while it runs: report, save outputs, read inputs. It knows no store and no HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Context(Protocol):
    """Given to `BaseHandler.execute`. All methods may be called from the event loop that runs `execute` only."""

    work_dir: Path
    """A private folder for this attempt; removed when the attempt ends."""

    async def progress(self, percent: float, stage: str | None = None) -> None:
        """Report progress, 0–100. Cheap: ticks are coalesced to a few a second. Raises nothing."""
        ...

    async def log(self, message: str) -> None:
        """Add a line to the task's durable log (`log` events)."""
        ...

    def warn(self, message: str) -> None:
        """Add a sentence to the task's `warnings`."""
        ...

    async def save(self, content: bytes | Path, name: str) -> dict[str, Any]:
        """Store an output of the task under a file name and return its description.

        It is also part of `result.outputs` when the task completes.

        Raises:
            TaskError: `ingest_failed` when it can't be stored.
        """
        ...

    async def read(self, reference: Any) -> Path:
        """A local copy of a media input (`MediaInput`).

        Raises:
            TaskError: `input_unreadable` when it is missing, too large or not reachable.
        """
        ...
