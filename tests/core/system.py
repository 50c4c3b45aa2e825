"""A worker, a reconciler and the services around them in one process, on real servers, without HTTP."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genpulse.core import states
from genpulse.core.attempt import Backends, Tools
from genpulse.core.context import Context
from genpulse.core.files import FileService
from genpulse.core.metrics import Metrics
from genpulse.core.models import Job, MediaInfo, State, Task
from genpulse.core.operations import Operations
from genpulse.core.progress import ProgressReporter
from genpulse.core.reconciler import Pace, Reconciler
from genpulse.core.registry import Registry
from genpulse.core.requests import TaskRequest
from genpulse.core.service import Limits, TaskService
from genpulse.core.signals import Signals
from genpulse.core.view import TaskView
from genpulse.core.worker import Worker
from genpulse.handlers.base import BaseHandler
from genpulse.isolation import ProcessIsolation
from genpulse.mq import RedisManager
from genpulse.storage.object_storage import ObjectStorage
from genpulse.store.database import Database
from genpulse.store.ledger import SqlLedger
from tests.isolation.handlers import HANDLERS

FAST = Pace(due_s=0.05, rescue_s=0.1, hints_s=0.1, retention_s=0.2)


class TextInspector:
    async def inspect(self, path: Path, *, name: str = "") -> MediaInfo:
        return MediaInfo("text", "text/plain", "txt")


class Gate:
    """Lets tests hold handlers, and see what runs at the same time."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.started: list[str] = []
        self.running = 0
        self.most = 0


class System:
    """Everything but HTTP."""

    def __init__(self, database: Database, redis_url: str, folder: Path, **options: Any) -> None:
        self.metrics = Metrics()
        self.ledger = SqlLedger(database, self.metrics)
        self.queue = RedisManager(redis_url, metrics=self.metrics)
        self.gate = Gate()
        self.registry = Registry()
        self.signals = Signals(self.queue, TaskView("http://test", lambda file_id: "sig"), self.metrics)
        self.files = FileService(self.ledger, ObjectStorage.from_url(None, folder), TextInspector(), min_free_bytes=0)
        limits = Limits(max_queued=options.get("max_queued", 0))
        self.tasks = TaskService(
            self.ledger, self.queue, self.registry, self.files, self.signals, limits=limits, metrics=self.metrics
        )
        self.lease_s = options.get("lease_s", 30.0)
        self.ageing_s = options.get("ageing_s", 300.0)
        self.retention_days = options.get("retention_days", 0.0)
        self.pools = options.get("pools", {"handlers": 10})
        self.pace = options.get("pace", FAST)
        self.folder = folder
        self.isolation = ProcessIsolation(
            options.get("plugins", ["tests.isolation.plugin"]),
            variables=options.get("variables", ()),
            idle_s=options.get("idle_s", 60),
        )
        self.operations = Operations(self.ledger, self.queue, self.registry, pools=self.pools)
        self._register_handlers()
        for task_type, handler in HANDLERS.items():
            self.registry.register(task_type)(handler)

    def _register_handlers(self) -> None:
        gate = self.gate

        class Text(BaseModel):
            text: str = "hello"

        @self.registry.register("shout")
        class Shout(BaseHandler):
            Params = Text

            async def execute(self, job: Job, context: Context) -> dict[str, Any]:
                await context.progress(50, "shouting")
                context.warn("loud")
                await context.save(job.params.text.upper().encode(), "shout.txt")
                return {"text": job.params.text.upper()}

        @self.registry.register("hold")
        class Hold(BaseHandler):
            async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
                gate.started.append(task["task_id"])
                gate.running += 1
                gate.most = max(gate.most, gate.running)
                try:
                    await gate.open.wait()
                finally:
                    gate.running -= 1
                return {}

        @self.registry.register("block")
        class Block(BaseHandler):
            def execute(self, task: dict[str, Any]) -> dict[str, Any]:
                return {"thread": threading.current_thread() is not threading.main_thread()}

        @self.registry.register("odd")
        class Odd(BaseHandler):
            def validate_params(self, params: dict[str, Any]) -> bool:
                return params.get("n", 1) % 2 == 1

            async def execute(self, task: dict[str, Any], context: dict[str, Any]) -> Any:
                await context["update_status"]("processing", progress=40)
                return task["params"].get("answer", {"ok": True})

    def worker(self, **options: Any) -> Worker:
        tools = Tools(
            ledger=self.ledger,
            registry=self.registry,
            files=self.files,
            signals=self.signals,
            progress=ProgressReporter(self.queue),
            backends=Backends(),
            isolation=self.isolation,
            work_root=self.folder / "work",
            task_timeout_s=options.pop("task_timeout_s", 60),
            max_attempts=3,
            retry_backoff_s=0,
            metrics=self.metrics,
        )
        settings: dict[str, Any] = {"pools": self.pools, "lease_s": self.lease_s, "drain_s": 5}
        return Worker(tools, self.queue, **settings | options)

    def reconciler(self) -> Reconciler:
        return Reconciler(
            self.ledger,
            self.queue,
            self.signals,
            self.files,
            self.registry,
            pools=self.pools,
            lease_s=self.lease_s,
            ageing_s=self.ageing_s,
            retention_days=self.retention_days,
            pace=self.pace,
            metrics=self.metrics,
        )

    @contextlib.asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Worker]:
        """A worker for the length of a block; it is drained at its end."""
        worker = self.worker(**options)
        running = asyncio.create_task(worker.run())
        await worker.ready.wait()
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(running, 20)

    @contextlib.asynccontextmanager
    async def reconciling(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.reconciler().run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def submit(self, task_type: str, params: dict[str, Any] | None = None, **fields: Any) -> Task:
        tenant = fields.pop("tenant", "default")
        request = TaskRequest(task_type=task_type, params=params or {}, **fields)
        return (await self.tasks.submit(tenant, request)).task

    async def suspect(self, task_type: str, params: dict[str, Any] | None = None, **fields: Any) -> Task:
        """A task that executed its own code while its worker crashed: it will run alone. No worker may run yet."""
        task = await self.submit(task_type, params, **fields)
        await self.ledger.change(task.id, states.claim("dead"))
        rescued = await self.ledger.change(task.id, states.rescue("dead", suspect=True))
        assert rescued.task is not None
        return rescued.task

    async def end(self, task: Task, within_s: float = 10) -> Task:
        ended = await self.tasks.wait(task, within_s)
        assert ended.terminal, f"still {ended.state}"
        return ended

    async def until(self, task: Task, state: State, within_s: float = 10) -> Task:
        async with asyncio.timeout(within_s):
            while True:
                current = await self.ledger.get_any(task.id)
                assert current is not None
                if current.state == state:
                    return current
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        self.gate.open.set()
        await self.signals.close()
        await self.queue.close()
