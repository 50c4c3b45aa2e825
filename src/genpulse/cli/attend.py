"""Stays with tasks until they have ended: shows them, and gives Ctrl-C its two meanings.

The first Ctrl-C does what the command says it does (cancel, or just leave); after a cancel the end is still awaited,
and a second Ctrl-C leaves.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from genpulse.cli.answers import Json
from genpulse.cli.api import Api
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.follow import Changed, Ended, Follower, Logged, Lost, Ticked, Update
from genpulse.cli.progress import View

_IDLE_S = 1.0
"""After so long without an update the tasks are asked for. Events don't tell the place in the queue, since it changes
with every other task, and a progress tick that came before the stream was open isn't repeated."""


class _Interrupt:
    """Ctrl-C was pressed for the first time."""


_INTERRUPT = _Interrupt()


def attend(
    api: Api,
    tasks: Mapping[str, Json],
    view: View,
    *,
    on_interrupt: Callable[[], None] | None = None,
    timeout_s: float | None = None,
    on_update: Callable[[Update], None] | None = None,
) -> dict[str, Json]:
    """The final tasks by id, once all have ended. `tasks`: id → the task as known now.

    Raises:
        CommandError: `detached` after Ctrl-C (exit code 130) or after `timeout_s` (1); what made a task unreachable.
    """
    sink: SimpleQueue[Update | _Interrupt] = SimpleQueue()
    followers = [Follower(api, task_id, sink) for task_id in tasks]
    try:
        with _interrupts_into(sink):
            for task in tasks.values():
                view.state(task)
            for follower in followers:
                follower.start()
            return _until_ended(api, _Board(tasks, view, on_update), sink, on_interrupt, timeout_s)
    except KeyboardInterrupt:
        raise _detached(tasks, "Left", Exit.INTERRUPTED) from None
    finally:
        started = [follower for follower in followers if follower.ident is not None]
        for follower in started:
            follower.stop()
        for follower in started:
            follower.join(timeout=1)


class _Board:
    """What is known of each task."""

    def __init__(self, tasks: Mapping[str, Json], view: View, on_update: Callable[[Update], None] | None) -> None:
        self.known = dict(tasks)
        self.ended: dict[str, Json] = {}
        self.view = view
        self._on_update = on_update

    @property
    def open(self) -> list[str]:
        return [task_id for task_id in self.known if task_id not in self.ended]

    def take(self, update: Update) -> None:
        match update:
            case Changed(task_id, task):
                self.known[task_id] = task
                self.view.state({**task, "task_id": task_id})
            case Ticked(task_id, progress, stage):
                self.view.tick(task_id, progress, stage)
            case Logged(_, message):
                self.view.note(message)
            case Ended(task_id, task):
                self.known[task_id] = self.ended[task_id] = task
                self.view.state({**task, "task_id": task_id})
            case Lost(_, error):
                raise error
        if self._on_update is not None:
            self._on_update(update)


def _until_ended(
    api: Api,
    board: _Board,
    sink: SimpleQueue[Update | _Interrupt],
    on_interrupt: Callable[[], None] | None,
    timeout_s: float | None,
) -> dict[str, Json]:
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while board.open:
        left = _IDLE_S if end is None else min(_IDLE_S, end - time.monotonic())
        if left <= 0:
            raise _detached(board.open, f"Not finished after {timeout_s:g} s", Exit.FAILED)
        try:
            update = sink.get(timeout=left)
        except Empty:
            _look(api, board)
            continue
        if not isinstance(update, _Interrupt):
            board.take(update)
        elif on_interrupt is None:
            raise KeyboardInterrupt
        else:
            board.view.note("canceling; press Ctrl-C again to leave the task alone …")
            on_interrupt()
    return board.ended


def _look(api: Api, board: _Board) -> None:
    for task_id in board.open:
        try:
            board.take(Changed(task_id, api.task(task_id)))
        except CommandError:
            return  # the follower sees the same trouble and deals with it


def _detached(task_ids: Any, what: str, exit_code: Exit) -> CommandError:
    ids = ", ".join(task_ids)
    advice = (
        f"See it with `genpulse watch {next(iter(task_ids))}`, stop it with `genpulse cancel {' '.join(task_ids)}`."
    )
    return CommandError(f"{what}; the task goes on: {ids}", advice, exit_code=exit_code, code="detached")


@contextmanager
def _interrupts_into(sink: SimpleQueue[Any]) -> Generator[None]:
    """The first Ctrl-C is put into `sink`, a second one raises KeyboardInterrupt at once."""
    pressed = False

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        sink.put(_INTERRUPT)  # SimpleQueue.put is documented to be safe here

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
