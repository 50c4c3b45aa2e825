"""Entries of direct producers: `LPUSH tasks:pending <JSON>` by a service of any language (design §7).

An entry is moved to a list of the consumer that takes it and stays there until the consumer says `ack` (the ledger has
committed it) or `reject`. Promises that an entry is thus taken at least once, whatever crashes: what a dead consumer
held goes back to `tasks:pending`. It may be taken twice; the ledger refuses the second by its task id.

Keys, each after the prefix: `tasks:pending`, `tasks:ingress:<consumer>`, `tasks:consumers` (when each was last seen, by
the server's clock), `tasks:rejected` (the newest 1,000).
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from genpulse.core.ports import QueueUnavailableError
from genpulse.mq.blocking import BlockingCalls
from genpulse.mq.link import RedisLink, Script

KEPT_REJECTED = 1000
DEAD_AFTER_S = 60
"""A consumer that took nothing and waited for nothing for so long is taken for dead."""
_REJECT, _RELEASE, _RECOVER = Script("reject"), Script("release"), Script("recover")
_log = logging.getLogger(__name__)


class Ingress:
    """One consumer of `tasks:pending`. Its name must be its own, e.g. the worker's id."""

    def __init__(self, link: RedisLink, blocking: BlockingCalls, consumer: str, *, prefix: str) -> None:
        self._link = link
        self._blocking = blocking
        self._consumer = consumer
        self._pending = f"{prefix}tasks:pending"
        self._lists = f"{prefix}tasks:ingress:"
        self._consumers = f"{prefix}tasks:consumers"
        self._rejected = f"{prefix}tasks:rejected"
        self._held = self._lists + consumer

    async def take(self, timeout: float) -> bytes | None:
        """The oldest entry, now held by this consumer; None after `timeout` seconds. Tells that it is alive.

        Call it again within `DEAD_AFTER_S`, or `beat`. An entry taken for a cancelled caller goes back.
        """
        await self.beat()
        return await self._blocking.call(
            "BLMOVE", self._pending, self._held, "RIGHT", "LEFT", timeout=timeout, undo=self._release
        )

    async def beat(self) -> None:
        """Tell that this consumer is alive."""
        seconds = int((await self._link.call("TIME"))[0])
        await self._link.call("ZADD", self._consumers, "GT", seconds, self._consumer)

    async def ack(self, entry: bytes) -> None:
        """The entry is committed (or known already): forget it."""
        await self._link.call("LREM", self._held, 1, entry)

    async def reject(self, entry: bytes, problem: Any) -> None:
        """The entry can't be accepted: move it to `tasks:rejected` with a problem document (or any JSON)."""
        document = orjson.dumps({"entry": entry.decode(errors="replace"), "problem": problem})
        await self._link.run(_REJECT, [self._held, self._rejected], [entry, document, KEPT_REJECTED])

    async def _release(self, entry: bytes) -> None:
        await self._link.run(_RELEASE, [self._held, self._pending], [entry])

    async def recover(self) -> int:
        """Give back what dead consumers hold. Safe in many processes at once; call it now and then.

        Returns:
            How many entries went back to `tasks:pending`.
        """
        now = int((await self._link.call("TIME"))[0])
        silent = await self._link.call("ZRANGEBYSCORE", self._consumers, "-inf", now - DEAD_AFTER_S)
        count = 0
        for consumer in silent:
            count += await self._give_back(consumer.decode(), DEAD_AFTER_S)
        if count:
            _log.warning("%d entries of dead consumers went back to %s", count, self._pending)
        return count

    async def close(self) -> None:
        """Give back what this consumer still holds, and sign off."""
        try:
            await self._give_back(self._consumer, 0)
        except QueueUnavailableError as error:
            _log.debug("%s will be recovered by others: %s", self._held, error)

    async def _give_back(self, consumer: str, silence_s: int) -> int:
        keys = [self._lists + consumer, self._pending, self._consumers]
        return int(await self._link.run(_RECOVER, keys, [consumer, silence_s]))
