"""The queue on Redis >= 6.2 or Valkey: hints in sorted sets, wake-ups and progress by pub/sub.

Promises the order that `lua/place.lua` states, that nothing in here is needed to keep a task (invariant 1), and a
`QueueUnavailableError` within seconds when the server is away. Holds task ids, never payloads.

Keys, each after the prefix: `queue:<pool>` (all hints of a pool), `fair:<pool>` and `fair:<pool>:<rank>` (fairness;
they die with the queue), `generation`, `progress:<task_id>` (an hour). Those of direct producers: `ingress.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from genpulse.core.ids import new_id
from genpulse.core.metrics import Metrics
from genpulse.core.models import Json
from genpulse.core.ports import Hint, QueueUnavailableError, Subscription
from genpulse.mq.blocking import BlockingCalls
from genpulse.mq.ingress import RedisIngress
from genpulse.mq.link import RedisLink, Script
from genpulse.mq.progress import ProgressBoard
from genpulse.mq.pubsub import Hub
from genpulse.mq.server_check import check_server

_BATCH = 500
"""Hints per script call: a call of this size keeps the server busy for a few milliseconds."""
_PLACE, _POPPED = Script("place"), Script("popped")
_CLASSES = (1, 2, 3)
"""Ranks that are shared fairly; those below are the front."""
_log = logging.getLogger(__name__)


class RedisManager:
    """Implements `core.ports.Queue`. One instance per process and event loop; connects when first used."""

    def __init__(self, url: str, *, prefix: str = "", metrics: Metrics | None = None) -> None:
        """`url` as in REDIS_URL: redis://, rediss:// or unix://. `prefix` goes before every key and channel."""
        self._prefix = prefix
        self._link = RedisLink(url, metrics)
        self._blocking = BlockingCalls(self._link)
        self._hub = Hub(self._link, prefix)
        self._progress = ProgressBoard(self._link, prefix)

    async def check_server(self) -> str:
        """Name and version of the server; for start-up.

        Raises:
            UnsuitableServerError: it would break the queue later; the message says what to change.
            QueueUnavailableError: it can't be reached.
        """
        return await check_server(self._link)

    async def ping(self) -> bool:
        """True when the server answers.

        Raises:
            QueueUnavailableError: it doesn't.
        """
        return bool(await self._link.call("PING"))

    # Hints -------------------------------------------------------------------------------------------------------

    async def push_task(self, *hints: Hint) -> int:
        """Queue hints; one that is already queued keeps its place. Returns how many are new."""
        return await self._place("push", hints)

    async def requeue(self, *hints: Hint) -> int:
        """Move queued hints to where their (changed) rank belongs: the front, or the end of its class; atomically.

        One that isn't queued or is there already is left alone. Returns how many moved.
        """
        return await self._place("requeue", hints)

    async def _place(self, mode: Literal["push", "requeue"], hints: Sequence[Hint]) -> int:
        pools: dict[str, list[Hint]] = {}
        for hint in hints:
            pools.setdefault(hint.pool, []).append(hint)
        placed = 0
        for pool, members in pools.items():
            for start in range(0, len(members), _BATCH):
                args: list[Any] = [mode]
                for hint in members[start : start + _BATCH]:
                    args += hint.id, hint.tenant, hint.rank
                placed += int(await self._link.run(_PLACE, self._fair_keys(pool), args))
        return placed

    async def pop_task(self, pool: str, timeout: float) -> str | None:
        """The next task id of a pool, in order of priority, fairness and age; None after `timeout` seconds.

        A hint that was popped for a cancelled caller goes back to its place.
        """
        queue = self._queue_key(pool)

        async def record(reply: Any) -> None:
            try:
                await self._link.run(_POPPED, self._fair_keys(pool), [reply[2]])
            except QueueUnavailableError as error:
                _log.debug("a pop of %s was not recorded, which costs one place of fairness: %s", pool, error)

        async def put_back(reply: Any) -> None:
            await self._link.call("ZADD", queue, "NX", reply[2], reply[1])

        reply = await self._blocking.call("BZPOPMIN", queue, timeout=timeout, keep=record, undo=put_back)
        return None if reply is None else reply[1].decode()

    async def remove_task(self, pool: str, task_id: str) -> bool:
        return bool(await self._link.call("ZREM", self._queue_key(pool), task_id))

    async def rank(self, pool: str, task_id: str) -> int | None:
        """0 = next of its pool; None when not queued."""
        rank = await self._link.call("ZRANK", self._queue_key(pool), task_id)
        return None if rank is None else int(rank)

    async def missing(self, pool: str, task_ids: Sequence[str]) -> list[str]:
        """Those of `task_ids` that have no hint, in the same order."""
        found: list[str] = []
        for start in range(0, len(task_ids), _BATCH):
            batch = task_ids[start : start + _BATCH]
            scores = await self._link.call("ZMSCORE", self._queue_key(pool), *batch)
            found += [task_id for task_id, score in zip(batch, scores, strict=True) if score is None]
        return found

    async def depth(self, pool: str) -> int:
        """How many hints a pool has."""
        return int(await self._link.call("ZCARD", self._queue_key(pool)))

    async def generation(self) -> str | None:
        """A mark that is gone when the data was wiped: None means "rebuild all hints, then `mark_generation`"."""
        mark = await self._link.call("GET", f"{self._prefix}generation")
        return None if mark is None else mark.decode()

    async def mark_generation(self) -> None:
        await self._link.call("SET", f"{self._prefix}generation", new_id(), "NX")

    def _queue_key(self, pool: str) -> str:
        return f"{self._prefix}queue:{pool}"

    def _fair_keys(self, pool: str) -> list[str]:
        """The keys of `place.lua`."""
        fair = f"{self._prefix}fair:{pool}"
        return [self._queue_key(pool), fair, *(f"{fair}:{rank}" for rank in _CLASSES)]

    # Messages ----------------------------------------------------------------------------------------------------

    async def publish(self, *messages: tuple[str, Json]) -> None:
        """Send `(channel, message)` pairs, in order, in one round trip. Raises nothing.

        This process's own subscribers get them at once, also while the server is away.
        """
        try:
            await self._hub.publish(messages)
        except QueueUnavailableError as error:
            _log.debug("messages reached this process only: %s", error)

    async def set_progress(self, task_id: str, kept: Json, notice: Json) -> None:
        """Keep the newest progress (for an hour) and publish `notice` on `task_updates:<task_id>`. Raises nothing."""
        try:
            await self._progress.keep(task_id, kept)
        except QueueUnavailableError as error:
            _log.debug("progress is known to this process only: %s", error)
        await self.publish((f"task_updates:{task_id}", notice))

    async def get_progress(self, task_ids: Sequence[str]) -> Mapping[str, Json]:
        """The newest progress of each task that has one; while the server is away, of those this process runs."""
        return await self._progress.get(task_ids)

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Listen to channels. While the server is away only this process's own messages arrive."""
        return self._hub.subscribe(*channels)

    # Direct producers --------------------------------------------------------------------------------------------

    def ingress(self, consumer: str) -> RedisIngress:
        """Entries that services of any language pushed to `tasks:pending`, taken under the name of one consumer."""
        return RedisIngress(self._link, self._blocking, consumer, prefix=self._prefix)

    async def close(self) -> None:
        """End waiting pops and disconnect."""
        await self._hub.close()
        await self._blocking.close()
        await self._link.close()
