"""The backlog as metrics: what waits and runs by pool, and whether the parts can be reached.

A `Source` of `core.metrics` for gateways: looked up when somebody scrapes, and so seldom that it costs little however
many tasks wait. It tells of the whole system, so several gateways say the same: take the maximum, not the sum.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from genpulse.core.ledger import Ledger, PoolCount
from genpulse.core.metrics import PREFIX
from genpulse.core.models import ACTIVE, State
from genpulse.core.patience import within
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.registry import Model, Registry
from genpulse.errors import RequestError

_KEPT_S = 2.0
_LARGE = 50_000
_LARGE_KEPT_S = 10.0
"""Counting 1 M queued rows takes 44-122 ms (reliability study, 2.2)."""
_SHARE = 50
"""Looking it up may take one part in so many of the time, should it be slow for another reason."""
_LIMIT_S = 3.0
"""Longer than this no scrape is held up by a database that doesn't answer."""
_STATES = (State.QUEUED, *sorted(ACTIVE))


@dataclass(slots=True)
class _Seen:
    """What was found at the last look. Parts that didn't answer are left out."""

    counts: Sequence[PoolCount] | None = None
    paused: frozenset[str] = frozenset()
    workers: int = 0
    hints: Mapping[str, int] | None = None
    models: Mapping[str, bool] = field(default_factory=dict[str, bool])


class Backlog:
    """Implements `core.metrics.Source`."""

    def __init__(
        self, ledger: Ledger, queue: Queue, registry: Registry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._registry = registry
        self._clock = clock
        self._seen = _Seen()
        self._fresh_until = float("-inf")
        self._looking = asyncio.Lock()

    async def refresh(self) -> None:
        async with self._looking:
            began = self._clock()
            if began < self._fresh_until:
                return
            seen = _Seen(models={model.id: not (model.available and model.available()) for model in self._models()})
            await self._look_at_ledger(seen)
            await self._look_at_queue(seen)
            self._seen = seen
            ended = self._clock()
            waiting = sum(count.tasks for count in seen.counts or ())
            kept_s = _KEPT_S if waiting < _LARGE else _LARGE_KEPT_S
            self._fresh_until = ended + max(kept_s, (ended - began) * _SHARE)

    async def _look_at_ledger(self, seen: _Seen) -> None:
        with contextlib.suppress(RequestError, TimeoutError):  # that it is down is what the metrics then say
            paused = await within(_LIMIT_S, self._ledger.paused_pools())
            workers = len(await within(_LIMIT_S, self._ledger.workers()))
            seen.counts, seen.paused = await within(_LIMIT_S, self._ledger.backlog()), paused
            seen.workers = workers

    async def _look_at_queue(self, seen: _Seen) -> None:
        with contextlib.suppress(QueueUnavailableError):
            seen.hints = {pool: await self._queue.depth(pool) for pool in sorted(self._pools(seen))}

    def _models(self) -> Sequence[Model]:
        return self._registry.models

    def _pools(self, seen: _Seen) -> set[str]:
        """Those that models name now, and those of tasks that were accepted when others did."""
        return {model.pool for model in self._models()} | {count.pool for count in seen.counts or ()}

    def collect(self) -> Iterable[Metric]:
        """The metrics of the last look."""
        seen = self._seen
        up = _gauge("component_up", "Can it be reached? 1 or 0.", "component")
        up.add_metric(["database"], seen.counts is not None)
        up.add_metric(["queue"], seen.hints is not None)
        available = _gauge("model_available", "Can the model run here? 1 or 0.", "model")
        for model, can_run in seen.models.items():
            available.add_metric([model], can_run)
        return [up, available, self._hints(seen), *self._of_ledger(seen)]

    def _hints(self, seen: _Seen) -> Metric:
        hints = _gauge("queue_hints", "Hints in the queue: tasks that a worker could pop now.", "pool")
        for pool, depth in (seen.hints or {}).items():
            hints.add_metric([pool], depth)
        return hints

    def _of_ledger(self, seen: _Seen) -> list[Metric]:
        tasks = _gauge("queue_tasks", "Unfinished tasks in the ledger; delayed ones are queued, too.", "pool", "state")
        oldest = _gauge("queue_oldest_seconds", "For how long the oldest queued task has been due.", "pool")
        paused = _gauge("pool_paused", "Does the pool start nothing? 1 or 0.", "pool")
        workers = GaugeMetricFamily(f"{PREFIX}workers", "Workers that hold a lease.")
        if seen.counts is not None:
            found = {(count.pool, count.state): count for count in seen.counts}
            for pool in sorted(self._pools(seen)):
                for state in _STATES:
                    count = found.get((pool, state))
                    tasks.add_metric([pool, state], count.tasks if count else 0)
                queued = found.get((pool, State.QUEUED))
                oldest.add_metric([pool], queued.oldest_due_s if queued else 0)
                paused.add_metric([pool], pool in seen.paused)
            workers.add_metric([], seen.workers)
        return [tasks, oldest, paused, workers]


def _gauge(name: str, help: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}{name}", help, labels=labels)
