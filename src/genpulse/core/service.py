"""What clients can do with tasks: submit, look, wait, list, cancel, retry, delete. Every method takes the tenant first.

The gateway translates HTTP to these calls; direct producers and compatible APIs use the same ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from genpulse.core import lifecycle, states
from genpulse.core.files import FileService
from genpulse.core.ids import new_id
from genpulse.core.ledger import Ledger, TaskFilter
from genpulse.core.metrics import Metrics
from genpulse.core.models import ACTIVE, SECOND, Accepted, Event, Json, NewTask, Priority, State, Task
from genpulse.core.patience import within
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.registry import Model, Registry
from genpulse.core.requests import TaskRequest, body_hash, validate
from genpulse.core.signals import CANCEL_CHANNEL, Signals
from genpulse.core.watch import Idle, Seen, Watcher
from genpulse.errors import FieldError, InvalidFieldError, RequestError

_COUNT_CACHE_S = 2.0
_RECOUNT_S = 0.25
"""So long a count that says "full" is believed."""
COUNTED_TENANTS = 1000
"""Tenants whose queued tasks are remembered; of one more, the one that was counted longest ago is counted again."""
_PROBE_S = 2.0
_MAX_SEED = 2**53 - 1
_WITHOUT_EFFECT = ("callback_url", "cache", "sandbox")
"""Fields of the contract that nothing reads yet: said, not silently ignored."""


@dataclass(slots=True)
class _QueuedCount:
    """How many tasks a tenant had queued when counted last, and how many it has submitted since."""

    counted_at: float
    queued: int
    since: int = 0
    refreshing: asyncio.Task[None] | None = None

    @property
    def total(self) -> int:
        return self.queued + self.since


@dataclass(slots=True)
class ServiceStatus:
    """What `GET /status` tells. `components`: name → {"status": ok|degraded|unavailable, "detail"?}."""

    status: str
    components: dict[str, Json]
    pending: int | None
    processing: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant may do."""

    max_queued: int = 0
    """Queued tasks; 0 = no limit. Counted every two seconds, so a burst may overshoot by what arrives meanwhile
    through other gateways."""


