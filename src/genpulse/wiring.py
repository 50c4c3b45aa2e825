"""Puts the parts together and runs them: the one place that knows every implementation.

`run` is what `start-all`, `start-api` and `start-worker` call. With no `REDIS_URL` the holder of the data directory's
lock starts and supervises an embedded Valkey; a bare `start-worker` attaches to it.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvloop
from fastapi import FastAPI

from genpulse import __version__, logs
from genpulse.core.attempt import Backends, Tools
from genpulse.core.backlog import Backlog
from genpulse.core.files import FileService
from genpulse.core.ids import new_id
from genpulse.core.keys import KeyService
from genpulse.core.loop_lag import watch_event_loop
from genpulse.core.metrics import Metrics
from genpulse.core.operations import Operations
from genpulse.core.plugins import PluginError, load_plugins
from genpulse.core.ports import QueueUnavailableError
from genpulse.core.producers import DirectProducers
from genpulse.core.progress import ProgressReporter
from genpulse.core.reconciler import Reconciler
from genpulse.core.registry import registry
from genpulse.core.service import Limits, TaskService
from genpulse.core.signals import Signals
from genpulse.core.view import TaskView
from genpulse.core.worker import Worker
from genpulse.embedded import DataLock, DataLockError, EmbeddedError, EmbeddedValkey, running_server
from genpulse.errors import RequestError
from genpulse.gateway.app import GatewayServices, close_streams, create_app
from genpulse.gateway.server import Server, serving_metrics
from genpulse.isolation import ProcessIsolation
from genpulse.media.inspector import MediaInspector
from genpulse.mq import RedisManager, UnsuitableServerError
from genpulse.settings import Settings
from genpulse.storage.object_storage import ObjectStorage
from genpulse.storage.signing import UrlSigner, load_secret
from genpulse.store.database import Database, SqliteDatabase
from genpulse.store.keys import SqlKeyStore
from genpulse.store.ledger import SqlLedger
from genpulse.store.migrate import SchemaTooNewError, migrate

_log = logging.getLogger(__name__)
_BACKLOG = 2048
"""uvicorn's own; the system may allow less."""


class StartError(Exception):
    """The server can't start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a process has opened."""

    settings: Settings
    ledger: SqlLedger
    queue: RedisManager
    storage: ObjectStorage
    inspector: MediaInspector
    files: FileService
    signals: Signals
    tasks: TaskService
    view: TaskView
    signer: UrlSigner
    keys: KeyService
    operations: Operations
    metrics: Metrics
    lock: DataLock | None


