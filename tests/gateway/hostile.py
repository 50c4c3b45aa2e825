"""Hostile requests: how they are told, sent as raw bytes, and what must be true of every answer."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

CANARY = b"CANARY-7f3a"
"""Stands in values that must never come back."""
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Hostile:
    """One request, `tail` times `times` behind its head, and the statuses that may answer it."""

    name: str
    request: bytes
    statuses: Collection[int]
    field: str | None = None
    """The field that the problem must name."""
    tail: bytes = b""
    times: int = 1


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def http(method: str, path: str, *headers: bytes, body: bytes | None = None, host: bytes = b"localhost") -> bytes:
    """The bytes of a request; with a body it is announced as JSON unless `headers` tell its type."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: " + host, *headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
        if not any(line.lower().startswith(b"content-type:") for line in headers):
            lines.append(b"Content-Type: application/json")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


async def send(port: int, hostile: Hostile) -> Answer:
    """The answer, however much of the request was read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writing = asyncio.create_task(_write(writer, hostile))
    try:
        async with asyncio.timeout(30):
            return await _read(reader, no_body=hostile.request.startswith(b"HEAD "))
    finally:
        writing.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.gather(writing, return_exceptions=True)


async def _write(writer: asyncio.StreamWriter, hostile: Hostile) -> None:
    writer.write(hostile.request)
    for _ in range(hostile.times if hostile.tail else 0):
        writer.write(hostile.tail)
        await writer.drain()


async def _read(reader: asyncio.StreamReader, *, no_body: bool) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    size = 0 if no_body else int(headers.get("content-length", 0))
    return Answer(int(head[0].split()[1]), headers, await reader.readexactly(size))


def check(hostile: Hostile, answer: Answer) -> None:
    """Never a 5xx, never an echo; an error is a problem document that names the field."""
    told = (hostile.name, answer.status, answer.body[:300])
    assert answer.status in hostile.statuses, told
    assert answer.status < 500, told
    assert CANARY not in answer.body and CANARY.decode() not in str(answer.headers), told
    if answer.status >= 400 and answer.body:
        assert answer.headers["content-type"] == PROBLEM, told
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-request-id"], told
        problem = answer.json()
        assert problem["status"] == answer.status and problem["error"]["type"].endswith("_error"), told
        fields = [error["field"] for error in problem.get("errors", [])]
        assert len(fields) <= 20 and len(answer.body) < 10_000, told
        assert hostile.field is None or hostile.field in fields, (*told, fields)


MAX_BUSY_S = 0.25


@asynccontextmanager
async def watched_loop(what: str) -> AsyncIterator[None]:
    """Fails when the running loop is busy for `MAX_BUSY_S` without a pause, in CPU time of its thread.

    CPU time, because the machine is shared: a loop whose thread isn't scheduled is late too, without any fault of ours.
    Work on other threads doesn't count, and must not: it leaves the loop free.
    """
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.002)
            worst = max(worst, time.thread_time() - before)

    ticking = asyncio.create_task(tick())
    try:
        yield
        await asyncio.sleep(0.003)  # the tick that is under way ends
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    assert worst < MAX_BUSY_S, f"{what}: the loop was busy for {worst:.3f} s"
