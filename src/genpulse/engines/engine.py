"""What a local engine is: the code that runs a model inside a child process (`host`), one job at a time.

An engine knows files and numbers only. It reports progress, asks often whether the job was cancelled, and leaves its
outputs in the job's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class JobCancelledError(Exception):
    """The job was cancelled: raised by `Report.check`, passed through by the engine."""


@dataclass(frozen=True, slots=True)
class EngineJob:
    """One job as the child sees it. `params` is the JSON of the validated params."""

    model: str
    params: dict[str, Any]
    seed: int
    folder: Path
    """Where outputs go."""


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """One file in the job's folder."""

    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class EngineResult:
    outputs: tuple[EngineOutput, ...] = ()
    data: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


class Report(Protocol):
    """What an engine tells while it works."""

    def progress(self, percent: float, stage: str) -> None:
        """Progress, 0–100. Also a `check`."""
        ...

    def preview(self, jpeg: bytes) -> None:
        """A small picture of the work so far."""
        ...

    def check(self) -> None:
        """Raises:
        JobCancelledError: it is time to stop.
        """
        ...

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Call `stop`, from another thread, when the job is cancelled: for work that can't ask by itself."""
        ...


class Engine(Protocol):
    """Made once per child; `run` is called for each job. `__init__` may load weights."""

    def run(self, job: EngineJob, report: Report) -> EngineResult:
        """Do the job.

        Raises:
            TaskError: the job can't be done, with its code.
        """
        ...


EngineFactory = Callable[[], Engine]


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds of one child process."""

    memory_mb: int = 4096
    threads: int = 1
    """For numpy and onnxruntime. Two threads on a busy machine spin: measured three times the work."""
    nice: int = 5
    """Lower priority, so that the gateway stays responsive."""
    job_s: float = 600.0
    """A job that takes longer is killed with `timeout`."""
    idle_s: float = 300.0
    """An idle child ends after so long."""
    cancel_s: float = 2.0
    """How long a cancelled job may take to stop by itself."""
    extra: dict[str, str] = field(default_factory=dict[str, str])
    """More environment variables for the child."""
