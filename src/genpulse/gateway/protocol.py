"""uvicorn's HTTP protocol, with problem documents for what is no HTTP, and an end to heads that have none.

Promises that a malformed request is answered like every other error, that a head (and chunk extensions and trailers)
of any length costs little memory, and that the answer arrives though the client is still sending.
"""

from __future__ import annotations

import secrets
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from genpulse.errors import RequestError
from genpulse.gateway.problems import problem_response

MAX_HEAD_BYTES = 64 << 10
_LINGER_S = 2.0


class GatewayProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    _unparsed = 0
    """Bytes since the parser told of a body or the end of a request: what it keeps, it keeps without any limit."""
    _refused = False

    def data_received(self, data: bytes) -> None:
        """Parse what came; a connection that was refused only drains."""
        if self._refused:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and not self._refused:
            self._refuse(431, f"The head of the request is larger than {MAX_HEAD_BYTES >> 10} KiB.")

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called instead of the app when the bytes are no HTTP."""
        del msg  # uvicorn's words
        self._refuse(400, "The request is not valid HTTP.")

    def _refuse(self, status: int, why: str) -> None:
        self._refused = True
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None until a head was whole
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:  # a whole request came before: it gets its answer, the connection then ends
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:  # ours would be taken for the answer to another one
                self.transport.close()
                return
        response = problem_response(RequestError("invalid_request", why, status=status))
        response.headers["X-Request-Id"] = secrets.token_hex(8)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Connection"] = "close"
        head = b"".join(
            b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *response.raw_headers)
        )
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(response.body))
        # Closed while bytes arrive, the kernel would reset the connection, and the answer would be lost.
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_S, self.transport.close)
