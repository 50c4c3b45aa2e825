"""Handlers alone: they behave as in a worker, they die alone, they end when told, and nothing of them is left."""

import asyncio
import base64
from typing import Any

import pytest

from genpulse.cli.processes import running
from genpulse.core.models import Suspicion, Task
from tests.core.system import System

PICTURE = {"data": base64.b64encode(b"pixels").decode(), "media_type": "text/plain"}


async def _gone(pids: list[int], within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while set(pids) & set(running()):
            await asyncio.sleep(0.02)


async def _seen(system: System, task: Task) -> dict[str, Any]:
    """All that a client sees of an ended task, without what is drawn anew for each."""
    outputs = (task.result or {}).pop("outputs", [])
    events = [event async for event in system.tasks.events(task)]
    kinds = [event.data.get("message") for event in events if event.type == "log"]
    return {
        "state": task.state,
        "result": task.result,
        "error": task.error,
        "warnings": task.warnings,
        "attempt": task.attempt,
        "outputs": sorted((file["name"], file["bytes"], file["media_type"]) for file in outputs),
        "log": kinds,
    }


@pytest.mark.parametrize(
    ("task_type", "params"),
    [
        ("use-everything", {"picture": PICTURE, "text": "hé"}),
        ("plain", {"a": [1, None, {"b": "ü"}]}),
        ("blocking", {"a": 1.5}),
        ("failing-files", {"picture": PICTURE, "text": ""}),
        ("failing-files", {"picture": {"url": "https://example.org/a.png"}, "text": ""}),
        *(("failing", {"how": how}) for how in ("task-error", "request-error", "bug", "list", "no-json", "own-cancel")),
    ],
)
async def test_alone_all_is_as_in_the_worker(system: System, task_type: str, params: dict[str, Any]) -> None:
    params = {**params, "seed": 7}
    fields: dict[str, Any] = {"metadata": {"m": 1}, "priority": "high"}
    alone = await system.suspect(task_type, params, **fields)
    inside = await system.submit(task_type, params, **fields)
    async with system.working():
        inside, alone = await system.end(inside), await system.end(alone)
    assert (inside.suspicion, alone.suspicion) == (Suspicion.NONE, Suspicion.SUSPECT)
    assert await _seen(system, alone) == await _seen(system, inside)
