"""A gateway over real HTTP on real servers, in the test's own event loop, so that tests see both sides."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from genpulse.core.backlog import Backlog
from genpulse.core.context import Context
from genpulse.core.files import FileService
from genpulse.core.keys import KeyService
from genpulse.core.models import Job
from genpulse.core.params import MediaInput, TextToImageParams, TextToSpeechParams
from genpulse.core.registry import Model
from genpulse.core.service import Limits, TaskService
from genpulse.core.signals import Signals
from genpulse.core.view import TaskView
from genpulse.errors import TaskError
from genpulse.gateway.app import GatewayServices, close_streams, create_app
from genpulse.gateway.protocol import GatewayProtocol
from genpulse.handlers.base import BaseHandler
from genpulse.media.inspector import MediaInspector
from genpulse.settings import Settings
from genpulse.storage.object_storage import ObjectStorage
from genpulse.storage.signing import UrlSigner
from genpulse.store.database import Database
from genpulse.store.keys import SqlKeyStore
from tests.core.system import System

Json = dict[str, Any]
PICTURE = (Path(__file__).parent.parent / "cli" / "picture.png").read_bytes()
"""4 x 3 pixels."""


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


class PaintParams(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    prompt: str = Field("x", max_length=100)
    width: int = Field(512, ge=64, le=2048)
    seed: int | None = None


class MeasureParams(BaseModel):
    file: MediaInput


class GatewaySystem(System):
    """All parts below the gateway, with the real media inspector and task types of our own."""

    def __init__(self, database: Database, redis_url: str, folder: Path, **options: Any) -> None:
        super().__init__(database, redis_url, folder, **options)
        self.inspector = MediaInspector()
        self.signer = UrlSigner(b"s" * 32)
        self.view = TaskView("http://own", lambda file_id: self.signer.query(file_id, int(time.time()) + 3600))
        self.signals = Signals(self.queue, self.view, self.metrics)
        self.storage = ObjectStorage.from_url(None, folder)
        self.files = FileService(
            self.ledger, self.storage, self.inspector, min_free_bytes=options.get("min_free_bytes", 0)
        )
        limits = Limits(max_queued=options.get("max_queued", 0))
        self.tasks = TaskService(
            self.ledger, self.queue, self.registry, self.files, self.signals, limits=limits, metrics=self.metrics
        )
        self.keys = KeyService(SqlKeyStore(database))
        self.metrics.add_source(Backlog(self.ledger, self.queue, self.registry))
        self._register_more()

    def _register_more(self) -> None:
        gate = self.gate

        @self.registry.register("paint")
        class Paint(BaseHandler):
            """Saves a small picture."""

            Params = PaintParams

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                await context.log("a line\nand another")
                await context.save(PICTURE, "picture.png")
                return {}

        @self.registry.register("tick")
        class Tick(BaseHandler):
            Params = Anything

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                gate.started.append(job.task_id)
                await context.progress(42, "styling")
                await gate.open.wait()
                return {}

        @self.registry.register("measure")
        class Measure(BaseHandler):
            Params = MeasureParams

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                return {"bytes": (await context.read(job.params.file)).stat().st_size}

        @self.registry.register("fail")
        class Fail(BaseHandler):
            async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
                raise TaskError("content_policy", "No.")

        @self.registry.register("text-to-image")
        class TextToImage(BaseHandler):
            Params = TextToImageParams

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                return {}

        @self.registry.register("text-to-speech")
        class TextToSpeech(BaseHandler):
            Params = TextToSpeechParams

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                return {}

        self.registry.register_model(
            Model("other/absent", ("shout", "paint"), "Both.", available=lambda: "its extra is not installed")
        )

    async def close(self) -> None:
        await super().close()
        await self.inspector.close()


class _Server(uvicorn.Server):
    """Stops when it is told to, not at its next look a tenth of a second later."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the Date header
        await self.stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class Served:
    """A gateway that serves."""

    def __init__(self, system: GatewaySystem, app: FastAPI, server: _Server, port: int) -> None:
        self.system, self.app, self.server, self.port = system, app, server, port
        self.url = f"http://127.0.0.1:{port}"
        self._streams: list[Stream] = []
        self.http = httpx2.AsyncClient(base_url=self.url, trust_env=False, verify=False, timeout=20)

    async def submit(self, task_type: str = "paint", **fields: Any) -> Json:
        answer = await self.http.post("/task", json={"task_type": task_type, **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def finished(self, task_type: str = "paint", **fields: Any) -> Json:
        """A task that has ended; a worker must run."""
        task = await self.submit(task_type, **fields)
        answer = await self.http.get(f"/task/{task['task_id']}", params={"wait": 20})
        assert answer.json()["finished_at"] is not None, answer.text
        return answer.json()

    async def follow(self, path: str, **headers: str) -> "Stream":
        self._streams.append(await Stream.open(self.port, path, headers))
        return self._streams[-1]

    async def close(self) -> None:
        await self.http.aclose()
        for stream in self._streams:
            await stream.close()

    async def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer to bytes that no proper client would send; the connection is closed afterwards."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return await read_answer(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value for name, value in headers.items()}


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, headers = await read_head(reader)
    return status, headers, await reader.readexactly(int(headers.get("content-length", 0)))


class Stream:
    """One event stream, read frame by frame from its connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.status, self.headers = 0, {}
        self._buffer = b""

    @classmethod
    async def open(cls, port: int, path: str, headers: dict[str, str]) -> "Stream":
        stream = cls(*await asyncio.open_connection("127.0.0.1", port))
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        stream.writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n".encode())
        stream.status, stream.headers = await read_head(stream._reader)
        return stream

    async def frame(self) -> str | None:
        """The next frame as text; None at the end."""
        while b"\n\n" not in self._buffer:
            size = int((await asyncio.wait_for(self._reader.readuntil(b"\r\n"), 20)).strip(), 16)
            self._buffer += (await self._reader.readexactly(size + 2))[:-2]
            if size == 0:
                return None
        text, self._buffer = self._buffer.split(b"\n\n", 1)
        return text.decode()

    async def events(self) -> AsyncIterator[tuple[int | None, str, Any]]:
        """`(id, event, data)` of all events up to the end; pings and `retry` are left out."""
        while (text := await self.frame()) is not None:
            fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
            if "event" in fields:
                number = fields.get("id")
                yield None if number is None else int(number), fields["event"], json.loads(fields["data"])

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(system: GatewaySystem, *, with_keys: bool = False, **options: Any) -> AsyncIterator[Served]:
    """A gateway for the length of a block; it must stop promptly, whatever is open."""
    settings = Settings(_env_file=None, data_dir=system.folder, **options)
    services = GatewayServices(
        tasks=system.tasks,
        files=system.files,
        registry=system.registry,
        view=system.view,
        signer=system.signer,
        operations=system.operations,
        keys=system.keys if with_keys else None,
        metrics=system.metrics,
    )
    app = create_app(services, settings)
    config = uvicorn.Config(
        app, http=GatewayProtocol, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(config)
        running = asyncio.create_task(server.serve([listener]))
        served = Served(system, app, server, listener.getsockname()[1])
        try:
            yield served
        finally:
            close_streams(app)
            await served.close()
            server.stopping.set()
            await asyncio.wait_for(running, 10)
