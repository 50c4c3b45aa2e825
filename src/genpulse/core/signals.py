"""Outgoing hints and notices: best effort, in order, coalesced into few round trips, never awaited by a request.

What gets lost here costs latency only: the reconciler rebuilds hints, watchers read the ledger again by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import Context

from genpulse.core import lifecycle
from genpulse.core.metrics import Metrics
from genpulse.core.models import State, Task
from genpulse.core.ports import Hint, Queue, QueueUnavailableError
from genpulse.core.view import TaskView

_BATCH = 200
_BUFFER = 10_000
_log = logging.getLogger(__name__)


def task_channel(task_id: str) -> str:
    """Channel of one task's state changes and progress (design §7, direct producers)."""
    return f"task_updates:{task_id}"


def preview_channel(task_id: str) -> str:
    return f"task_previews:{task_id}"


def tenant_channel(tenant: str) -> str:
    """Channel of all state changes of a tenant's tasks; feeds `GET /events`."""
    return f"tenant_updates:{tenant}"


CANCEL_CHANNEL = "cancel"
POOLS_CHANNEL = "pools"
"""A pool was paused or resumed."""


class Signals:
    """Sends hints and notices after commits. One instance per process; `run` sends, `close` sends the rest."""

    def __init__(self, queue: Queue, view: TaskView, metrics: Metrics | None = None) -> None:
        self._queue = queue
        self._metrics = metrics or Metrics()
        self._view = view
        self._hints: dict[str, Hint] = {}
        self._notices: deque[Task] = deque(maxlen=_BUFFER)
        self._sender: asyncio.Task[None] | None = None

    def changed(self, task: Task) -> None:
        """A task was accepted or changed its state; a queued and due one also gets its hint."""
        if task.state == State.QUEUED and task.available_at <= task.created_at:
            self.hint(task)
        elif task.terminal:
            lifecycle.ended(self._metrics, task)
        self._notices.append(task)
        self._wake()

    def hint(self, task: Hint) -> None:
        """Queue a task's hint."""
        if len(self._hints) < _BUFFER:
            self._hints[task.id] = task
        self._wake()

    def unhint(self, task: Task) -> None:
        """A waiting task ended: drop a hint that was not sent yet. One already sent is refused by the claim."""
        self._hints.pop(task.id, None)

    def _wake(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="signals", context=Context())  # for all

    async def _send_all(self) -> None:
        while self._hints or self._notices:
            hints = [self._hints.pop(key) for key in list(self._hints)[:_BATCH]]
            notices = [self._notices.popleft() for _ in range(min(_BATCH, len(self._notices)))]
            if hints:
                try:
                    await self._queue.push_task(*hints)
                except QueueUnavailableError as error:
                    _log.debug("%d hints lost, to be rebuilt: %s", len(hints), error)
            if notices:  # watchers in this process hear them even while the queue is out of reach
                try:
                    await self._queue.publish(*self._messages(notices))
                except QueueUnavailableError as error:
                    _log.debug("%d notices lost: %s", len(notices), error)

    def _messages(self, tasks: Sequence[Task]) -> list[tuple[str, dict[str, object]]]:
        """A message for each task, and one for each tenant that lists its changes."""
        messages = [(task_channel(task.id), self._view.task(task, brief=True)) for task in tasks]
        changes: dict[str, list[tuple[str, int]]] = {}
        for task in tasks:
            changes.setdefault(task.tenant, []).append((task.id, task.last_seq))
        return [*messages, *((tenant_channel(tenant), {"changes": found}) for tenant, found in changes.items())]

    async def close(self) -> None:
        """Send what is left."""
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=2)
