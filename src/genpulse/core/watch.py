"""Following tasks: a wake-up only means "read the ledger again", so a lost one costs latency, never an event.

Progress and previews have no row and no id; they are passed on as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from genpulse.core.ledger import Ledger
from genpulse.core.models import ACTIVE, STATUS_OF, TERMINAL, Event, Json, State, Task
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.signals import preview_channel, task_channel, tenant_channel
from genpulse.core.view import is_progress, progress_notice

RELAXED_POLL_S = 10.0
"""How long a watcher trusts wake-ups before it looks at the ledger by itself."""
EAGER_POLL_S = 1.0
"""The same while the queue can't be reached."""

_TERMINAL_STATUSES = {STATUS_OF[State(state)] for state in TERMINAL}


@dataclass(frozen=True, slots=True)
class Passing:
    """A `progress` or `preview` that is shown once and never replayed."""

    type: Literal["progress", "preview"]
    data: Json


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing happened for a while; a stream may send a keep-alive."""


Seen: TypeAlias = Event | Passing | Idle


class Watcher:
    """Reads the events of tasks as they are committed."""

    def __init__(self, ledger: Ledger, queue: Queue) -> None:
        self._ledger = ledger
        self._queue = queue

    async def poll_s(self) -> float:
        """How soon a watcher should look at the ledger by itself."""
        try:
            healthy = await self._queue.ping()
        except QueueUnavailableError:
            healthy = False
        return RELAXED_POLL_S if healthy else EAGER_POLL_S

    async def events(self, task: Task, *, after: int = 0) -> AsyncIterator[Seen]:
        """Events of one task with `seq > after`, then live; ends after the terminal `state` event.

        The newest known progress comes first, so that a late watcher need not wait for the next tick.
        """
        async with self._queue.subscribe(task_channel(task.id), preview_channel(task.id)) as subscription:
            known = await self._known_progress(task)
            while True:
                for event in await self._ledger.events(task.tenant, task.id, after):
                    after = event.seq
                    yield event
                    if event.type == "state" and event.data["status"] in _TERMINAL_STATUSES:
                        return
                if known is not None:
                    yield known
                    known = None
                while (message := await subscription.get(timeout=await self.poll_s())) is not None:
                    channel, data = message
                    if channel == preview_channel(task.id):
                        yield Passing("preview", data)
                    elif is_progress(data):
                        yield Passing("progress", data)
                    else:
                        break
                else:
                    yield Idle()
                    if await self._ledger.get(task.tenant, task.id) is None:
                        return

    async def _known_progress(self, task: Task) -> Passing | None:
        try:
            kept = (await self._queue.get_progress([task.id])).get(task.id)
        except QueueUnavailableError:
            kept = None
        if kept is None or kept.get("attempt") != task.attempt or task.state not in ACTIVE:
            return None
        return Passing("progress", progress_notice(task.id, task.status, kept.get("progress"), kept.get("stage")))

    async def until_terminal(self, task: Task, wait_s: float) -> Task:
        """The task as soon as it is terminal, or as it is after `wait_s` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        async with self._queue.subscribe(task_channel(task.id)) as subscription:
            while True:
                current = await self._ledger.get(task.tenant, task.id) or task
                left = end - loop.time()
                if current.terminal or left <= 0:
                    return current
                wake_at = loop.time() + min(left, await self.poll_s())
                while (rest := wake_at - loop.time()) > 0:
                    message = await subscription.get(timeout=rest)
                    if message is not None and not is_progress(message[1]):
                        break

    async def feed(self, tenant: str) -> AsyncIterator[tuple[Task, Event] | Idle]:
        """State changes of all of a tenant's tasks from now on; best effort, no replay."""
        async with self._queue.subscribe(tenant_channel(tenant)) as subscription:
            yield Idle()  # from here on nothing is missed
            while True:
                message = await subscription.get(timeout=RELAXED_POLL_S)
                if message is None:
                    yield Idle()
                    continue
                for task_id, seq in message[1]["changes"]:
                    task = await self._ledger.get(tenant, task_id)
                    for event in await self._ledger.events(tenant, task_id, seq - 1) if task is not None else []:
                        if event.seq == seq and task is not None:
                            yield task, event
