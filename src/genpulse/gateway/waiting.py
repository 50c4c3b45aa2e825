"""Waits that end early when the client has gone or the server stops; nothing is cancelled by that but the wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from genpulse.core.models import Task
from genpulse.gateway.services import gateway_of

MAX_WAIT_S = 60
T = TypeVar("T")


async def disconnected(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def first_of(*waits: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Run all until the first is done, cancel the others, and return all as tasks."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tasks


async def wait_for_end(request: Request, task: Task, wait_s: float) -> Task:
    """The task as soon as it is terminal, or as it is after `wait_s` seconds; sooner when nobody waits any more."""
    if task.terminal or wait_s <= 0:
        return task
    gateway = gateway_of(request)
    wait, _, _ = await first_of(
        gateway.services.tasks.wait(task, wait_s), disconnected(request.receive), gateway.closing.wait()
    )
    return task if wait.cancelled() else wait.result()
