"""The program that runs one local engine in a child process: `python -m genpulse.engines.host MODULE:ENGINE`.

Its parent (`child`) sends jobs as JSON lines; a reader thread takes cancels while the main thread works, and ends the
process when the parent is gone. An engine that failed unexpectedly is not trusted with another job.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genpulse.engines.engine import Engine, EngineJob, EngineResult, JobCancelledError
from genpulse.errors import TaskError
from genpulse.media.child_link import Link, Message, limit_memory


class JobReport:
    """Implements `engine.Report` for one job."""

    def __init__(self, link: Link, job_id: int) -> None:
        self.job_id = job_id
        self._link = link
        self._cancelled = threading.Event()
        self._stop: Callable[[], None] | None = None

    def progress(self, percent: float, stage: str) -> None:
        self.check()
        self._link.send({"progress": percent, "stage": stage})

    def preview(self, jpeg: bytes) -> None:
        self._link.send({"preview": jpeg.hex()})

    def check(self) -> None:
        if self._cancelled.is_set():
            raise JobCancelledError

    def on_cancel(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.check()

    def cancel(self) -> None:
        """Called by the reader thread."""
        self._cancelled.set()
        if self._stop is not None:
            self._stop()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()


class Host:
    """Runs jobs until the parent is gone."""

    def __init__(self, link: Link, engine_name: str) -> None:
        self._link = link
        self._engine_name = engine_name
        self._engine: Engine | None = None
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._report: JobReport | None = None
        self._early_cancels: set[int] = set()
        self._lock = threading.Lock()

    def serve(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._link.send(self._answer(self._jobs.get()))

    def _read(self) -> None:
        while (message := self._link.receive()) is not None:
            if "cancel" in message:
                self._cancel(message["cancel"])
            else:
                self._jobs.put(message)
        os._exit(0)  # the main thread may be deep inside a library

    def _cancel(self, job_id: int) -> None:
        with self._lock:
            if self._report is not None and self._report.job_id == job_id:
                self._report.cancel()
            else:
                self._early_cancels.add(job_id)

    def _answer(self, message: Message) -> Message:
        report = JobReport(self._link, message["job_id"])
        with self._lock:
            self._report = report
            if report.job_id in self._early_cancels:
                report.cancel()
            self._early_cancels.clear()
        try:
            return {"end": "done", "result": _as_message(self._run(message, report))}
        except JobCancelledError:
            return {"end": "cancelled"}
        except TaskError as error:
            return {"end": "failed", **error.as_dict()}
        except BaseException as error:  # noqa: BLE001 - an engine's bug of any kind ends its job only
            # A library that was interrupted raises errors of its own.
            return {"end": "cancelled"} if report.cancelled else _broken(error)
        finally:
            with self._lock:
                self._report = None

    def _run(self, message: Message, report: JobReport) -> EngineResult:
        if self._engine is None:
            report.progress(0, "loading")
            self._engine = load_engine(self._engine_name)
        job = EngineJob(message["model"], message["params"], message["seed"], Path(message["folder"]))
        return self._engine.run(job, report)


def load_engine(name: str) -> Engine:
    """Make the engine that `module:attribute` names."""
    module, _, attribute = name.partition(":")
    factory: Callable[[], Engine] = getattr(importlib.import_module(module), attribute)
    return factory()


def _broken(error: BaseException) -> Message:
    """An unexpected failure, in words that show nothing of the server; its traceback is for the log."""
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():  # the latter: onnxruntime's own errors
        text = "The engine needs more memory than this server allows."
    else:
        text = f"The engine failed ({type(error).__name__}); the server's log says where."
    return {"end": "broken", "message": text, "traceback": "".join(traceback.format_exception(error))}


def _as_message(result: EngineResult) -> dict[str, Any]:
    return {
        "outputs": [{"name": output.name, "media_type": output.media_type} for output in result.outputs],
        "data": result.data,
        "warnings": list(result.warnings),
    }


def main() -> None:
    link = Link()
    limit_memory(link.hello["memory_mb"])
    with contextlib.suppress(PermissionError):
        os.nice(link.hello["nice"])
    Host(link, sys.argv[1]).serve()


if __name__ == "__main__":
    main()
