"""Direct producers: accepts the entries that other services push into the queue, instead of calling the gateway.

The push is no acceptance, the ledger's commit is. Killed at any line it loses nothing and accepts nothing twice: an
entry stays held until its commit is known, goes back when it isn't, and is known again by the id it was stamped with.
What can't be accepted now (no database, full disk, full queue) waits; what never can goes to `tasks:rejected`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time

from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.models import Json
from genpulse.core.ports import Entry, Ingress, QueueUnavailableError
from genpulse.core.requests import TaskRequest, validate
from genpulse.core.service import TaskService
from genpulse.core.strict_json import MAX_BYTES, parse_json
from genpulse.errors import InvalidFieldError, RequestError

_log = logging.getLogger(__name__)

_TAKE_S = 5.0
_LATER_S = (0.5, 1.5)
_RECOVER_S = 5.0
_LATER = frozenset({"unavailable", "storage_full", "queue_full"})
"""Codes of refusals that end by themselves."""
_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class DirectProducers:
    """Accepts entries until cancelled. May run in any number of processes, each with an ingress of its own."""

    def __init__(self, tasks: TaskService, ingress: Ingress, *, tenant: str) -> None:
        self._tasks = tasks
        self._ingress = ingress
        self._tenant = tenant
        self._recover_at = 0.0

    async def run(self) -> None:
        """Take and accept until cancelled; then give back what is not accepted."""
        try:
            while True:
                try:
                    await self._turn()
                except QueueUnavailableError as error:
                    reraise_cancellation(error)
                    _log.debug("no entries can be taken: %s", error)
                    await asyncio.sleep(random.uniform(*_LATER_S))  # noqa: S311 - jitter is no secret
                except Exception as error:  # noqa: BLE001 - whatever somebody wrote into Redis, the next turn must come
                    reraise_cancellation(error)
                    _log.exception("taking entries failed")
                    await asyncio.sleep(random.uniform(*_LATER_S))  # noqa: S311 - as above
        finally:
            await self._ingress.close()

    async def _turn(self) -> None:
        # Held by this consumer but not known here: a batch whose reply was lost, or one that has to wait.
        await self._ingress.give_back()
        while True:
            if time.monotonic() >= self._recover_at:
                self._recover_at = time.monotonic() + _RECOVER_S
                await self._ingress.recover()
            entries = await self._ingress.take(_TAKE_S)
            if entries and not await self._accept_all(entries):
                await asyncio.sleep(random.uniform(*_LATER_S))  # noqa: S311 - jitter is no secret
                return

    async def _accept_all(self, entries: list[Entry]) -> bool:
        """Accept entries side by side, so that they share commits; False when some must wait."""
        outcomes = await asyncio.gather(*(self._accept(entry) for entry in entries), return_exceptions=True)
        reraise_cancellation()
        done: list[Entry] = []
        all_settled = True
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None:
                done.append(entry)
            elif isinstance(outcome, RequestError) and outcome.code not in _LATER:
                await self._ingress.reject(entry, outcome.document())
                _log.info("an entry of a direct producer was rejected: %s", outcome.code)
            else:
                all_settled = False
                _log.warning("an entry of a direct producer waits: %s", outcome)
        if done:
            await self._ingress.done(*done)
        return all_settled

    async def _accept(self, entry: Entry) -> None:
        """Commit a task.

        Raises:
            RequestError: why not.
        """
        try:
            task_id, request = _parse(entry)
            await self._tasks.submit(self._tenant, request, task_id=task_id)
        except (RequestError, asyncio.CancelledError):
            raise
        except Exception as error:
            # A bug, in a handler's validation say: kept among the rejected, so that the entries behind it go on.
            _log.exception("an entry of a direct producer broke")
            message = "Something went wrong on our side; the server's log says what."
            raise RequestError("invalid_request", message, status=500) from error


def _parse(entry: Entry) -> tuple[str, TaskRequest]:
    """The task's id, chosen by the producer or stamped, and the request.

    Raises:
        RequestError: what is wrong with it.
    """
    if len(entry.body) > MAX_BYTES:
        message = f"The entry is larger than {MAX_BYTES >> 10} KiB; upload media with POST /files and send its id."
        raise RequestError("payload_too_large", message)
    body: Json = parse_json(entry.body)
    task_id = body.pop("task_id", entry.task_id)
    if not isinstance(task_id, str) or _TASK_ID.fullmatch(task_id) is None:
        raise InvalidFieldError("task_id", "must be a UUID in lower case, as 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04")
    return task_id, validate(TaskRequest, body)
