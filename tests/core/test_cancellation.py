"""A cancellation that a library hides as its own timeout still ends the task."""

import asyncio

import pytest

from genpulse.core.cancellation import reraise_cancellation


async def _stubborn(started: asyncio.Event) -> None:
    while True:
        try:
            started.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            hidden = TimeoutError()
            hidden.__cause__ = error
            reraise_cancellation(hidden)  # what a driver does: without this line the loop would go on


async def test_a_hidden_cancellation_ends_the_task() -> None:
    started = asyncio.Event()
    task = asyncio.create_task(_stubborn(started))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)


async def test_nothing_happens_otherwise() -> None:
    reraise_cancellation()
    reraise_cancellation(TimeoutError())
