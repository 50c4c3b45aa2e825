"""What an operator can do with the queue: look at pools, pause and resume them, change the order of waiting tasks.

Works on the tasks of every tenant: whoever calls it must have made sure that an administrator asks. The ledger is
changed first (invariant 1), then the queue and the workers are told; what doesn't reach them now they find by
themselves: workers look for pauses about once a second, the reconciler moves hints to where the ledger wants them.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genpulse.core import states
from genpulse.core.ledger import Ledger, PoolCount
from genpulse.core.models import ACTIVE, PRIORITY_RANK, Json, Priority, State, Task
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.registry import Registry
from genpulse.core.signals import POOLS_CHANNEL
from genpulse.core.states import Step
from genpulse.errors import RequestError

_COUNT_CACHE_S = 2.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as operators see it."""

    name: str
    paused: bool
    """Its workers start nothing; what runs goes on."""
    queued: int
    """Tasks that wait, delayed ones included; counted every two seconds."""
    running: int
    slots: int
    """What its live workers run at once."""
    workers: int


class Operations:
    """The use cases of operators."""

    def __init__(self, ledger: Ledger, queue: Queue, registry: Registry, *, pools: Iterable[str]) -> None:
        """`pools`: the names in the settings, known also when no model names them."""
        self._ledger = ledger
        self._queue = queue
        self._registry = registry
        self._pools = frozenset(pools)
        self._counts: tuple[float, Sequence[PoolCount]] | None = None

    # Pools ------------------------------------------------------------------------------------------------------

    async def pools(self) -> list[Pool]:
        """All pools that models, settings, live workers or tasks name, or that were paused; by name."""
        paused = await self._ledger.pools()
        counts = await self._cached_counts()
        queued = {count.pool: count.tasks for count in counts if count.state == State.QUEUED}
        running = Counter[str]()
        for count in counts:
            running[count.pool] += count.tasks if count.state in ACTIVE else 0
        slots = _slots(await self._ledger.workers())
        named = {model.pool for model in self._registry.models} | self._pools
        return [
            Pool(
                name,
                paused.get(name, False),
                queued.get(name, 0),
                running[name],
                sum(slots.get(name, ())),
                len(slots.get(name, ())),
            )
            for name in sorted(named | paused.keys() | queued.keys() | running.keys() | slots.keys())
        ]

    async def pause(self, name: str) -> Pool:
        """Let a pool start nothing more. Its running tasks go on, new ones are accepted and wait.

        Raises:
            RequestError: `not_found`.
        """
        return await self._set_paused(name, paused=True)

    async def resume(self, name: str) -> Pool:
        """Let a pool start tasks again.

        Raises:
            RequestError: `not_found`.
        """
        return await self._set_paused(name, paused=False)

    async def _set_paused(self, name: str, *, paused: bool) -> Pool:
        await self._find(name)
        await self._ledger.pause_pool(name, paused=paused)
        with contextlib.suppress(QueueUnavailableError):  # workers look into the ledger as well
            await self._queue.publish((POOLS_CHANNEL, {"pool": name, "paused": paused}))
        return await self._find(name)

    async def _find(self, name: str) -> Pool:
        for pool in await self.pools():
            if pool.name == name:
                return pool
        raise RequestError("not_found", "There is no pool with this name; GET /pools lists them.")

    async def _cached_counts(self) -> Sequence[PoolCount]:
        # As slow as the counts of `TaskService.status`, and asked for as often by whoever watches the queue.
        now = time.monotonic()
        if self._counts is None or now - self._counts[0] > _COUNT_CACHE_S:
            self._counts = (now, await self._ledger.backlog())
        return self._counts[1]

    # Order ------------------------------------------------------------------------------------------------------

    async def move_to_front(self, task_id: str) -> Task:
        """Let a waiting task run before all others of its pool, `high` ones included; the latest moved is the first.

        Raises:
            RequestError: `not_found`; `invalid_request` (409) when it isn't waiting any more.
        """
        task = await self._ledger.get_any(task_id)
        least = None if task is None else await self._ledger.least_rank(task.pool, besides=task_id)
        return await self._reorder(task_id, states.move_to_front(PRIORITY_RANK["high"] if least is None else least))

    async def prioritise(self, task_id: str, priority: Priority) -> Task:
        """Change the priority of a waiting task; it goes to the end of that class, also when it was at the front.

        Raises:
            RequestError: `not_found`; `invalid_request` (409) when it isn't waiting any more.
        """
        return await self._reorder(task_id, states.reprioritise(priority))

    async def _reorder(self, task_id: str, step: Step) -> Task:
        task = (await self._ledger.change(task_id, step)).task
        if task is None:
            raise RequestError("not_found", "There is no task with this id.")
        if task.state != State.QUEUED:
            # The table of codes is closed. `not_finished` would say "wait for its end", `not_retryable` speaks of
            # something else: the request is at odds with the task's state, which is what 409 adds to this code.
            message = f"The task is {task.status}; only one that is still waiting has a place to change."
            raise RequestError("invalid_request", message, status=409)
        # Without the queue workers claim by rank from the ledger, and the reconciler moves the hint afterwards.
        with contextlib.suppress(QueueUnavailableError):
            if task.available_at <= await self._ledger.now():
                await self._queue.push_task(task)  # its first hint may be on its way: then that one comes too late
            await self._queue.requeue(task)
        return task


def _slots(workers: Iterable[Json]) -> dict[str, list[int]]:
    """The slots of each live worker, by pool."""
    found: dict[str, list[int]] = {}
    for worker in workers:
        for name, slots in worker["info"].get("pools", {}).items():
            found.setdefault(name, []).append(slots)
    return found
