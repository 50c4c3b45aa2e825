"""Reads the JSON body of a request; `core.strict_json` says what is accepted in it."""

from __future__ import annotations

import re

from fastapi import Request

from genpulse.core.models import Json
from genpulse.core.strict_json import MAX_BYTES, parse_json
from genpulse.errors import RequestError

_MEDIA_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)


async def read_json(request: Request, *, max_bytes: int = MAX_BYTES) -> Json:
    """The JSON object of the body.

    Raises:
        RequestError: `unsupported_media` 415, `payload_too_large` 413, `invalid_request` 400 when it is no JSON and
            422 when it is JSON that is not accepted.
    """
    headers = request.headers
    media_type = headers.get("content-type")
    if media_type and not _MEDIA_TYPE.fullmatch(media_type.strip()):
        raise RequestError("unsupported_media", "Send the body as application/json in UTF-8.")
    if headers.get("content-encoding", "identity") != "identity":
        raise RequestError("unsupported_media", "Send the body uncompressed.")
    return parse_json(await _read(request, max_bytes))


async def _read(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> RequestError:
    message = f"The body is larger than {max_bytes >> 10} KiB; upload media with POST /files and send its id."
    return RequestError("payload_too_large", message)
