"""The way to one Redis or Valkey server: connections, time limits, scripts, and a fast answer while it is away.

Promises that no call takes longer than a few seconds, that every failure to reach the server is a
`QueueUnavailableError`, that after a failure callers are told so at once instead of waiting for a timeout each, and
that no command is ever sent twice by itself. Refuses Redis Cluster: the scripts use several keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.metrics import Metrics
from genpulse.core.ports import QueueUnavailableError

CALL_TIMEOUT_S = 2.0
"""No answer for so long means the server can't be reached."""
_CONNECTIONS = 50
_PAUSE_S = (0.5, 1.0)
_UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)

Command = Sequence[Any]


class Circuit:
    """Remembers that the server is away, and lets one caller at a time try again."""

    def __init__(self) -> None:
        self._problem: str | None = None
        self._closed_until = 0.0

    @property
    def healthy(self) -> bool:
        """False from a failure until the next success."""
        return self._problem is None

    def enter(self) -> None:
        """Called before a try.

        Raises:
            QueueUnavailableError: the server was away a moment ago.
        """
        if self._problem is None:
            return
        now = time.monotonic()
        if now < self._closed_until:
            raise QueueUnavailableError(self._problem)
        self._closed_until = now + CALL_TIMEOUT_S

    def succeeded(self) -> None:
        self._problem = None

    def failed(self, problem: str) -> None:
        """Jitter keeps a fleet from coming back in one instant."""
        self._problem = problem
        self._closed_until = time.monotonic() + random.uniform(*_PAUSE_S)  # noqa: S311 - jitter is no secret


class Script:
    """A Lua file of this package. `EVALSHA`, and `EVAL` when the server doesn't know it (yet, or any more)."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("genpulse.mq").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class RedisLink:
    """Commands, pipelines and scripts on a pool of connections, and further connections for who must block."""

    def __init__(self, url: str, metrics: Metrics | None = None) -> None:
        self.circuit = Circuit()
        self._metrics = metrics or Metrics()
        self.address = _without_secrets(url)
        # Options in the URL may say how to reach the server; how we talk to it is ours.
        options: dict[str, Any] = dict(parse_url(url))
        options.update(
            retry=Retry(NoBackoff(), 0),  # redis-py repeats commands otherwise (invariant 5)
            retry_on_timeout=False,
            retry_on_error=[],
            socket_timeout=CALL_TIMEOUT_S,
            socket_connect_timeout=CALL_TIMEOUT_S,
            health_check_interval=0,
            decode_responses=False,
            protocol=2,
            client_name="genpulse",
        )
        options.update(max_connections=_CONNECTIONS, timeout=CALL_TIMEOUT_S)  # of the pool
        self._pool = BlockingConnectionPool(**options)
        self._client = Redis(connection_pool=self._pool)

    async def call(self, *command: Any) -> Any:
        """One command.

        Raises:
            QueueUnavailableError: the server can't be reached, or refuses (out of memory, disk full, loading …).
        """
        client: Any = self._client  # redis-py types its commands for sync and async at once
        return await self._guarded(lambda: client.execute_command(*command))

    async def call_all(self, *commands: Command) -> list[Any]:
        """Several commands in one round trip; the first error is raised."""
        pipeline: Any = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await self._guarded(pipeline.execute)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """A script with its keys and arguments."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except QueueUnavailableError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return await self.call("EVAL", script.source, len(keys), *keys, *args)

    async def _guarded(self, send: Callable[[], Awaitable[Any]]) -> Any:
        self.circuit.enter()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await send()
        except (RedisError, OSError) as error:  # OSError includes TimeoutError
            reraise_cancellation(error)
            raise self.problem(error) from error
        self.circuit.succeeded()
        return answer

    def problem(self, error: Exception) -> QueueUnavailableError:
        """What callers are told; opens the circuit when the server can't be reached."""
        if not isinstance(error, NoScriptError):  # which is how a server says that it was started anew
            self._metrics.queue_call_errors.inc()
        text = str(error) or "no answer"
        problem = f"queue server {self.address}: {text}"
        if isinstance(error, _UNREACHABLE):
            self.circuit.failed(problem)
        return QueueUnavailableError(problem)

    async def connect(self) -> Connection:
        """A further connection that belongs to the caller, who disconnects it."""
        pool: Any = self._pool
        connection: Connection = pool.make_connection()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await connection.connect()
        except (RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise self.problem(error) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def close(self) -> None:
        await self._client.aclose()
        await self._pool.disconnect()


async def send(connection: Connection, *command: Any) -> None:
    """Send a command on a connection of one's own."""
    untyped: Any = connection
    await untyped.send_command(*command, check_health=False)


async def receive(connection: Connection, timeout: float = math.inf) -> Any:
    """The next reply on a connection of one's own; None after `timeout` seconds.

    (For redis-py a timeout of None would mean its `socket_timeout`.)
    """
    untyped: Any = connection
    return await untyped.read_response(timeout=timeout)


def _without_secrets(url: str) -> str:
    """Where a URL points to, without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
