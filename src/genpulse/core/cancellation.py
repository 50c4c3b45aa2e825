"""A cancelled task must end, even when a library reports its cancellation as something else."""

from __future__ import annotations

import asyncio


def reraise_cancellation(error: BaseException | None = None) -> None:
    """Call it where errors are swallowed or translated.

    Drivers may turn the cancellation of a call into a timeout of their own (seen with asyncpg on Python 3.11.2: a loop
    that goes on after errors then never ends).

    Raises:
        asyncio.CancelledError: the running task was asked to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
