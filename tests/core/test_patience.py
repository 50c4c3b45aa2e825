"""A wait ends when it should, also when the call below doesn't let go."""

import asyncio
import time

import pytest

from genpulse.core.patience import within


async def test_an_answer_in_time() -> None:
    async def answer() -> int:
        return 7

    assert await within(1, answer()) == 7


async def test_an_error_in_time() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(1, fail())


async def test_a_call_that_ignores_its_cancellation_is_left() -> None:
    over = asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(0.05, stubborn())
    assert time.monotonic() - began < 2
    over.set()
    await asyncio.sleep(0)
