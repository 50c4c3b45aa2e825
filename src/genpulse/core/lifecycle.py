"""What operators are told of a task's life: for each turn a metric and a log line that names the task.

Called where the turn happens, after its commit, once. Says ids, names, codes and durations; never params, messages or
URLs.
"""

from __future__ import annotations

import logging
from typing import Any

from genpulse import logs
from genpulse.core.metrics import Metrics
from genpulse.core.models import SECOND, Micros, State, Task
from genpulse.core.traceparent import trace_id_of

_log = logging.getLogger(__name__)


def log_fields(task: Task) -> dict[str, Any]:
    """What every log line about a task carries."""
    return {
        "task_id": task.id,
        "attempt": task.attempt,
        "worker_id": task.worker_id,
        "trace_id": trace_id_of(task.options.get("traceparent")),
    }


def accepted(metrics: Metrics, task: Task) -> None:
    metrics.tasks_accepted.of(task.pool, task.task_type, task.model).inc()
    _tell(logging.DEBUG, task, "accepted: %s on %s, pool %s", task.task_type, task.model, task.pool)


def started(metrics: Metrics, task: Task) -> None:
    """It was claimed by a worker that runs it now."""
    # A later start waited since its requeueing, of which the row has no start: only the first one is measured.
    if task.started_at is not None and task.started_at >= task.available_at:
        waited_s = _seconds(task.available_at, task.started_at)
        metrics.task_queue_wait_seconds.of(task.pool).observe(waited_s)
    _tell(logging.INFO, task, "started: attempt %d on %s", task.attempt, task.model)


def ended(metrics: Metrics, task: Task) -> None:
    """It reached a terminal state."""
    code = str(task.error["code"]) if task.error else ""
    metrics.tasks_ended.of(task.status, task.model, code).inc()
    if task.started_at is None or task.finished_at is None:
        _tell(logging.INFO, task, "%s before it started: %s", task.status, code)
        return
    ran_s = _seconds(task.started_at, task.finished_at)
    metrics.task_run_seconds.of(task.model, task.status).observe(ran_s)
    if task.state == State.SUCCEEDED:
        _tell(logging.INFO, task, "%s after %.3f s", task.status, ran_s)
    else:
        _tell(logging.INFO, task, "%s after %.3f s: %s", task.status, ran_s, code)


def retried(metrics: Metrics, task: Task, code: str) -> None:
    """An attempt failed, and the task waits for the next one."""
    metrics.tasks_retried.of(task.model, code).inc()
    _tell(logging.INFO, task, "queued again for attempt %d: %s", task.attempt, code)


def rescued(metrics: Metrics, task: Task) -> None:
    """It was taken from a dead worker."""
    metrics.tasks_rescued.of(task.pool).inc()
    _tell(logging.WARNING, task, "rescued from a dead worker")


def handed_back(metrics: Metrics, task: Task) -> None:
    """A worker that stops returned it unharmed."""
    metrics.tasks_handed_back.of(task.pool).inc()
    _tell(logging.INFO, task, "handed back by a worker that stops")


def _seconds(start: Micros, end: Micros) -> float:
    return max(0, end - start) / SECOND


def _tell(level: int, task: Task, message: str, *values: object) -> None:
    if _log.isEnabledFor(level):
        with logs.bound(**log_fields(task)):
            _log.log(level, f"task %s {message}", task.id, *values)
