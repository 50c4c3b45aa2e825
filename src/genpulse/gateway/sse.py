"""Server-sent events over one response.

Promises a `: ping` when nothing was sent for `PING_S`, that a client which reads too slowly is dropped while little is
kept for it, and that the stream ends at once when the client leaves or the server stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from genpulse.core.models import Json
from genpulse.gateway.waiting import disconnected, first_of

PING_S = 15.0
STALL_S = 30.0
"""A client that takes nothing for so long is dropped."""
RETRY = b"retry: 2000\n\n"
_PING = b": ping\n\n"
_AHEAD = 64  # frames kept for a slow client, beside what the connection buffers
_log = logging.getLogger(__name__)


def frame(event: str, data: Json, id: int | None = None) -> bytes:
    """One event. JSON has no line breaks of its own, so that one `data` line is enough."""
    number = b"" if id is None else b"id: %d\n" % id
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.encode(), orjson.dumps(data))


class EventStream(StreamingResponse):
    """Sends frames as they come; ends after the last one."""

    def __init__(self, frames: AsyncIterator[bytes], closing: asyncio.Event) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, 200, headers, "text/event-stream")
        self._frames = frames
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        ahead: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        filling = asyncio.create_task(self._fill(ahead))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending, leaving, _ = await first_of(
                self._send_all(ahead, send), disconnected(receive), self._closing.wait()
            )
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        gone = leaving.done() and not leaving.cancelled()
        stalled = sending.done() and not sending.cancelled() and sending.exception() is not None
        if stalled:
            _log.warning("an event stream was dropped: its client reads too slowly")
        elif not gone:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _fill(self, ahead: asyncio.Queue[bytes | None]) -> None:
        try:
            async for made in self._frames:
                await ahead.put(made)
        except Exception:  # noqa: BLE001 - whatever it is, it must not pass unseen
            # The head of the answer is sent: all that can be done is to end it. The client resumes by `Last-Event-ID`.
            _log.exception("an event stream broke")
        await ahead.put(None)

    @staticmethod
    async def _send_all(ahead: asyncio.Queue[bytes | None], send: Send) -> None:
        made: bytes | None = RETRY
        while made is not None:
            async with asyncio.timeout(STALL_S):
                await send({"type": "http.response.body", "body": made, "more_body": True})
            try:
                async with asyncio.timeout(PING_S):
                    made = await ahead.get()
            except TimeoutError:
                made = _PING
