"""Group commit: writes that arrive while a commit is under way share the next one.

No timer and no added latency: an idle store commits a single write at once. Under load the batch grows by itself, which
is what makes thousands of durable accepts a second possible where one commit per request stops at hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

from genpulse.errors import RequestError

Op = TypeVar("Op")


class GroupCommit(Generic[Op]):
    """Runs batches one after the other through `run`, which answers each operation with a result or an exception."""

    def __init__(self, run: Callable[[Sequence[Op]], Awaitable[Sequence[Any]]], *, limit: int = 256) -> None:
        self._run = run
        self._limit = limit
        self._waiting: list[tuple[Op, asyncio.Future[Any]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def submit(self, op: Op) -> Any:
        """The operation's result, once its batch is committed. Cancelling the caller doesn't undo the write."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((op, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="group-commit", context=Context())  # for all
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            for (_, future), answer in zip(batch, await self._commit([op for op, _ in batch]), strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _commit(self, ops: Sequence[Op]) -> Sequence[Any]:
        try:
            return await self._run(ops)
        except RequestError as error:
            return [error] * len(ops)  # the database is out of reach or full: asking once per operation won't help
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller gets it
            if len(ops) == 1:
                return [error]
        # One operation spoiled the transaction: run them one by one, so that only the culprit fails.
        return [answer for op in ops for answer in await self._commit([op])]

    async def close(self) -> None:
        """Wait for what was submitted."""
        if self._flusher is not None:
            await asyncio.wait({self._flusher})