class TaskService:
    """The use cases of tasks."""

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        registry: Registry,
        files: FileService,
        signals: Signals,
        *,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.registry = registry
        self.files = files
        self._ledger = ledger
        self._queue = queue
        self._signals = signals
        self._watcher = Watcher(ledger, queue)
        self._limits = limits or Limits()
        self._metrics = metrics or Metrics()
        self._queued: dict[str, _QueuedCount] = {}
        self._counts: tuple[float, Mapping[str, int]] | None = None

    # Submit -----------------------------------------------------------------------------------------------------

    async def submit(
        self,
        tenant: str,
        request: TaskRequest,
        *,
        idempotency_key: str | None = None,
        task_id: str | None = None,
        traceparent: str | None = None,
    ) -> Accepted:
        """Accept a task durably: when this returns, the row is committed (invariant 2).

        Args:
            task_id: an id that a direct producer chose; used again with the same body, the same task is returned.

        Raises:
            RequestError: what is wrong with the request, `queue_full`, `storage_full`, `unavailable`,
                `idempotency_key_reused`.
        """
        key_hash = body_hash(request) if idempotency_key else None
        try:
            model, warnings, seed = self._check(request)
            await self._check_limits(tenant)
        except RequestError:
            # It may have been accepted before the queue was full, say: a repeat then gets its task all the same.
            earlier = (
                await self._ledger.replay(tenant, idempotency_key, key_hash) if idempotency_key and key_hash else None
            )
            if earlier is None:
                raise
            return Accepted(earlier, replayed=True)
        options: Json = {
            "callback_url": request.callback_url,
            "cache": request.cache or None,
            "sandbox": request.sandbox,
            "traceparent": traceparent,
        }
        return await self._accept(
            NewTask(
                id=task_id or new_id(),
                tenant=tenant,
                task_type=request.task_type,
                model=model.id,
                pool=model.pool,
                priority=request.priority,
                params=request.params,
                metadata=request.metadata,
                options={name: value for name, value in options.items() if value is not None},
                seed=seed,
                run_at=int(request.run_at.timestamp() * SECOND) if request.run_at else None,
                deadline_s=request.deadline_s,
                warnings=warnings,
                idempotency_key=idempotency_key,
                body_hash=key_hash,
                given_id=task_id is not None,
            )
        )

    async def _accept(self, new: NewTask) -> Accepted:
        began = time.perf_counter()
        accepted = await self._ledger.accept(new)
        if not accepted.replayed:
            self._metrics.task_accept_seconds.observe(time.perf_counter() - began)
            lifecycle.accepted(self._metrics, accepted.task)
            self._signals.changed(accepted.task)
        return accepted

    def _check(self, request: TaskRequest) -> tuple[Model, list[str], int]:
        """The resolved model, the warnings known now, and the seed."""
        handler = self.registry.handler(request.task_type)
        if handler is None:
            raise InvalidFieldError("task_type", "no handler serves this task type", code="unknown_task_type")
        model_id = request.model or handler.default_model or ""
        model = self.registry.model(model_id)
        if model is None or request.task_type not in model.task_types:
            raise InvalidFieldError("model", "no such model for this task type", code="unknown_model")
        reason = model.available() if model.available else None
        if reason is not None:
            raise RequestError("no_capable_backend", f"{model.id} can't run here: {reason}")
        schema = self.registry.params_of(request.task_type, model)
        params: Any = request.params
        if schema is not None:
            params = validate(schema, request.params, prefix="params", code="invalid_params")
        if not handler.validate_params(request.params):
            message = "the handler refused these params"
            raise RequestError("invalid_params", message, fields=[FieldError("params", message, "invalid_params")])
        warnings = list(model.warn(params)) if model.warn else []
        warnings += [f"{name} is kept, but has no effect yet." for name in _WITHOUT_EFFECT if getattr(request, name)]
        return model, warnings, _seed(request.params)

    async def _check_limits(self, tenant: str) -> None:
        await self.files.check_space()
        limit = self._limits.max_queued
        if not limit:
            return
        count = self._queued.get(tenant)
        age_s = math.inf if count is None else time.monotonic() - count.counted_at
        full = count is not None and count.total >= limit and (count.since or age_s > _RECOUNT_S)
        if count is None or age_s > 2 * _COUNT_CACHE_S or full:
            count = await self._count(tenant, limit)  # nothing is refused because of an old count
        elif age_s > _COUNT_CACHE_S and count.refreshing is None:
            # Counting a large backlog takes long: meanwhile the old count, with what came since, has to do.
            count.refreshing = asyncio.create_task(self._recount(tenant, limit))
        if count.total >= limit:
            raise RequestError("queue_full", f"You have {limit} tasks waiting, which is the limit.", retry_after_s=10)
        count.since += 1

    async def _recount(self, tenant: str, limit: int) -> None:
        with contextlib.suppress(RequestError):  # the next request asks again
            await self._count(tenant, limit)

    async def _count(self, tenant: str, limit: int) -> _QueuedCount:
        asked_at, before = time.monotonic(), self._queued.get(tenant)
        since = before.since if before is not None else 0
        try:
            queued = await self._ledger.queued_of(tenant, limit)
        except RequestError:
            if before is not None:
                before.refreshing = None
            raise
        known = self._queued.pop(tenant, None)
        if known is not None and known.counted_at > asked_at:  # a request beside this one has counted meanwhile
            count = known
        else:
            count = _QueuedCount(time.monotonic(), queued, known.since - since if known is not None else 0)
        self._queued[tenant] = count  # at the end of the order in which they were counted
        if len(self._queued) > COUNTED_TENANTS:
            del self._queued[next(iter(self._queued))]
        return count

    # Look -------------------------------------------------------------------------------------------------------

    async def get(self, tenant: str, task_id: str) -> Task:
        """Raises:
        RequestError: `not_found`, the same for a missing and a foreign task.
        """
        task = await self._ledger.get(tenant, task_id)
        if task is None:
            raise RequestError("not_found", "There is no task with this id.")
        return task

    async def wait(self, task: Task, wait_s: float) -> Task:
        """The task as soon as it is terminal, or as it is after `wait_s` seconds."""
        return task if task.terminal or wait_s <= 0 else await self._watcher.until_terminal(task, wait_s)

    async def list(self, tenant: str, query: TaskFilter) -> list[Task]:
        return await self._ledger.list(tenant, query)

    async def position(self, task: Task) -> int | None:
        """1 = next of the tenant's own waiting tasks; None when it isn't waiting or more than 1,000 are before it."""
        delayed = task.available_at > task.created_at and task.available_at > await self._ledger.now()
        return await self._ledger.position(task) if task.state == State.QUEUED and not delayed else None

    async def progress(self, *tasks: Task) -> Mapping[str, Json]:
        """Newer progress than the rows have, by task id."""
        running = [task.id for task in tasks if task.state in ACTIVE]
        try:
            return await self._queue.get_progress(running) if running else {}
        except QueueUnavailableError:
            return {}

    def events(self, task: Task, *, after: int = 0) -> AsyncIterator[Seen]:
        """Events after `after`, then live ones up to the terminal state."""
        return self._watcher.events(task, after=after if after <= task.last_seq else 0)

    def feed(self, tenant: str) -> AsyncIterator[tuple[Task, Event] | Idle]:
        """State changes of all tasks of a tenant from now on."""
        return self._watcher.feed(tenant)

    # Act --------------------------------------------------------------------------------------------------------

    async def cancel(self, tenant: str, task_id: str) -> Task:
        """Cancel a waiting task at once, ask the worker of a running one; a terminal one stays as it is."""
        task = await self.get(tenant, task_id)
        changed = await self._ledger.change(task_id, states.request_cancel)
        if not changed.done or changed.task is None:
            return changed.task or task
        self._signals.changed(changed.task)
        try:
            if changed.task.terminal:
                self._signals.unhint(changed.task)
                await self._queue.remove_task(task.pool, task_id)
            else:
                await self._queue.publish((CANCEL_CHANNEL, {"task_id": task_id}))
        except QueueUnavailableError:
            pass  # the claim refuses a cancelled task's hint; workers look for cancel requests in the ledger as well
        return changed.task

    async def retry(self, tenant: str, task_id: str, *, traceparent: str | None = None) -> Task:
        """A new task with the same params and seed; it belongs to the trace of who asks, not to that of the old one.

        Raises:
            RequestError: `not_retryable` unless the task failed or was canceled.
        """
        task = await self.get(tenant, task_id)
        if task.state not in {State.FAILED, State.CANCELLED}:
            raise RequestError("not_retryable", f"The task is {task.status}; only a failed or canceled one is retried.")
        await self._check_limits(tenant)
        options = {name: value for name, value in task.options.items() if name != "traceparent"}
        accepted = await self._accept(
            NewTask(
                id=new_id(),
                tenant=tenant,
                task_type=task.task_type,
                model=task.model,
                pool=task.pool,
                priority=Priority(task.priority),
                params=task.params,
                metadata=task.metadata,
                options=options | ({"traceparent": traceparent} if traceparent else {}),
                seed=task.seed,
                retry_of=task.id,
                warnings=task.warnings,
            )
        )
        return accepted.task

    async def delete(self, tenant: str, task_id: str) -> None:
        """Remove a terminal task and its files.

        Raises:
            RequestError: `not_finished`.
        """
        task = await self.get(tenant, task_id)
        if not task.terminal:
            raise RequestError("not_finished", f"The task is {task.status}; cancel it or wait for its end.")
        await self.files.delete(*await self._ledger.files_of(task_id))
        await self._ledger.delete(tenant, task_id)

    # Status -----------------------------------------------------------------------------------------------------

    async def status(self) -> ServiceStatus:
        """Health of the parts and the size of the queue."""
        report = _Health()
        await report.check("database", self._ledger.ping(), fatal=True)
        await report.check("queue", self._queue.ping(), fatal=False)
        await report.check("storage", self.files.check_space(), fatal=True)
        counts: Mapping[str, int] | None = None
        if report.components["database"]["status"] == "ok":
            with contextlib.suppress(RequestError, TimeoutError):  # it has just gone away: no figures
                counts = await within(_PROBE_S, self._cached_counts())
                workers = await within(_PROBE_S, self._ledger.workers())
                report.add("workers", None if workers else "no worker is running", fatal=False, count=len(workers))
        return ServiceStatus(
            report.status,
            report.components,
            pending=None if counts is None else counts.get(State.QUEUED, 0),
            processing=None if counts is None else sum(counts.get(state, 0) for state in ACTIVE),
        )

    async def _cached_counts(self) -> Mapping[str, int]:
        """Tasks by non-terminal state."""
        # Counting 1 M queued rows takes 44–122 ms (reliability study, 2.2): not at each call.
        now = time.monotonic()
        if self._counts is None or now - self._counts[0] > _COUNT_CACHE_S:
            by_state = Counter[str]()
            for count in await self._ledger.backlog():
                by_state[count.state] += count.tasks
            self._counts = (now, by_state)
        return self._counts[1]


