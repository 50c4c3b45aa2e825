"""Entries of direct producers: `LPUSH tasks:pending <JSON>` by a service of any language (design §7).

An entry is moved to a list of the consumer that takes it and stays there until the consumer says `done` (the ledger has
committed it) or `reject`. Promises that an entry is thus taken at least once, whatever crashes: what a dead consumer
held goes back to `tasks:pending`. It may be taken twice, so it is stamped with a task id when it is first taken and
keeps it from then on: the ledger knows the second acceptance by that id.

Keys, each after the prefix: `tasks:pending`, `tasks:ingress:<consumer>`, `tasks:consumers` (when each was last seen, by
the server's clock), `tasks:rejected` (the newest 1,000).
"""

from __future__ import annotations

import logging
import re

import orjson

from genpulse.core.ids import new_id
from genpulse.core.models import Json
from genpulse.core.ports import Entry, QueueUnavailableError
from genpulse.mq.blocking import BlockingCalls
from genpulse.mq.link import RedisLink, Script

KEPT_REJECTED = 1000
SHOWN_BYTES = 1 << 20
"""So much of a rejected entry is kept; no entry that long is accepted."""
DEAD_AFTER_S = 15
"""A consumer that took nothing and waited for nothing for so long is taken for dead; wrongly, it costs nothing."""
FORGOTTEN_AFTER_S = 3600
"""One that only slept, suspended with its machine say, may still take an entry when it wakes up, and die then."""
_BATCH = 50
"""Entries taken at once: they share the ledger's commits."""
_TAKE, _REJECT, _RECOVER = Script("take"), Script("reject"), Script("recover")
_STAMP = re.compile(rb"task:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) ")
_log = logging.getLogger(__name__)


class RedisIngress:
    """Implements `core.ports.Ingress`: one consumer of `tasks:pending`. Its name must be its own."""

    def __init__(self, link: RedisLink, blocking: BlockingCalls, consumer: str, *, prefix: str) -> None:
        self._link = link
        self._blocking = blocking
        self._consumer = consumer
        self._pending = f"{prefix}tasks:pending"
        self._lists = f"{prefix}tasks:ingress:"
        self._consumers = f"{prefix}tasks:consumers"
        self._rejected = f"{prefix}tasks:rejected"
        self._held = self._lists + consumer

    async def take(self, timeout: float) -> list[Entry]:
        """The oldest entries, now held by this consumer; none after `timeout` seconds. Tells that it is alive."""
        seconds = int((await self._link.call("TIME"))[0])
        await self._link.call("ZADD", self._consumers, "GT", seconds, self._consumer)
        first = await self._blocking.call(
            *("BLMOVE", self._pending, self._held, "RIGHT", "LEFT"), timeout=timeout, undo=self._undo
        )
        if first is None:
            return []
        ids = [new_id() for _ in range(_BATCH)]
        keys = [self._held, self._pending, self._consumers]
        taken: list[bytes] = await self._link.run(_TAKE, keys, [self._consumer, SHOWN_BYTES + 1, *ids])
        return [_entry(held) for held in taken]

    async def done(self, *entries: Entry) -> None:
        """They are committed (or were before): forget them."""
        await self._link.call_all(*(("LREM", self._held, 1, entry.held) for entry in entries))

    async def reject(self, entry: Entry, problem: Json) -> None:
        """It can't be accepted: move it to `tasks:rejected` with a problem document."""
        shown = entry.body[:SHOWN_BYTES].decode(errors="replace")
        document = orjson.dumps({"entry": shown, "problem": problem})
        await self._link.run(_REJECT, [self._held, self._rejected], [entry.held, document, KEPT_REJECTED])

    async def give_back(self) -> int:
        """Give all back that this consumer still holds, as the next to be taken; returns how many."""
        return int(await self._link.run(_RECOVER, [self._pending, self._consumers], [self._lists, self._consumer]))

    async def recover(self) -> int:
        """Give back what dead consumers hold; returns how many. Safe in many processes; call it now and then."""
        args = [self._lists, "", DEAD_AFTER_S, FORGOTTEN_AFTER_S]
        count = int(await self._link.run(_RECOVER, [self._pending, self._consumers], args))
        if count:
            _log.warning("%d entries of dead consumers went back to %s", count, self._pending)
        return count

    async def close(self) -> None:
        """Give back what this consumer still holds, and sign off."""
        try:
            await self.give_back()
            await self._link.call("ZREM", self._consumers, self._consumer)
        except QueueUnavailableError as error:
            _log.debug("%s will be recovered by others: %s", self._held, error)

    async def _undo(self, reply: bytes) -> None:
        del reply
        await self.give_back()


def _entry(held: bytes) -> Entry:
    stamp = _STAMP.match(held)
    if stamp is None:  # a producer wrote something that looks like the beginning of a stamp: no JSON either
        return Entry(held=held, task_id=new_id(), body=held)
    return Entry(held=held, task_id=stamp[1].decode(), body=held[stamp.end() :])
