"""Calls that wait inside the server (BZPOPMIN, BLMOVE), each on a connection of its own.

Promises that what such a call took is never lost with its caller: a cancelled caller's call is ended in the server, and
if it took something nonetheless, `undo` is given it. A reply that is lost with the connection can't be undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection
from redis.exceptions import RedisError

from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.ports import QueueUnavailableError
from genpulse.mq.link import CALL_TIMEOUT_S, RedisLink, receive, send

SLICE_S = 2.0
"""A server that vanished without a word is noticed after a slice and `CALL_TIMEOUT_S`."""
_IDLE_CONNECTIONS = 16
_log = logging.getLogger(__name__)

Reply = Any


@dataclass(slots=True)
class _Waiter:
    """One connection and its id in the server (None where the account may not ask)."""

    connection: Connection
    client_id: int | None


@dataclass(slots=True)
class _Call:
    """One call on a waiter. (A waiter may serve the next call already when an earlier one is still given up.)"""

    waiter: _Waiter
    command: tuple[Any, ...]
    timeout: float
    keep: Callable[[Reply], Awaitable[None]] | None
    undo: Callable[[Reply], Awaitable[None]]
    abandoned: bool = False


class BlockingCalls:
    """Keeps the connections; one per call that is waiting now."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._idle: list[_Waiter] = []
        self._busy: dict[asyncio.Task[Reply], _Call] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def call(
        self,
        *command: Any,
        timeout: float,
        keep: Callable[[Reply], Awaitable[None]] | None = None,
        undo: Callable[[Reply], Awaitable[None]],
    ) -> Reply:
        """Send `command` plus a timeout as its last argument until it answers something.

        Args:
            keep: awaited with the reply before the caller gets it, cancelled or not.
            undo: awaited with the reply when the caller was cancelled.

        Returns:
            The reply, or None after `timeout` seconds.

        Raises:
            QueueUnavailableError: the server can't be reached.
        """
        self._link.circuit.enter()
        call = _Call(await self._take(), command, timeout, keep, undo)
        running = asyncio.create_task(self._wait(call))
        self._busy[running] = call
        running.add_done_callback(self._busy.pop)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            call.abandoned = True
            self._in_background(self._take_back(running, call))
            raise

    async def _take(self) -> _Waiter:
        while self._idle:
            waiter = self._idle.pop()
            # Readable while idle means closed by the server, which was restarted say.
            usable = waiter.connection.is_connected and not await waiter.connection.can_read()
            if usable:
                self._idle.append(waiter)
                # `can_read` waits for 0 s, and a timeout of 0 can take a cancellation for its own (seen on 3.11.7).
                reraise_cancellation()
                return self._idle.pop()
            await waiter.connection.disconnect(nowait=True)
        connection = await self._link.connect()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return _Waiter(connection, await _client_id(connection))
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, RedisError | OSError):
                raise self._link.problem(error) from error
            raise

    async def _wait(self, call: _Call) -> Reply:
        connection = call.waiter.connection
        loop = asyncio.get_running_loop()
        end = loop.time() + call.timeout
        left, reply = call.timeout, None
        try:
            while reply is None and not call.abandoned:
                # A timeout of 0 would mean "for ever".
                wait_s = max(0.01, min(left, SLICE_S))
                async with asyncio.timeout(wait_s + CALL_TIMEOUT_S):
                    await send(connection, *call.command, f"{wait_s:.3f}")
                    reply = await receive(connection)
                left = end - loop.time()
                if left <= 0:
                    break
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, RedisError | OSError):
                raise self._link.problem(error) from error
            raise
        self._link.circuit.succeeded()
        if len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(call.waiter)
        else:
            await connection.disconnect(nowait=True)
        if reply is not None and call.keep is not None:
            await call.keep(reply)
        return reply

    async def _take_back(self, running: asyncio.Task[Reply], call: _Call) -> None:
        try:
            await self._unblock(running, call.waiter)
            reply = await running
            if reply is not None:
                await call.undo(reply)
        except QueueUnavailableError as error:
            _log.debug("could not give back what a cancelled call took: %s", error)

    async def _unblock(self, running: asyncio.Task[Reply], waiter: _Waiter) -> None:
        # Should the waiter serve another call by then, that one just goes on waiting.
        if not running.done() and waiter.client_id is not None:
            await self._link.call("CLIENT", "UNBLOCK", waiter.client_id)

    def _in_background(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """End waiting calls (their callers get None) and close the connections."""
        for running, call in list(self._busy.items()):
            call.abandoned = True
            try:
                await self._unblock(running, call.waiter)
            except QueueUnavailableError:
                break  # it is away: the calls fail by themselves
        ending = {*self._busy, *self._background}
        if ending:
            _, late = await asyncio.wait(ending, timeout=SLICE_S + CALL_TIMEOUT_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        while self._idle:
            await self._idle.pop().connection.disconnect(nowait=True)


async def _client_id(connection: Connection) -> int | None:
    await send(connection, "CLIENT", "ID")
    try:
        return int(await receive(connection))
    except RedisError as error:
        _log.debug("blocking calls can't be ended early: %s", error)
        return None
