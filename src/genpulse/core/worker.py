"""The worker: claims due tasks of its pools and runs them as coroutines, as many at once as each pool has slots.

It holds its tasks by one heartbeat row (invariant 3). When that row is gone, it has been declared dead: it drops all
tasks, untouched, and starts anew under another id. On `stop` it lets running tasks finish for a while, then hands the
rest back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager

from genpulse.core import hosts, states
from genpulse.core.attempt import Attempt, Stop, Tools
from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.ids import new_id
from genpulse.core.models import Micros, Task
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.signals import CANCEL_CHANNEL, POOLS_CHANNEL
from genpulse.errors import RequestError

_log = logging.getLogger(__name__)

_POP_S = 5.0
_LEDGER_POLL_S = 1.0
"""How often a worker looks for due tasks in the ledger while the queue is out of reach (invariant 1)."""
_HAND_BACK_S = 5.0
_LOOK_S = 5.0
"""Between two looks for tasks that this worker owns and doesn't run; a claim takes no longer."""


class Worker:
    """Runs the tasks of some pools until `stop`."""

    def __init__(self, tools: Tools, queue: Queue, *, pools: Mapping[str, int], lease_s: float, drain_s: float) -> None:
        self.id = new_id()
        self._tools = tools
        self._ledger = tools.ledger
        self._queue = queue
        self._pools = {name: slots for name, slots in pools.items() if slots > 0}
        self._lease_s = lease_s
        self._drain_s = drain_s
        self._attempts: dict[str, Attempt] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.paused: frozenset[str] = frozenset()
        """Pools that start nothing now."""
        self._pools_changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._beat_at = time.monotonic()
        self.stuck = False
        """Blocking code didn't end when this worker stopped; its process must end before its lease does."""
        self.ready = asyncio.Event()
        """Set once the worker is registered and takes tasks."""

    def stop(self, *, drain_s: float | None = None) -> None:
        """Take no new tasks; let the running ones finish for a while, then hand them back."""
        if drain_s is not None:
            self._drain_s = min(self._drain_s, drain_s)
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`; returns when every task is finished or handed back."""
        await self._register()
        with contextlib.suppress(RequestError):
            await self._look_for_pauses()
        async with self._loops():
            self.ready.set()
            await self._stopping.wait()
        async with self._background(self._beat()):
            await self._drain()
        try:
            if not self.stuck:  # else its row must stay: nobody may take over what a thread of this process still does
                await self._ledger.retire_worker(self.id)
        except RequestError:
            _log.warning("the ledger can't be reached; this worker's lease will run out")
        await self._tools.isolation.close()
        await self._tools.backends.close()

    @asynccontextmanager
    async def _loops(self) -> AsyncGenerator[None]:
        poppers = [self._pop(pool, slots) for pool, slots in self._pools.items()]
        async with self._background(self._beat(), self._hear(), self._poll(), *poppers):
            yield

    @asynccontextmanager
    async def _background(self, *coroutines: Coroutine[None, None, None]) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Lease ------------------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        info = hosts.identify() | {"pools": self._pools}
        while True:
            try:
                self._beat_at = time.monotonic()
                await self._ledger.register_worker(self.id, info)
            except RequestError as error:
                _log.warning("worker can't register yet: %s", error.message)
                await asyncio.sleep(_LEDGER_POLL_S)
            else:
                return

    async def _beat(self) -> None:
        """Renew the lease; drop everything when it is lost, or may be."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            asked_at = time.monotonic()  # before the write: the lease runs from then at the latest
            try:
                alive = await self._ledger.heartbeat(self.id)
            except RequestError as error:
                _log.warning("heartbeat failed: %s", error.message)
                if time.monotonic() - self._beat_at > self._lease_s * 0.9:
                    self._drop_all()
                continue
            if alive:
                self._beat_at = asked_at
                continue
            _log.error("this worker was declared dead; it drops its tasks and starts anew")
            self._drop_all()
            self.id = new_id()
            await self._register()

    def _drop_all(self) -> None:
        for attempt in self._attempts.values():
            attempt.stop(Stop.LOST)

    # Take tasks -------------------------------------------------------------------------------------------------

    async def _pop(self, pool: str, slots: int) -> None:
        free = asyncio.Semaphore(slots)
        while True:
            await free.acquire()
            try:
                while pool in self.paused:
                    await self._pools_changed.wait()
                task_ids = await self._next(pool)
            except asyncio.CancelledError:
                free.release()
                raise
            if not task_ids:
                free.release()
                reraise_cancellation()
                continue
            self._start(pool, task_ids, free)
            # The ledger names several: one slot each, as long as some are free. Each has the rest as candidates, since
            # other workers look at the same page.
            for taken in range(1, len(task_ids)):
                if free.locked():
                    break
                await free.acquire()
                self._start(pool, task_ids[taken:], free)

    async def _next(self, pool: str) -> list[str]:
        """What to run next, best first: the queue's hint, or without the queue a page of the ledger."""
        try:
            task_id = await self._queue.pop_task(pool, _POP_S)
        except QueueUnavailableError:
            await asyncio.sleep(_LEDGER_POLL_S)
            if pool in self.paused:  # since this slot began to look
                return []
            try:
                return [task.id for task in await self._ledger.due(pool, 20)]
            except RequestError:
                return []
        if task_id is not None and pool in self.paused:
            await self._put_back(task_id)  # the pool was paused while this pop was waiting
            return []
        return [task_id] if task_id is not None else []

    async def _put_back(self, task_id: str) -> None:
        with contextlib.suppress(RequestError):
            task = await self._ledger.get_any(task_id)
            if task is not None:
                self._tools.signals.hint(task)

    def _start(self, pool: str, task_ids: list[str], free: asyncio.Semaphore) -> None:
        running = asyncio.create_task(self._claim_and_run(task_ids), name=f"slot of {pool}")
        self._running.add(running)

        def ended(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            free.release()
            if not done.cancelled() and done.exception() is not None:
                _log.error("a slot of %s broke", pool, exc_info=done.exception())

        running.add_done_callback(ended)

    async def _claim_and_run(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            claimed = await self._claim(task_id)
            if claimed is None:
                continue
            task, claimed_at = claimed
            attempt = Attempt(task, self._tools, claimed_at)
            superseded = self._attempts.get(task.id)
            if superseded is not None:  # taken from this worker and claimed by it again: the old run must not go on
                superseded.stop(Stop.LOST)
            self._attempts[task.id] = attempt
            try:
                await attempt.run()
            finally:
                if self._attempts.get(task.id) is attempt:
                    del self._attempts[task.id]
            return

    async def _claim(self, task_id: str) -> tuple[Task, Micros] | None:
        """The claimed task and when; None when it isn't due any more: hints may be stale, repeated or forged."""
        try:
            changed = await self._ledger.change(task_id, states.claim(self.id))
        except RequestError as error:
            _log.warning("claim failed: %s", error.message)
            return None
        if not changed.done or changed.task is None:
            return None
        self._tools.signals.changed(changed.task)
        return None if changed.task.terminal else (changed.task, changed.at)

    # Listen -----------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        async with self._queue.subscribe(CANCEL_CHANNEL, POOLS_CHANNEL) as subscription:
            while True:
                message = await subscription.get()
                if message is None:
                    continue
                if message[0] == CANCEL_CHANNEL:
                    self._cancel(str(message[1].get("task_id")))
                else:
                    with contextlib.suppress(RequestError):
                        await self._look_for_pauses()

    async def _poll(self) -> None:
        """Without the queue, and for lost messages: look into the ledger about once a second."""
        unattended: Mapping[str, int] = {}
        look_at = 0.0
        while True:
            with contextlib.suppress(RequestError):
                await self._look_for_pauses()
                for task_id in await self._ledger.cancel_requested(self.id) if self._attempts else ():
                    self._cancel(task_id)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_S
                    unattended = await self._give_back_unattended(unattended)
            reraise_cancellation()
            await asyncio.sleep(_LEDGER_POLL_S)

    async def _give_back_unattended(self, before: Mapping[str, int]) -> Mapping[str, int]:
        """Hand back what this worker owns and doesn't run, and did so at the last look already.

        That can be when the database committed a write and its answer was lost: of a claim, or of a step that was then
        refused as repeated. As long as this worker lives, nobody else would take such a task.
        """
        owned = await self._ledger.owned(self.id)
        found = {task_id: fence for task_id, fence in owned.items() if task_id not in self._attempts}
        for task_id, fence in found.items():
            if before.get(task_id) != fence:
                continue
            changed = await self._ledger.change(task_id, states.hand_back(fence))
            if changed.done and changed.task is not None:
                _log.warning("task %s was owned and not run by this worker; handed back", task_id)
                self._tools.signals.changed(changed.task)
                self._tools.signals.hint(changed.task)
        return found

    async def _look_for_pauses(self) -> None:
        paused = await self._ledger.paused_pools()
        if paused != self.paused:
            self.paused = paused
            self._pools_changed.set()
            self._pools_changed = asyncio.Event()

    def _cancel(self, task_id: str) -> None:
        attempt = self._attempts.get(task_id)
        if attempt is not None:
            attempt.stop(Stop.CANCEL)

    # Stop -------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        if self._running:
            _log.info("waiting up to %g s for %d running tasks", self._drain_s, len(self._running))
            await asyncio.wait(self._running, timeout=self._drain_s)
        for attempt in self._attempts.values():
            attempt.stop(Stop.DRAIN)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_HAND_BACK_S)
            self.stuck = bool(late)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
