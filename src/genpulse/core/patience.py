"""Waits that end when they should, whatever the driver below does.

A cancelled call to a server that doesn't answer may itself wait: drivers roll back and say goodbye first (seen with
asyncpg and a frozen PostgreSQL: a minute). So the call is left to end by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """What `call` answers within so many seconds.

    Raises:
        TimeoutError: it didn't; it goes on, and its outcome is dropped.
    """
    running = asyncio.create_task(call)
    running.add_done_callback(_drop)
    done, _ = await asyncio.wait({running}, timeout=seconds)
    if not done:
        raise TimeoutError
    return running.result()


def _drop(ended: asyncio.Task[Any]) -> None:
    if not ended.cancelled():
        ended.exception()
