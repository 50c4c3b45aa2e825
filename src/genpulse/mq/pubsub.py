"""Messages between processes, and inside one: a single pub/sub connection shared by all subscriptions.

A process delivers its own messages to its own subscribers directly, so they arrive at once, also while Redis is away.
Redis then carries them to the others on `wake:<channel>` as `<process tag>:<JSON>`; by the tag a process knows its own
echo and drops it. `task_updates:<task_id>`, whose wire format is the bare JSON of design §7, is published besides for
direct producers and read by nobody here: this costs one more PUBLISH inside the server, and spares guessing which of
two equal messages is an echo.

Best effort: what is published while the link is down reaches this process's subscribers only. Subscribers treat a
message as a reason to look at the ledger, and look now and then without one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

import orjson
from redis.asyncio import Connection
from redis.exceptions import RedisError

from genpulse.core.models import Json
from genpulse.core.ports import QueueUnavailableError
from genpulse.mq.link import CALL_TIMEOUT_S, RedisLink, Script, receive, send

BACKLOG = 256
"""Messages kept for a slow subscriber; the oldest are dropped."""
_PUBLIC = "task_updates:"
_PUBLISH = Script("publish")
_CONFIRM_S = 1.0
_SILENCE_S = 10.0
_BACKOFF_S = (0.1, 2.0)
_log = logging.getLogger(__name__)


class ChannelSubscription:
    """Implements `core.ports.Subscription`."""

    def __init__(self, channels: Iterable[str]) -> None:
        self.channels = tuple(channels)
        self._messages: deque[tuple[str, Json]] = deque(maxlen=BACKLOG)
        self._arrived = asyncio.Event()

    def deliver(self, channel: str, message: Json) -> None:
        self._messages.append((channel, message))
        self._arrived.set()

    async def get(self, timeout: float | None = None) -> tuple[str, Json] | None:
        """The next `(channel, message)`, or None after `timeout` seconds."""
        if not self._messages:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._messages.popleft()


class Hub:
    """Delivers messages to subscriptions and keeps the server subscribed to what they listen to."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix
        self._wake = f"{prefix}wake:"
        self._tag = secrets.token_hex(8).encode()
        self._subscriptions: dict[str, set[ChannelSubscription]] = {}
        self._connection: Connection | None = None
        self._away = False
        self._requested: set[str] = set()
        """Channels that the server was asked for on this connection."""
        self._unanswered: dict[str, int] = {}
        """Subscribe requests without an answer yet, by channel."""
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._sending = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def publish(self, messages: Iterable[tuple[str, Json]]) -> None:
        """Deliver messages inside this process at once, then to the others in one round trip.

        Raises:
            QueueUnavailableError: they reached this process only.
        """
        args: list[Any] = [self._tag]
        for channel, message in messages:
            payload = orjson.dumps(message)
            if channel in self._subscriptions:
                self._deliver(channel, payload)
            public = self._prefix + channel if channel.startswith(_PUBLIC) else ""
            args += self._wake + channel, public, payload
        if len(args) > 1:
            await self._link.run(_PUBLISH, [], args)

    def _deliver(self, channel: str, payload: bytes) -> None:
        try:
            message: Json = orjson.loads(payload)
        except orjson.JSONDecodeError:
            _log.warning("a message on %s is no JSON; dropped", channel)
            return
        for subscription in self._subscriptions.get(channel, ()):
            subscription.deliver(channel, message)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncGenerator[ChannelSubscription]:
        """Listen to channels. On entry the server has confirmed it, unless it is away."""
        subscription = ChannelSubscription(channels)
        for channel in subscription.channels:
            self._subscriptions.setdefault(channel, set()).add(subscription)
        try:
            await self._confirmed(subscription.channels)
            yield subscription
        finally:
            for channel in subscription.channels:
                listeners = self._subscriptions[channel]
                listeners.discard(subscription)
                if not listeners:
                    del self._subscriptions[channel]
                    _resolve(self._confirmations.pop(channel, None))
            if self._connection is not None:
                await self._synchronise()

    async def _confirmed(self, channels: Iterable[str]) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="pubsub", context=Context())  # for all
        if self._away:
            return
        loop = asyncio.get_running_loop()
        waiting = [
            self._confirmations.setdefault(channel, loop.create_future())
            for channel in channels
            if channel not in self._requested or channel in self._unanswered
        ]
        if self._connection is not None:
            await self._synchronise()
        if waiting:
            await asyncio.wait(waiting, timeout=_CONFIRM_S)

    async def _synchronise(self) -> None:
        """Ask the server for exactly the channels that have subscriptions. Requests of many callers are joined."""
        async with self._sending:
            connection = self._connection
            if connection is None:
                return
            new = self._subscriptions.keys() - self._requested
            old = self._requested - self._subscriptions.keys()
            self._requested = set(self._subscriptions)
            try:
                if new:
                    for channel in new:
                        self._unanswered[channel] = self._unanswered.get(channel, 0) + 1
                    await send(connection, "SUBSCRIBE", *(self._wake + channel for channel in new))
                if old:
                    await send(connection, "UNSUBSCRIBE", *(self._wake + channel for channel in old))
            except (RedisError, OSError) as error:
                _log.debug("pub/sub: %s", error)  # the reader notices too, and connects again

    async def _read(self) -> None:
        backoff = _BACKOFF_S[0]
        while True:
            try:
                self._connection = connection = await self._link.connect()
                self._away = False
                backoff = _BACKOFF_S[0]
                await self._synchronise()
                await self._read_from(connection)
            except (RedisError, OSError, QueueUnavailableError) as error:
                _log.debug("pub/sub link lost: %s", error)
            finally:
                await self._forget()
            await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
            backoff = min(backoff * 2, _BACKOFF_S[1])

    async def _read_from(self, connection: Connection) -> None:
        asked = False
        while True:
            timeout = CALL_TIMEOUT_S if asked else _SILENCE_S
            reply = await receive(connection, timeout)
            if reply is not None:
                asked = False
                self._handle(reply)
            elif asked:
                raise ConnectionError("no answer to a ping")
            else:
                await send(connection, "PING")
                asked = True

    def _handle(self, reply: Any) -> None:
        if isinstance(reply, bytes):
            return  # the answer to a ping while no channel is subscribed
        kind, channel = reply[0], reply[1].decode().removeprefix(self._wake)
        if kind == b"message":
            tag, _, payload = reply[2].partition(b":")
            if tag != self._tag:
                self._deliver(channel, payload)
        elif kind == b"subscribe":
            left = self._unanswered.get(channel, 1) - 1
            if left > 0:
                self._unanswered[channel] = left
            else:
                self._unanswered.pop(channel, None)
                _resolve(self._confirmations.pop(channel, None))

    async def _forget(self) -> None:
        """The link is gone: nobody waits for its answers any more."""
        self._away = True
        connection, self._connection = self._connection, None
        self._requested.clear()
        self._unanswered.clear()
        for future in self._confirmations.values():
            _resolve(future)
        self._confirmations.clear()
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
            self._reader = None


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