def run(settings: Settings, *, gateway: bool, worker: bool) -> int:
    """Run until SIGTERM or Ctrl-C; returns the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    try:
        load_plugins(settings.plugins)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, gateway=gateway, worker=worker))
    except (StartError, PluginError, DataLockError, EmbeddedError, SchemaTooNewError, UnsuitableServerError) as error:
        sys.stderr.write(f"GenPulse can't start: {error}\n")
        return 1
    except ValueError as error:  # DATABASE_URL, GENPULSE_STORAGE_URL or the secret is not usable
        sys.stderr.write(f"GenPulse can't start: {error}\n")
        return 1
    except RequestError as error:
        sys.stderr.write(f"GenPulse can't start: {error.message} Check DATABASE_URL.\n")
        return 1


@asynccontextmanager
async def open_parts(settings: Settings, *, owns_data: bool = True) -> AsyncGenerator[Parts]:
    """Open all parts, and close them in reverse order.

    Args:
        owns_data: take the data directory's lock and start the embedded services; otherwise attach to a process that
            has done so.
    """
    async with AsyncExitStack() as stack:
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = (
                f"the data directory {settings.data_dir} can't be made ({error.strerror}); choose another --data-dir."
            )
            raise StartError(message) from error
        lock = await stack.enter_async_context(DataLock(settings.data_dir)) if owns_data else None
        redis_url = await _redis_url(settings, lock, stack)

        database = Database.open(_secret(settings.database_url), settings.data_dir)
        if isinstance(database, SqliteDatabase) and database.path.parent.resolve() != settings.data_dir.resolve():
            await database.close()
            raise StartError(
                f"DATABASE_URL names an SQLite file outside the data directory {settings.data_dir}, so processes could "
                "share the database and not the files. Name its folder with --data-dir, or use PostgreSQL and "
                "GENPULSE_STORAGE_URL for several."
            )
        metrics = Metrics()
        ledger = SqlLedger(database, metrics)
        stack.push_async_callback(ledger.close)
        await migrate(database)
        queue = RedisManager(redis_url, prefix=settings.redis_prefix, metrics=metrics)
        stack.push_async_callback(queue.close)
        try:
            await queue.check_server()
        except QueueUnavailableError as error:  # accepts and workers go on without it (invariant 1)
            _log.warning("the queue can't be reached; tasks are claimed from the ledger meanwhile: %s", error)
        storage = ObjectStorage.from_url(_secret(settings.storage_url), settings.data_dir)
        inspector = MediaInspector()
        stack.push_async_callback(inspector.close)
        files = FileService(ledger, storage, inspector, min_free_bytes=settings.min_free_mb * 2**20)
        signer = UrlSigner(load_secret(settings.secret_key, settings.data_dir))

        def sign(file_id: str) -> str:
            return signer.query(file_id, int(time.time()) + settings.file_url_ttl_s)

        view = TaskView(settings.public_url or local_url(settings), sign)
        signals = Signals(queue, view, metrics)
        stack.push_async_callback(signals.close)
        limits = Limits(max_queued=settings.max_queued)
        tasks = TaskService(ledger, queue, registry, files, signals, limits=limits, metrics=metrics)
        keys = KeyService(SqlKeyStore(database))
        operations = Operations(ledger, queue, registry, pools=settings.pools)
        yield Parts(
            *(settings, ledger, queue, storage, inspector, files, signals, tasks, view, signer, keys),
            *(operations, metrics, lock),
        )


def _uses_data_dir(settings: Settings) -> bool:
    """Does a gateway keep its queue or its database in the data directory? Then it needs that for itself."""
    url = _secret(settings.database_url)
    return settings.redis_url is None or url is None or url.startswith("sqlite")


async def _redis_url(settings: Settings, lock: DataLock | None, stack: AsyncExitStack) -> str:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    if lock is not None:
        valkey = EmbeddedValkey(settings.data_dir, lock, run_dir=settings.run_dir)
        await stack.enter_async_context(valkey)
        return valkey.url
    running = running_server(settings.data_dir)
    if running is None or not running.redis_url:
        raise StartError(
            f"no GenPulse is running on the data directory {settings.data_dir}. Run `genpulse start-all` (or "
            "`start-api`) first, or set REDIS_URL and DATABASE_URL to work with other servers."
        )
    return running.redis_url


def _secret(value: Any) -> str | None:
    return None if value is None else str(value.get_secret_value())


def make_worker(parts: Parts) -> Worker:
    """A worker on these parts."""
    settings = parts.settings
    tools = Tools(
        ledger=parts.ledger,
        registry=registry,
        files=parts.files,
        signals=parts.signals,
        progress=ProgressReporter(parts.queue),
        backends=Backends(),
        isolation=ProcessIsolation(settings.plugins, variables=settings.plugin_variables),
        work_root=settings.data_dir / "work",
        task_timeout_s=settings.task_timeout_s,
        max_attempts=settings.max_attempts,
        retry_backoff_s=settings.retry_backoff_s,
        metrics=parts.metrics,
    )
    return Worker(tools, parts.queue, pools=settings.pools, lease_s=settings.lease_s, drain_s=settings.drain_s)


def make_reconciler(parts: Parts) -> Reconciler:
    """A reconciler on these parts, for all pools that models name."""
    settings = parts.settings
    pools = {model.pool for model in registry.models} | set(settings.pools)
    return Reconciler(
        parts.ledger,
        parts.queue,
        parts.signals,
        parts.files,
        registry,
        pools=sorted(pools),
        lease_s=settings.lease_s,
        ageing_s=settings.ageing_s,
        retention_days=settings.retention_days,
        metrics=parts.metrics,
    )


def make_producers(parts: Parts) -> DirectProducers:
    """The door of direct producers on these parts."""
    return DirectProducers(parts.tasks, parts.queue.ingress(new_id()), tenant=parts.settings.ingress_tenant)


async def _serve(settings: Settings, *, gateway: bool, worker: bool) -> int:
    sockets = [_bind(settings)] if gateway else []
    async with AsyncExitStack() as stack:
        if gateway:
            stack.callback(sockets[0].close)
            settings = settings.model_copy(update={"port": sockets[0].getsockname()[1]})
        parts = await stack.enter_async_context(open_parts(settings, owns_data=gateway and _uses_data_dir(settings)))
        if not gateway and settings.metrics_port is not None:
            try:
                await stack.enter_async_context(serving_metrics(parts.metrics, settings, settings.metrics_port))
            except OSError as error:
                message = f"GENPULSE_METRICS_PORT {settings.metrics_port} can't be bound ({error.strerror})."
                raise StartError(message) from error
        process = _Process(parts, sockets, with_worker=worker)
        code = await process.run()
    if process.stuck:
        # The interpreter would wait for the thread, beyond the lease after which its task is run elsewhere.
        _log.error("a handler's blocking code doesn't return: this process ends without it")
        os._exit(code)
    return code


class _Process:
    """The running tasks of one process, until a signal or until one of them breaks."""

    def __init__(self, parts: Parts, sockets: list[socket.socket], *, with_worker: bool) -> None:
        self._parts = parts
        self._sockets = sockets
        self._worker = make_worker(parts) if with_worker else None
        self._server: Server | None = None
        self._app: FastAPI | None = None
        self._stop = asyncio.Event()
        self._signals_seen = 0

    @property
    def stuck(self) -> bool:
        """Does blocking code still run that can't be stopped?"""
        return self._worker is not None and self._worker.stuck

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal)
        if self._sockets:
            await _require_keys(self._parts.settings, self._parts.keys)  # before anything runs that would have to stop
        reconciler = make_reconciler(self._parts)
        await reconciler.rescue(at_start=True)
        serving = await self._start_server() if self._sockets else None  # before the first task: it may still fail
        producing = asyncio.create_task(make_producers(self._parts).run(), name="direct producers")
        running = [
            asyncio.create_task(reconciler.run(), name="reconciler"),
            asyncio.create_task(watch_event_loop(self._parts.metrics), name="event loop watch"),
            producing,
        ]
        ends: list[asyncio.Task[Any]] = []
        if serving is not None:
            ends.append(asyncio.create_task(serving, name="gateway"))
        if self._worker is not None:
            ends.append(asyncio.create_task(self._worker.run(), name="worker"))
            _log.info("worker %s runs pools %s", self._worker.id, dict(self._parts.settings.pools))
        _spare_garbage_collection()
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, *running, *ends}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        broken = [task for task in (*running, *ends) if task.done() and not self._stop.is_set()]
        for task in broken:
            _log.error(
                "%s ended unexpectedly", task.get_name(), exc_info=None if task.cancelled() else task.exception()
            )
        self._shut_down()
        producing.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return 1 if broken else 0

    def _on_signal(self) -> None:
        self._signals_seen += 1
        if self._signals_seen > 1 and self._worker is not None:
            _log.warning("second signal: running tasks are handed back now")
            self._worker.stop(drain_s=0)
        self._stop.set()

    def _shut_down(self) -> None:
        if self._server is not None and self._app is not None:
            self._server.should_exit = True
            close_streams(self._app)  # uvicorn would wait for them
        if self._worker is not None:
            self._worker.stop()

    async def _start_server(self) -> Any:
        settings, parts = self._parts.settings, self._parts
        parts.metrics.add_source(Backlog(parts.ledger, parts.queue, registry))
        self._app = create_app(
            GatewayServices(
                tasks=parts.tasks,
                files=parts.files,
                registry=registry,
                view=parts.view,
                signer=parts.signer,
                operations=parts.operations,
                keys=parts.keys,
                metrics=parts.metrics,
            ),
            settings,
        )
        self._server = Server(self._app)
        url = settings.public_url or parts.view.base_url
        if parts.lock is not None:
            parts.lock.announce(gateway_url=local_url(settings))  # for this machine, not the public address
        _log.info("GenPulse %s serves %s (try %s/docs)", __version__, url, url)
        return self._server.serve(self._sockets)


def _spare_garbage_collection() -> None:
    """What was made until now stays: don't look through it again and again, and look less often for cycles.

    Under load the collector took 15 % of a gateway's time; by default it looks after 700 new objects, a few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)  # who connects before the server is ready waits, instead of being refused
    except OSError as error:
        listener.close()
        raise StartError(
            f"{settings.host}:{settings.port} can't be bound ({error.strerror}). Is another GenPulse running? "
            "Stop it, or choose another port with --port (0 takes a free one)."
        ) from error
    return listener


async def _require_keys(settings: Settings, keys: KeyService) -> None:
    if is_loopback(settings.host) or settings.insecure_no_auth or await keys.any():
        return
    raise StartError(
        f"{settings.host} can be reached from other machines, and there is no API key yet. Make one with "
        "`genpulse keys create`, or allow everybody with --insecure-no-auth."
    )


def local_url(settings: Settings) -> str:
    """The gateway's address as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - recognised, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def is_loopback(host: str) -> bool:
    """Is this address reachable from this machine only?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
