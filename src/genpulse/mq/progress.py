"""The newest progress of tasks, for late watchers: in Redis for an hour, and the last few thousand in this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import orjson

from genpulse.core.models import Json
from genpulse.core.ports import QueueUnavailableError
from genpulse.mq.link import RedisLink

KEPT_S = 3600
_KEPT_HERE = 4096


class ProgressBoard:
    """Progress that this process reported can be read also while Redis is away."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = f"{prefix}progress:"
        self._here: OrderedDict[str, tuple[float, Json]] = OrderedDict()

    async def keep(self, task_id: str, progress: Json) -> None:
        """Note progress here, then in Redis.

        Raises:
            QueueUnavailableError: it is noted here only.
        """
        self._here[task_id] = (time.monotonic(), progress)
        self._here.move_to_end(task_id)
        if len(self._here) > _KEPT_HERE:
            self._here.popitem(last=False)
        await self._link.call("SET", self._prefix + task_id, orjson.dumps(progress), "EX", KEPT_S)

    async def get(self, task_ids: Sequence[str]) -> Mapping[str, Json]:
        """What Redis knows; of what it doesn't know, what this process knows."""
        found: dict[str, Json] = {}
        if not task_ids:
            return found
        try:
            values = await self._link.call("MGET", *(self._prefix + task_id for task_id in task_ids))
        except QueueUnavailableError:
            values = [None] * len(task_ids)
        for task_id, value in zip(task_ids, values, strict=True):
            if value is not None:
                found[task_id] = orjson.loads(value)
            elif (here := self._here.get(task_id)) is not None and time.monotonic() - here[0] < KEPT_S:
                found[task_id] = here[1]
        return found