@dataclass(slots=True)
class _Health:
    status: str = "ok"
    components: dict[str, Json] = field(default_factory=dict[str, Json])

    async def check(self, name: str, probe: Any, *, fatal: bool) -> None:
        try:
            await within(_PROBE_S, probe)
        except RequestError as error:
            self.add(name, error.message, fatal=fatal)
        except (QueueUnavailableError, TimeoutError, OSError):
            self.add(name, "can't be reached", fatal=fatal)
        else:
            self.add(name, None, fatal=fatal)

    def add(self, name: str, problem: str | None, *, fatal: bool, **more: Any) -> None:
        if problem is None:
            self.components[name] = {"status": "ok", **more}
            return
        status = "unavailable" if fatal else "degraded"
        self.components[name] = {"status": status, "detail": problem, **more}
        if self.status != "unavailable":
            self.status = status


def _seed(params: Json) -> int:
    """The given seed, or a drawn one where it is absent, null or -1. Handlers without a schema get it checked here."""
    seed = params.get("seed")
    if seed is None or (seed == -1 and type(seed) is int):
        return secrets.randbelow(_MAX_SEED + 1)
    if type(seed) is not int or not 0 <= seed <= _MAX_SEED:
        raise InvalidFieldError("params.seed", "must be a whole number from -1 to 2^53 - 1", code="invalid_params")
    return seed
