"""The reconciler: makes the queue agree with the ledger, and moves on what nobody else will.

Every step is idempotent and guarded by the state machine, so it may run in any number of processes. What it repairs:
tasks of dead workers, hints that were lost or wiped, delayed tasks that became due, passed deadlines, old data.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from genpulse.core import hosts, lifecycle, states
from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.files import FileService
from genpulse.core.ledger import Ledger
from genpulse.core.metrics import Metrics
from genpulse.core.models import SECOND, DueTask, Micros, State, Task
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.registry import Registry
from genpulse.core.signals import Signals
from genpulse.core.states import Step
from genpulse.errors import RequestError

_log = logging.getLogger(__name__)

_PAGE = 500
_PAGES = 40
_RETRY_S = 0.3
_IDEMPOTENCY_DAYS = 7
_DAY: Micros = 86_400 * SECOND
_AHEAD: Micros = 2 * SECOND
"""Delayed tasks are looked for so long before they are due; longer than the pause between two looks."""
_LATE_S = 0.005


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two runs of each chore."""

    due_s: float = 1.0
    rescue_s: float = 1.0
    hints_s: float = 2.0
    retention_s: float = 300.0


class Reconciler:
    """Runs its chores side by side until cancelled."""

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        signals: Signals,
        files: FileService,
        registry: Registry,
        *,
        pools: Iterable[str],
        lease_s: float,
        ageing_s: float,
        retention_days: float,
        pace: Pace | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._signals = signals
        self._files = files
        self._registry = registry
        self._ageing: Micros = int(ageing_s * SECOND)
        self._pools = tuple(pools)
        self._lease: Micros = int(lease_s * SECOND)
        self._retention_days = retention_days
        self._pace = pace or Pace()
        self._metrics = metrics or Metrics()
        self._hinted: tuple[Micros, str] | None = None
        """How far delayed tasks have been looked for: `(available_at, id)`."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cursors: dict[str, tuple[int, Micros, str] | None] = {}

    async def run(self) -> None:
        """Repair until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every(self._pace.rescue_s, self.rescue))
                group.create_task(self._every(self._pace.due_s, self.wake_due))
                group.create_task(self._every(self._pace.hints_s, self.mend_hints))
                group.create_task(self._every(self._pace.retention_s, self.forget_old))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[object]]) -> None:
        while True:
            pause_s = seconds
            try:
                await chore()
            except (RequestError, QueueUnavailableError) as error:
                reraise_cancellation(error)
                _log.debug("%s put off: %s", chore.__name__, error)
                pause_s = min(seconds, _RETRY_S)  # what was lost in an outage is mended as soon as it is over
            except Exception as error:  # noqa: BLE001 - the other chores, and this one's next turn, must go on
                reraise_cancellation(error)
                _log.exception("%s failed", chore.__name__)
            reraise_cancellation()
            await asyncio.sleep(pause_s * random.uniform(0.9, 1.1))  # noqa: S311 - keeps processes from marching in step

    # Dead workers -----------------------------------------------------------------------------------------------

    async def rescue(self, *, at_start: bool = False) -> int:
        """Requeue the tasks of workers that stopped beating; returns how many.

        Args:
            at_start: bury workers of this host at once whose process is gone, without waiting for their leases. Only
                before this process has a worker of its own. One that lives, a `start-worker` say, keeps its tasks.
        """
        dead = await self._ledger.bury_workers(self._lease)
        for worker in await self._ledger.workers() if at_start else ():
            if hosts.surely_gone(worker["info"]):
                await self._ledger.retire_worker(str(worker["id"]))
                dead.append(worker)
        crashed = {str(worker["id"]) for worker in dead if hosts.crashed(worker["info"])}
        rescued = 0
        while orphans := await self._ledger.orphans(_PAGE):
            changes = [self._ledger.change(task.id, self._rescue_step(task, crashed)) for task in orphans]
            for changed in await asyncio.gather(*changes):
                if changed.done and changed.task is not None:
                    rescued += 1
                    lifecycle.rescued(self._metrics, changed.task)
                    self._signals.changed(changed.task)
                    if not changed.task.terminal:
                        self._signals.hint(changed.task)
        if rescued:
            _log.warning("%d tasks rescued from dead workers", rescued)
        return rescued

    def _rescue_step(self, task: Task, crashed: set[str]) -> Step:
        """Suspects are tasks that executed code of ours in a process that died by itself (invariant 11)."""
        model = self._registry.model(task.model)
        ran_our_code = model is not None and model.backend is None and task.state == State.RUNNING
        suspect = ran_our_code and task.worker_id in crashed
        return states.rescue(task.worker_id or "", suspect=suspect)

    # Time -------------------------------------------------------------------------------------------------------

    async def wake_due(self) -> None:
        """Hint delayed tasks that became due, age `low` ones, fail waiting ones whose deadline has passed."""
        now = await self._ledger.now()
        await self._hint_delayed(now)
        for task_id in await self._ledger.ageing(now - self._ageing, _PAGE):
            changed = await self._ledger.change(task_id, states.age)
            if changed.done and changed.task is not None:
                await self._queue.requeue(changed.task)
        for task_id in await self._ledger.overdue(_PAGE):
            changed = await self._ledger.change(task_id, states.expire)
            if changed.done and changed.task is not None:
                self._signals.changed(changed.task)
                await self._queue.remove_task(changed.task.pool, task_id)

    async def _hint_delayed(self, now: Micros) -> None:
        for _ in range(_PAGES):
            due = await self._ledger.newly_due(self._hinted or (now - self._lease, ""), now + _AHEAD, _PAGE)
            for task in due:
                self._hint_in(task, (task.available_at - now) / SECOND)
            if len(due) < _PAGE:
                # A little back: tasks may have been accepted meanwhile that are due before these.
                self._hinted = (now - SECOND, "")
                return
            self._hinted = (due[-1].available_at, due[-1].id)

    def _hint_in(self, task: DueTask, delay_s: float) -> None:
        """Hint a task at the moment it becomes due, so that it doesn't wait for the next look."""
        if delay_s <= 0:
            self._signals.hint(task)
            return

        def hint() -> None:
            del self._timers[task.id]
            self._signals.hint(task)

        if task.id not in self._timers:
            # A little late, since the claim asks the database's clock: one that comes too early is refused.
            self._timers[task.id] = asyncio.get_running_loop().call_later(delay_s + _LATE_S, hint)

    # Hints ------------------------------------------------------------------------------------------------------

    async def mend_hints(self) -> None:
        """Rebuild all hints after a wipe; else check the head of each queue and a rolling window behind it."""
        if await self._queue.generation() is None:
            count = 0
            for pool in self._pools:
                count += await self._rebuild(pool)
            await self._queue.mark_generation()
            _log.info("the queue was empty: %d hints rebuilt from the ledger", count)
            return
        for pool in self._pools:
            head = await self._ledger.due(pool, _PAGE)
            await self._mend(pool, head)
            if len(head) == _PAGE:
                after = self._cursors.get(pool) or _place(head[-1])
                window = await self._ledger.due(pool, _PAGE, after=after)
                await self._mend(pool, window)
                self._cursors[pool] = _place(window[-1]) if len(window) == _PAGE else None

    async def _rebuild(self, pool: str) -> int:
        """In order of priority and age, so that the first pages are what runs next; fairness re-emerges from it."""
        count, after = 0, None
        while page := await self._ledger.due(pool, _PAGE, after=after):
            count += await self._queue.push_task(*page)
            after = _place(page[-1])
            if len(page) < _PAGE:
                break
        return count

    async def _mend(self, pool: str, tasks: list[DueTask]) -> None:
        """Push what is missing; move what isn't where its rank belongs, since the queue was away when that changed."""
        if not tasks:
            return
        missing = set(await self._queue.missing(pool, [task.id for task in tasks]))
        if missing:
            # Some were popped a moment ago and are being claimed: a repeated hint of theirs is refused by the claim.
            await self._queue.push_task(*(task for task in tasks if task.id in missing))
        # A rank that changed since it was read is put back to the old place here; the next turn reads the new one.
        await self._queue.requeue(*tasks)

    # Old data ---------------------------------------------------------------------------------------------------

    async def forget_old(self) -> None:
        """Remove finished tasks and uploads beyond the retention time, and old idempotency keys."""
        now = await self._ledger.now()
        await self._ledger.purge_idempotency(now - _IDEMPOTENCY_DAYS * _DAY)
        if not self._retention_days:
            return
        before = now - int(self._retention_days * _DAY)
        while tasks := await self._ledger.expired_tasks(before, _PAGE):
            for task in tasks:
                await self._files.delete(*await self._ledger.files_of(task.id))
                await self._ledger.delete(task.tenant, task.id)
        while uploads := await self._ledger.expired_uploads(before, _PAGE):
            await self._files.delete(*uploads)


def _place(task: DueTask) -> tuple[int, Micros, str]:
    return task.rank, task.available_at, task.id
