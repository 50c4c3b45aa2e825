"""The metrics of one process, in a registry of its own, so that several systems can live in one process.

To add one: a line in `Metrics`, a call where it happens, a row in `docs/observability.md` (a test compares them).
Promises bounded label sets; refuses tenants, task ids and whatever else a client chooses freely as labels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric

PREFIX = "genpulse_"
OTHER = "other"
"""Stands for all label values beyond what one metric keeps apart."""
_MAX_CHILDREN = 500

_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Buckets for what should take milliseconds; up to the longest wait of a request."""
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Buckets for what may take an hour."""
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# A second series per counter and histogram that says when it began: Prometheus finds resets without.
prometheus_client.disable_created_metrics()

Child = TypeVar("Child", Counter, Histogram)


class Family(Generic[Child]):
    """A metric with labels; `of` gives the one for some label values.

    Its children are kept at hand: prometheus-client's own look-up takes twice as long as the counting.
    """

    def __init__(self, metric: Child, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._metric = metric
        self._others = (OTHER,) * len(self.labels)
        self._children: dict[tuple[str, ...], Child] = {}

    def of(self, *labels: str) -> Child:
        child = self._children.get(labels)
        return child if child is not None else self._make(labels)

    def _make(self, labels: tuple[str, ...]) -> Child:
        # Models come and go with workflows: what scrapes and memory cost must not grow with them for ever.
        kept = labels if len(self._children) < _MAX_CHILDREN else self._others
        child = self._metric.labels(*kept)
        if kept is labels:
            self._children[labels] = child
        return child


class Source(Protocol):
    """Metrics that are looked up when somebody asks, instead of counted as they happen."""

    async def refresh(self) -> None:
        """Look them up; called before each `collect`. Bounds its own cost and raises nothing."""
        ...

    def collect(self) -> Iterable[Metric]: ...


class Metrics:
    """What this process counts and measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._sources: list[Source] = []
        ProcessCollector(registry=self.registry)
        self.build = Info(f"{PREFIX}build", "The running version.", registry=self.registry)

        # A task's life
        self.tasks_accepted = self._counters("tasks_accepted", "Tasks accepted.", "pool", "task_type", "model")
        self.tasks_ended = self._counters("tasks_ended", "Tasks that ended.", "status", "model", "error_code")
        self.tasks_retried = self._counters("tasks_retried", "Failed attempts to be repeated.", "model", "error_code")
        self.tasks_rescued = self._counters("tasks_rescued", "Tasks taken from dead workers.", "pool")
        self.tasks_handed_back = self._counters("tasks_handed_back", "Tasks returned by stopping workers.", "pool")
        self.submissions = self._counters("submissions", "Jobs sent to backends that may bill.", "model", "outcome")
        self.task_accept_seconds = self._histogram("task_accept_seconds", "From submit to commit.", _FAST_S)
        self.task_queue_wait_seconds = self._histograms(
            "task_queue_wait_seconds", "From due to its first start.", _SLOW_S, "pool"
        )
        self.task_run_seconds = self._histograms(
            "task_run_seconds", "From its first start to its end.", _SLOW_S, "model", "status"
        )

        # The parts
        self.http_request_seconds = self._histograms(
            *("http_request_duration_seconds", "From a request to the head of its answer.", _FAST_S),
            *("route", "method", "status"),
        )
        self.ledger_transaction_seconds = self._histogram(
            "ledger_transaction_seconds", "Group commits, with their wait for the database.", _FAST_S
        )
        self.ledger_batch_size = self._histogram("ledger_batch_size", "Writes that shared a commit.", _BATCH)
        self.ledger_errors = self._counters("ledger_errors", "Group commits that failed.", "code")
        self.queue_call_errors = self._counter("queue_call_errors", "Calls to Redis that failed.")
        self.event_loop_lag_seconds = self._histogram(
            "event_loop_lag_seconds", "How late a timer of the event loop fired.", _FAST_S
        )

    def add_source(self, source: Source) -> None:
        """Show the metrics of a source too."""
        self._sources.append(source)
        self.registry.register(source)

    async def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        for source in self._sources:
            await source.refresh()
        # 20 ms of work with 30 models and 30 routes: not on the loop.
        return await asyncio.to_thread(generate_latest, self.registry)

    def _counter(self, name: str, help: str) -> Counter:
        return Counter(f"{PREFIX}{name}", help, registry=self.registry)

    def _counters(self, name: str, help: str, *labels: str) -> Family[Counter]:
        return Family(Counter(f"{PREFIX}{name}", help, labels, registry=self.registry), labels)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}{name}", help, buckets=buckets, registry=self.registry)

    def _histograms(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        metric = Histogram(f"{PREFIX}{name}", help, labels, buckets=buckets, registry=self.registry)
        return Family(metric, labels)
