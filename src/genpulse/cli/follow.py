"""Follows one task in a thread of its own and hands on what it sees.

Promises: the last update is `Ended` with the final task, or `Lost`; a broken stream is resumed after the last event
seen; where streams don't work at all, the task is asked for again and again. A short outage is only reported.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

import httpx2

from genpulse.cli.answers import TERMINAL, Json, as_number, parse_object
from genpulse.cli.api import Api, UnreachableError
from genpulse.cli.failure import CommandError

_FRUITLESS_STREAMS = 3
"""Streams in a row that ended without one event, before asking replaces listening: some proxies cut or hold them."""
_PASSING = {429, 502, 503, 504}
"""Answers that are worth asking again for."""
_POLL_S = 2
_GIVE_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Changed:
    """The task has a new state (or is shown for the first time)."""

    task_id: str
    task: Json


@dataclass(frozen=True, slots=True)
class Ticked:
    """Progress of a running task."""

    task_id: str
    progress: float | None
    stage: str | None


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the task's log, or of ours about the connection."""

    task_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    task_id: str
    task: Json


@dataclass(frozen=True, slots=True)
class Lost:
    """The task can't be followed any more; it goes on without us."""

    task_id: str
    error: Exception


Update: TypeAlias = Changed | Ticked | Logged | Ended | Lost


class Follower(threading.Thread):
    """Puts updates of one task into `sink`. A daemon: an interrupted command doesn't wait for it."""

    def __init__(self, api: Api, task_id: str, sink: SimpleQueue[Any], *, give_up_s: float = _GIVE_UP_S) -> None:
        super().__init__(name=f"follow-{task_id}", daemon=True)
        self._api = api
        self._id = task_id
        self._sink = sink
        self._give_up_s = give_up_s
        self._last_event: str | None = None
        self._fruitless = 0
        self._answered_at = time.monotonic()
        self._reported = False
        self._stopped = threading.Event()
        self._response: httpx2.Response | None = None

    def stop(self) -> None:
        """End soon, also when blocked in a read."""
        self._stopped.set()
        response = self._response
        stream = response.extensions.get("network_stream") if response is not None else None
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None:
            with suppress(OSError):  # it may be closed already
                connection.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits, which raises it
            self._sink.put(Lost(self._id, error))

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                ended = self._listen() if self._fruitless < _FRUITLESS_STREAMS else self._ask()
                if ended:
                    self._sink.put(Ended(self._id, self._api.task(self._id)))
                    return
            except CommandError as error:
                if not (isinstance(error, UnreachableError) or error.status in _PASSING):
                    raise
                self._outage(error)

    def _outage(self, error: CommandError) -> None:
        silent_s = time.monotonic() - self._answered_at
        if silent_s > self._give_up_s:
            raise error
        if not self._reported and not self._stopped.is_set():
            self._reported = True
            self._sink.put(Logged(self._id, "connection lost, trying again …"))
        self._stopped.wait(min(0.5 + silent_s / 4, 5))

    def _answered(self) -> None:
        self._answered_at = time.monotonic()
        self._reported = False

    # By events --------------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Read one stream to its end; True when the task has ended."""
        try:
            with self._api.events(self._id, after=self._last_event) as response:
                self._response = response
                self._fruitless += 1
                self._answered()
                if response.status_code == 204 or any(map(self._take, httpx2.EventSource(response))):
                    return True
        except CommandError as error:
            streams_here = not isinstance(error.__cause__, httpx2.SSEError)
            if streams_here and (isinstance(error, UnreachableError) or error.status in _PASSING):
                raise
            self._fruitless = _FRUITLESS_STREAMS  # asking tells what is wrong, if anything is
        finally:
            self._response = None
        self._stopped.wait(0.5)
        return False

    def _take(self, event: httpx2.ServerSentEvent) -> bool:
        self._answered()
        self._fruitless = 0
        self._last_event = event.id or self._last_event
        data = parse_object(event.data)
        match event.event:
            case "state":
                self._sink.put(Changed(self._id, data))
                return data.get("status") in TERMINAL
            case "progress":
                self._sink.put(Ticked(self._id, as_number(data.get("progress")), _text(data.get("stage"))))
            case "log":
                self._sink.put(Logged(self._id, str(data.get("message", ""))))
            case _:
                pass  # `output` comes again with the end, `preview` isn't shown in a terminal
        return False

    # By asking --------------------------------------------------------------------------------------------------

    def _ask(self) -> bool:
        asked_at = time.monotonic()
        task = self._api.task(self._id, wait_s=_POLL_S)
        self._answered()
        self._sink.put(Changed(self._id, task))
        if task.get("status") in TERMINAL:
            return True
        # A gateway that doesn't wait as asked must not be asked in a tight loop.
        self._stopped.wait(max(0.0, _POLL_S / 2 - (time.monotonic() - asked_at)))
        return False


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
