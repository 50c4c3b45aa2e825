"""`/files`: upload, and download by signed URL with ranges and validators (RFC 9110).

What is served is hostile until proven otherwise: its media type is ours, nothing but pictures, video and sound is shown
inside a browser, and whatever is shown runs in a sandbox without any rights.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from genpulse.core.models import StoredFile
from genpulse.core.view import output_of
from genpulse.errors import RequestError
from genpulse.gateway.documents import Output
from genpulse.gateway.openapi import json_content, operation, parameter
from genpulse.gateway.problems import problem_response
from genpulse.gateway.responses import json_response
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of, tenant_of, view_of
from genpulse.gateway.upload import FOLDER, receive_upload

router = plain_router("Files")

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_SHOWN = re.compile(r"image/(png|jpeg|webp|gif|avif|bmp|tiff)|video/[\w.+-]+|audio/[\w.+-]+", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._-]+")

_ANY: dict[str, object] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_DOWNLOAD = operation(
    (200, "The file.", _ANY),
    (206, "The part that `Range` names.", _ANY),
    (304, "It is the file that you have.", None),
    errors=["url_expired", "not_found", ("not_found", 410), ("invalid_request", 416)],
    parameters=[
        parameter("file_id", "path", "The file's id."),
        parameter("name", "path", "Any name; for people and browsers."),
        parameter("exp", "query", "From the file's `url`."),
        parameter("sig", "query", "From the file's `url`."),
        parameter("Range", "header", "One range of bytes."),
    ],
)


@router.post(
    "/files",
    summary="Upload a file",
    **operation(
        (201, "The file; use its `file_id` as a media input.", json_content(Output)),
        errors=[("invalid_request", 400), "invalid_request", "payload_too_large", "unsupported_media", "storage_full"],
        body={
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    ),
)
async def upload(request: Request) -> Response:
    gateway = gateway_of(request)
    files = gateway.services.files
    await files.check_space()
    folder, max_bytes = gateway.settings.data_dir / FOLDER, gateway.settings.max_upload_mb << 20
    async with receive_upload(request, folder, max_bytes) as received:
        stored = await files.upload(tenant_of(request), received.path, received.name)
    shown = view_of(request).file(output_of(stored))
    return json_response(shown, 201, {"Location": str(shown["url"])})


@router.get("/files/{file_id}/{name}", summary="Download a file", **_DOWNLOAD)
async def download(request: Request) -> Response:
    file, headers = await _open(request)
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        part = _part(request, file, headers["ETag"])
    except ValueError:
        error = RequestError("invalid_request", "The file has no such range of bytes.", status=416)
        return problem_response(error, headers={"Content-Range": f"bytes */{file.bytes}"})
    start, end = part or (0, file.bytes)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    headers["Content-Length"] = str(end - start)
    content = gateway_of(request).services.files.open(file, start, end)
    content = await _started(content) if end > start else _nothing()
    return StreamingResponse(content, 206 if part else 200, headers, file.media_type)


@router.head("/files/{file_id}/{name}", summary="Look at a file's headers", **_DOWNLOAD)
async def look(request: Request) -> Response:
    file, headers = await _open(request)
    if _matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(file.bytes)
    return Response(None, 200, headers, file.media_type)


async def _open(request: Request) -> tuple[StoredFile, dict[str, str]]:
    """The file that a signed URL opens, and the headers that go with it.

    Raises:
        RequestError: `url_expired` first, so that nothing is learnt without a signature; then `not_found`, 410 when
            the file was deleted.
    """
    services = gateway_of(request).services
    file_id, query, now = str(request.path_params["file_id"]), request.query_params, time.time()
    exp = query.get("exp", "")
    if not services.signer.verify(file_id, exp, query.get("sig", ""), now):
        raise RequestError("url_expired", "This URL has expired or was not made by this server.")
    file = await services.files.find(file_id)
    if file is None:
        raise RequestError("not_found", "There is no such file.")
    if file.deleted_at is not None:
        raise _deleted()
    return file, {
        "ETag": f'"{file.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, immutable, max-age={max(0, int(exp) - int(now))}",
        "Content-Disposition": _disposition(file),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
    }


def _deleted() -> RequestError:
    return RequestError("not_found", "The file was deleted.", status=410)


async def _started(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same content; a file that is gone from storage is noticed before the answer begins."""
    try:
        first = await anext(content, b"")
    except FileNotFoundError:
        raise _deleted() from None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in content:
            yield chunk

    return whole()


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def _part(request: Request, file: StoredFile, etag: str) -> tuple[int, int] | None:
    """The bytes that `Range` asks for as start and (exclusive) end; None for the whole file.

    Several ranges, other units and malformed ones are ignored, which RFC 9110 allows.

    Raises:
        ValueError: there are no such bytes.
    """
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match[1] == match[2] == "" or request.headers.get("if-range", etag) != etag:
        return None
    size = file.bytes
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= end:
        raise ValueError("no such range")
    return start, end


def _matches(if_none_match: str, etag: str) -> bool:
    known = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return etag in known or "*" in known


def _disposition(file: StoredFile) -> str:
    """`Content-Disposition` (RFC 6266): the real name for browsers of today, an ASCII one for the others."""
    how = "inline" if _SHOWN.fullmatch(file.media_type) else "attachment"
    plain = file.name if _TOKEN.fullmatch(file.name) else re.sub(r"[^A-Za-z0-9._-]+", "_", file.name)
    encoded = "" if plain == file.name else f"; filename*=UTF-8''{quote(file.name, safe='')}"
    return f'{how}; filename="{plain}"{encoded}'
