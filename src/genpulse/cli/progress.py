"""Shows running tasks on stderr: bars on a terminal, a line per change elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from genpulse.cli.answers import TERMINAL, Json, as_number
from genpulse.cli.terminal import clean, say


class View(Protocol):
    """What the commands tell the screen. Server text may be passed as it came."""

    def __enter__(self) -> View: ...
    def __exit__(self, *_: object) -> None: ...
    def add(self, task_id: str, label: str) -> None: ...
    def state(self, task: Json) -> None: ...
    def tick(self, task_id: str, progress: float | None, stage: str | None) -> None: ...
    def note(self, message: str) -> None: ...


def make_view(*, quiet: bool) -> View:
    """The view that fits stderr."""
    if quiet:
        return Silent()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


def situation(task: Json) -> str:
    """A few words on where a task is."""
    status = str(task.get("status", "?"))
    if task.get("cancel_requested_at") and status not in TERMINAL:
        return "canceling"
    if status == "pending" and task.get("queue_position"):
        return f"waiting, number {clean(task['queue_position'])}"
    if status == "pending":
        return "waiting"
    stage = task.get("stage")
    return clean(stage or "running") if status == "processing" else clean(status)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...
    def add(self, task_id: str, label: str) -> None: ...
    def state(self, task: Json) -> None: ...
    def tick(self, task_id: str, progress: float | None, stage: str | None) -> None: ...
    def note(self, message: str) -> None: ...


class Lines:
    """For logs and pipes: one line per new situation, none per percent."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None: ...

    def add(self, task_id: str, label: str) -> None:
        self._labels[task_id] = clean(label)

    def state(self, task: Json) -> None:
        self._show(str(task.get("task_id")), situation(task))

    def tick(self, task_id: str, progress: float | None, stage: str | None) -> None:
        if stage:
            self._show(task_id, f"{clean(stage)} ({progress or 0:.0f} %)", key=stage)

    def note(self, message: str) -> None:
        say(clean(message))

    def _show(self, task_id: str, text: str, key: str | None = None) -> None:
        if self._shown.get(task_id) != (key or text):
            self._shown[task_id] = key or text
            say(f"{self._labels.get(task_id, clean(task_id))}: {text}")


class Bars:
    """For a terminal: a bar per task, with percent, stage or place in the queue, and time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.fields[situation]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, task_id: str, label: str) -> None:
        self._bars[task_id] = self._progress.add_task(clean(label), total=100, situation="")

    def state(self, task: Json) -> None:
        bar = self._bars[str(task.get("task_id"))]
        waiting = task.get("status") == "pending"
        done = 0.0 if waiting else self._forward(bar, as_number(task.get("progress")))
        self._progress.update(bar, situation=situation(task), completed=done)
        if task.get("status") in TERMINAL:
            self._progress.stop_task(bar)

    def tick(self, task_id: str, progress: float | None, stage: str | None) -> None:
        bar = self._bars[task_id]
        changes: dict[str, Any] = {"situation": clean(stage)} if stage else {}
        self._progress.update(bar, completed=self._forward(bar, progress), **changes)

    def _forward(self, bar: TaskID, progress: float | None) -> float:
        """Never backwards: a `state` event carries the progress of its commit, which may be older than a tick."""
        return min(max(progress or 0.0, self._progress.tasks[bar].completed), 100.0)

    def note(self, message: str) -> None:
        self._progress.console.print(clean(message))
