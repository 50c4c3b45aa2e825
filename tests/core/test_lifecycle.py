"""What is counted of a task's turns, on both databases, and that each is counted once."""

from typing import Any

import pytest

from genpulse.core import states
from genpulse.core.hosts import identify
from genpulse.core.models import Recovery, State
from genpulse.core.registry import Model
from genpulse.core.requests import TaskRequest
from genpulse.errors import TaskError
from genpulse.handlers.base import BaseHandler
from tests.core.system import System
from tests.core.test_execution import Remote


def counted(system: System, name: str, **labels: str) -> float | None:
    return system.metrics.registry.get_sample_value(f"genpulse_{name}", labels)


def add_remote(system: System, recovery: Recovery = Recovery.NONE) -> Remote:
    remote = Remote(recovery)

    @system.registry.register("draw")
    class Draw(BaseHandler):
        default_model = "remote/draw"

    system.registry.register_model(Model("remote/draw", ("draw",), pool="handlers", backend=lambda: remote))
    return remote


async def test_a_stopping_worker_hands_back(system: System) -> None:
    async with system.working(drain_s=0):
        task = await system.submit("hold")
        await system.until(task, State.RUNNING)
    assert counted(system, "tasks_handed_back_total", pool="handlers") == 1
    assert counted(system, "tasks_rescued_total", pool="handlers") is None
    assert counted(system, "task_queue_wait_seconds_count", pool="handlers") == 1
    system.gate.open.set()
    async with system.working():
        await system.end(task)
    ended = {"status": "completed", "model": "local/hold"}
    assert counted(system, "tasks_ended_total", **ended, error_code="") == 1
    assert counted(system, "task_queue_wait_seconds_count", pool="handlers") == 1  # the first start only


async def test_a_rescue(make_system: Any) -> None:
    system = make_system(lease_s=0.3)
    await system.ledger.register_worker("dead", identify() | {"pid": 2**22 + 1})
    task = await system.submit("hold")
    await system.ledger.change(task.id, states.claim("dead"))
    async with system.reconciling():
        await system.until(task, State.QUEUED)
    assert counted(system, "tasks_rescued_total", pool="handlers") == 1


async def test_an_attempt_is_repeated(system: System) -> None:
    remote = add_remote(system)
    remote.on_submit = lambda count: TaskError("provider_rate_limited", "later") if count == 1 else None
    task = await system.submit("draw", {"prompt": "x"})
    async with system.working(), system.reconciling():
        assert (await system.end(task)).state == State.SUCCEEDED
    model = {"model": "remote/draw"}
    assert counted(system, "tasks_retried_total", **model, error_code="provider_rate_limited") == 1
    assert counted(system, "submissions_total", **model, outcome="rejected") == 1
    assert counted(system, "submissions_total", **model, outcome="accepted") == 1
    assert counted(system, "task_run_seconds_count", **model, status="completed") == 1


@pytest.mark.parametrize("recovery", [Recovery.NONE, Recovery.FREE])
async def test_a_send_of_unknown_outcome(system: System, recovery: Recovery) -> None:
    remote = add_remote(system, recovery)
    remote.on_submit = lambda count: RuntimeError("cut off")
    task = await system.submit("draw", {"prompt": "x"})
    async with system.working():
        ended = await system.end(task)
    assert ended.error is not None
    model = {"model": "remote/draw"}
    at_risk = recovery == Recovery.NONE  # free work is no submission
    assert counted(system, "submissions_total", **model, outcome="unknown") == (1 if at_risk else None)
    code = "submit_unknown" if at_risk else "internal"
    assert counted(system, "tasks_ended_total", **model, status="failed", error_code=code) == 1


async def test_an_overdue_task_ends_without_a_run(system: System) -> None:
    task = await system.submit("hold", deadline_s=0.01)
    async with system.reconciling():
        await system.end(task)
    ended = {"status": "failed", "model": "local/hold"}
    assert counted(system, "tasks_ended_total", **ended, error_code="deadline_exceeded") == 1
    assert counted(system, "task_run_seconds_count", **ended) is None


async def test_a_repeated_submit_is_not_accepted_again(system: System) -> None:
    request = TaskRequest(task_type="hold")
    for _ in range(2):
        await system.tasks.submit("default", request, idempotency_key="k")
    labels = {"pool": "handlers", "task_type": "hold", "model": "local/hold"}
    assert counted(system, "tasks_accepted_total", **labels) == 1
    assert counted(system, "task_accept_seconds_count") == 1
