"""Turns a claimed task into the job that a handler or a backend sees, in the worker and in a process of its own."""

from __future__ import annotations

from pathlib import Path

from genpulse.core.ids import attempt_token
from genpulse.core.models import Job, Task
from genpulse.core.registry import Handler, Model, Registry
from genpulse.core.requests import validate
from genpulse.errors import RequestError, TaskError


def job_of(task: Task, registry: Registry, work_dir: Path) -> tuple[Handler, Model, Job]:
    """What the task means here.

    Raises:
        TaskError: `internal` when its type or model isn't served here, `provider_rejected` when its params don't fit.
    """
    model, handler = registry.model(task.model), registry.handler(task.task_type)
    if model is None or handler is None:
        raise TaskError("internal", f"This worker doesn't serve {task.task_type} on {task.model}.")
    schema = registry.params_of(task.task_type, model)
    params = task.params
    if schema is not None:
        try:
            params = validate(schema, params, prefix="params", code="invalid_params")
        except RequestError as error:  # it was accepted by a version with another schema
            raise TaskError("provider_rejected", error.message) from None
    job = Job(
        task_id=task.id,
        tenant=task.tenant,
        task_type=task.task_type,
        model=task.model,
        attempt=task.attempt,
        seed=task.seed,
        params=params,
        token=attempt_token(task.id, task.attempt),
        work_dir=work_dir,
        traceparent=task.options.get("traceparent"),
    )
    return handler, model, job
