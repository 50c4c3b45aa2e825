"""Streams the one file of a multipart body to disk.

Promises that the file never lies in memory as a whole, that it is cut off at its limit, and that nothing stays on disk.
Refuses other fields, a second file and a body that isn't whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from genpulse.errors import InvalidFieldError, RequestError

FIELD = "file"
FOLDER = "incoming"
"""In the data directory."""
_ENVELOPE = 16 << 10  # bytes for boundaries and part headers
_WRITE_AT = 1 << 20
_FORGOTTEN_S = 86_400


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file; `name` is the client's own, unsafe text."""

    path: Path
    name: str


@contextlib.asynccontextmanager
async def receive_upload(request: Request, folder: Path, max_bytes: int) -> AsyncGenerator[Upload]:
    """The file of a request's body, until the block is left.

    Raises:
        RequestError: `unsupported_media` when it is no multipart body, `payload_too_large`, `invalid_request`.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if media_type != b"multipart/form-data" or not boundary:
        raise RequestError("unsupported_media", f"Send multipart/form-data with the file in the field `{FIELD}`.")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > max_bytes + _ENVELOPE:
        raise _too_large(max_bytes)
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="upload-", dir=folder) as target:
        parts = _Parts(max_bytes)
        try:
            parser = MultipartParser(boundary, parts.callbacks(), max_header_count=8, max_header_size=4096)
            async for chunk in request.stream():
                parser.write(chunk)
                if len(parts.waiting) >= _WRITE_AT:
                    await asyncio.to_thread(target.write, parts.take())
            parser.finalize()
        except FormParserError:
            raise RequestError("invalid_request", "The multipart body is malformed.", status=400) from None
        if not parts.ended or parts.name is None:
            raise InvalidFieldError(FIELD, "is missing or not whole")
        await asyncio.to_thread(target.write, parts.take())
        await asyncio.to_thread(target.flush)
        yield Upload(Path(target.name), parts.name)


def sweep(folder: Path) -> None:
    """Remove what a killed process has left; another gateway on the same folder may be receiving, so only old files."""
    for left in folder.glob("upload-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
                left.unlink()


class _Parts:
    """What the parser's callbacks gather: the header of the part, and bytes that wait to be written."""

    def __init__(self, max_bytes: int) -> None:
        self.waiting = bytearray()
        self.name: str | None = None
        self.ended = False
        self._max_bytes = max_bytes
        self._size = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def callbacks(self) -> Any:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def take(self) -> bytes:
        """The bytes that wait, which then wait no more."""
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken

    def _begin(self) -> None:
        if self.name is not None:
            raise InvalidFieldError(FIELD, "must be the only field")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            raise InvalidFieldError(FIELD, "send one file in this field and no other field")
        self.name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._max_bytes:
            raise _too_large(self._max_bytes)
        self.waiting += data[start:end]

    def _end(self) -> None:
        self.ended = True


def _too_large(max_bytes: int) -> RequestError:
    return RequestError("payload_too_large", f"The file is larger than {max_bytes >> 20} MiB (GENPULSE_MAX_UPLOAD_MB).")
