"""A gateway in memory that follows design §7 closely enough for a client, and lies where a test tells it to.

It stays for what a real gateway never does: cut streams, damaged files, hostile names and texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]
TERMINAL = {"completed", "failed", "canceled"}
PICTURE = Path(__file__).with_name("picture.png").read_bytes()


@dataclass
class Twists:
    """How the gateway misbehaves."""

    cut_streams: int = 0
    """So many streams end after one event."""
    no_streams: bool = False
    damaged: bool = False
    drop_submits: int = 0
    """So many submits are accepted but answered by a closed connection."""
    expired_urls: int = 0
    ignore_cancel: bool = False
    output_name: str = "picture.png"
    log: str | None = None
    warnings: list[str] = field(default_factory=list)
    announced_bytes: int | None = None
    pools: list[Json] | None = None
    """None: the key may not manage the queue."""


class FakeGateway:
    """Serves on a free port in a thread; `url` can be used as soon as the constructor has returned."""

    def __init__(self) -> None:
        self.reset()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        self.changed: asyncio.Condition | None = None

    def reset(self) -> None:
        """Honest and empty."""
        self.twists = Twists()
        self.tasks: dict[str, Json] = {}
        self.events: dict[str, list[tuple[str, Json]]] = {}
        self.by_key: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def close(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/task", self.submit, methods=["POST"]),
                Route("/task", self.list, methods=["GET"]),
                Route("/task/{id}", self.get),
                Route("/task/{id}/cancel", self.cancel, methods=["POST"]),
                Route("/task/{id}/events", self.stream),
                Route("/files/{id}/{name}", self.download),
                Route("/pools", self.pools),
                Route("/pools/{name}/pause", self.pause, methods=["POST"]),
                Route("/task/{id}/front", self.front, methods=["POST"]),
                Route("/status", self.status),
            ]
        )

    def note(self, request: Request) -> None:
        self.requests.append((request.method, request.scope["path"], dict(request.headers)))

    # Tasks ------------------------------------------------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        self.note(request)
        body = await request.json()
        key = request.headers.get("idempotency-key", "")
        if body["task_type"] not in {"picture", "slow"}:
            return problem(422, "unknown_task_type", "Unknown task type", [("task_type", "no handler serves this")])
        if key not in self.by_key:
            task = self.create(body)
            self.by_key[key] = task["task_id"]
            self._work = asyncio.create_task(self.work(task))
        if self.twists.drop_submits:
            self.twists.drop_submits -= 1
            return StreamingResponse(_broken(), headers={"content-length": "100"})
        return JSONResponse({**self.tasks[self.by_key[key]], "message": "Task received"}, 202)

    def create(self, body: Json) -> Json:
        task_id = str(uuid.uuid4())
        base = f"{self.url}/task/{task_id}"
        task: Json = {
            "task_id": task_id,
            "task_type": body["task_type"],
            "model": body.get("model") or f"local/{body['task_type']}",
            "status": "pending",
            "priority": body.get("priority", "normal"),
            "progress": None,
            "stage": None,
            "queue_position": None,
            "attempt": 1,
            "retry_of": None,
            "created_at": now(),
            "started_at": None,
            "finished_at": None,
            "cancel_requested_at": None,
            "params": body["params"],
            "metadata": body.get("metadata", {}),
            "warnings": self.twists.warnings,
            "result": None,
            "error": None,
            "cost": None,
            "urls": {"self": base, "events": f"{base}/events", "cancel": f"{base}/cancel"},
        }
        self.tasks[task_id] = task
        self.events[task_id] = []
        return task

    async def work(self, task: Json) -> None:
        await self.emit(task)
        await self.emit(task, status="processing", started_at=now(), progress=0.0)
        if self.twists.log is not None:
            await self.emit(task, event="log", data={"message": self.twists.log})
        await self.emit(task, event="progress", data={"progress": 42.0, "stage": "styling"})
        if task["task_type"] == "picture":
            result = {"outputs": [self.output()], "text": None, "data": None, "seed": task["params"].get("seed", 7)}
            await self.emit(task, status="completed", finished_at=now(), progress=100.0, result=result)

    def output(self) -> Json:
        content, name = PICTURE, self.twists.output_name
        file_id = str(uuid.uuid4())
        self.files[file_id] = content
        return {
            "file_id": file_id,
            "url": f"{self.url}/files/{file_id}/x?sig=good",
            "name": name,
            "kind": "image",
            "media_type": "image/png",
            "bytes": self.twists.announced_bytes or len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "width": 4,
            "height": 3,
            "duration_s": None,
        }

    async def emit(self, task: Json, *, event: str = "state", data: Json | None = None, **changes: Any) -> None:
        task.update(changes)
        shown = data or {key: value for key, value in task.items() if key != "params"}
        self.changed = self.changed or asyncio.Condition()
        async with self.changed:
            self.events[task["task_id"]].append((event, json.loads(json.dumps(shown))))
            self.changed.notify_all()

    async def list(self, request: Request) -> Response:
        self.note(request)
        query = request.query_params
        found = [
            task
            for task in reversed(self.tasks.values())
            if query.get("status") in {None, task["status"]} and query.get("task_type") in {None, task["task_type"]}
        ]
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", 20))
        more = start + limit < len(found)
        return JSONResponse(
            {"tasks": found[start : start + limit], "next_cursor": str(start + limit) if more else None}
        )

    async def get(self, request: Request) -> Response:
        self.note(request)
        task = self.tasks.get(request.path_params["id"])
        if task is None:
            return missing()
        wait = float(request.query_params.get("wait", 0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait), self.changed or asyncio.Condition():
                while self.changed and wait and task["status"] not in TERMINAL:
                    await self.changed.wait()
        return JSONResponse(task)

    async def cancel(self, request: Request) -> Response:
        self.note(request)
        task = self.tasks.get(request.path_params["id"])
        if task is None:
            return missing()
        if task["status"] == "processing":
            await self.emit(task, cancel_requested_at=now())
        if task["status"] not in TERMINAL and not self.twists.ignore_cancel:
            error = {"code": "canceled", "message": "Canceled.", "retryable": False, "money_at_risk": False}
            await self.emit(task, status="canceled", finished_at=now(), error=error)
        return JSONResponse(task)

    async def stream(self, request: Request) -> Response:
        self.note(request)
        task_id = request.path_params["id"]
        if task_id not in self.tasks or self.twists.no_streams:
            return missing()
        after = int(request.headers.get("last-event-id", 0))
        events = self.events[task_id]
        with_ids = [entry for entry in events if entry[0] != "progress"]
        if after >= len(with_ids) and self.tasks[task_id]["status"] in TERMINAL:
            return Response(status_code=204)
        return StreamingResponse(self.frames(task_id, after), media_type="text/event-stream")

    async def frames(self, task_id: str, after: int) -> Any:
        cut = self.twists.cut_streams > 0
        self.twists.cut_streams -= cut
        seen, number = 0, 0
        yield "retry: 2000\n\n"
        while True:
            for event, data in self.events[task_id][seen:]:
                seen += 1
                number += event != "progress"
                if event == "progress":
                    yield f"event: progress\ndata: {json.dumps(data)}\n\n"
                elif number > after:
                    yield f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
                    if cut or data.get("status") in TERMINAL:
                        return
            async with self.changed:
                while len(self.events[task_id]) == seen:
                    await self.changed.wait()

    # The rest ---------------------------------------------------------------------------------------------------

    async def download(self, request: Request) -> Response:
        self.note(request)
        if self.twists.expired_urls:
            self.twists.expired_urls -= 1
            return problem(403, "url_expired", "URL expired")
        content = self.files[request.path_params["id"]]
        return Response(content[:-1] + b"?" if self.twists.damaged else content, media_type="image/png")

    async def pools(self, request: Request) -> Response:
        self.note(request)
        return forbidden() if self.twists.pools is None else JSONResponse({"pools": self.twists.pools})

    async def pause(self, request: Request) -> Response:
        self.note(request)
        return forbidden()

    async def front(self, request: Request) -> Response:
        self.note(request)
        task = self.tasks.get(request.path_params["id"])
        return missing() if task is None else JSONResponse({**task, "queue_position": 1})

    async def status(self, request: Request) -> Response:
        self.note(request)
        parts = {"database": {"status": "ok"}, "workers": {"status": "degraded", "detail": "no worker is running"}}
        return JSONResponse({"status": "degraded", "version": "9.9", "components": parts, "queue": {}})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def missing() -> Response:
    return problem(404, "not_found", "Not found", detail="There is no task with this id.")


def forbidden() -> Response:
    return problem(403, "forbidden", "Forbidden", detail="This key may not manage the queue.")


def problem(
    status: int, code: str, title: str, fields: list[tuple[str, str]] | None = None, detail: str = ""
) -> Response:
    body: Json = {"type": f"urn:genpulse:error:{code}", "title": title, "status": status, "detail": detail}
    body["error"] = {"message": detail or title, "type": "invalid_request_error", "param": None, "code": code}
    if fields:
        body["errors"] = [{"field": name, "message": message, "code": code} for name, message in fields]
    return JSONResponse(body, status, media_type="application/problem+json")


async def _broken() -> Any:
    yield b"{"
    raise ConnectionResetError("on purpose")
