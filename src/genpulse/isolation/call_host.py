"""What one fork of the template does: it runs one handler call, says how it ended, and is gone.

The handler gets an event loop of its own, the same `HandlerRun` as in the worker, and a context whose calls are served
by the worker. A thread takes the worker's answers, and ends this process and whatever it started when the worker is
gone, also while the loop is blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from genpulse.core.handler_run import HandlerRun
from genpulse.core.jobs import job_of
from genpulse.core.models import Json, Snapshot, StoredFile, Task
from genpulse.core.registry import registry
from genpulse.errors import TaskError
from genpulse.isolation.messages import decode, encode, error_as_message, error_of, reference_as_message

_FAILED_STATUS = 70
"""Of a child that ends without an answer by itself: `sys.exit` in a handler, say."""
_MAX_TEXT = 20_000


class WorkerLink:
    """The worker, as this process sees it: it serves what the handler's context offers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._input = connection.makefile("rb")
        self._sending = threading.Lock()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)

    def receive(self) -> Json | None:
        """The worker's next message; None when it is gone."""
        with contextlib.suppress(OSError):
            line = self._input.readline()
            if line.endswith(b"\n"):
                return decode(line)
        return None

    def send(self, message: Json) -> None:
        """Tell the worker. Any thread may call it; it waits when the worker is busy."""
        line = encode(message)
        with self._sending:
            self._connection.sendall(line)

    def listen(self, loop: asyncio.AbstractEventLoop, call: asyncio.Task[Any]) -> None:
        """Take answers and the wish to cancel, until the worker is gone; then end everything here."""
        while (message := self.receive()) is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call is over
                if "cancel" in message:
                    loop.call_soon_threadsafe(call.cancel)
                else:
                    loop.call_soon_threadsafe(self._answered, message)
        os.killpg(0, signal.SIGKILL)  # this process leads its own group

    def _answered(self, message: Json) -> None:
        future = self._asked.pop(message["answer"], None)
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(error_of(message["error"]))
        else:
            future.set_result(message["value"])

    async def _ask(self, message: Json) -> Any:
        ask_id = next(self._ids)
        self._asked[ask_id] = asyncio.get_running_loop().create_future()
        try:
            self.send({**message, "ask": ask_id})
            return await self._asked[ask_id]
        finally:
            self._asked.pop(ask_id, None)

    def report(self, snapshot: Snapshot) -> None:
        self.send({"progress": snapshot.progress, "stage": snapshot.stage})

    async def log(self, line: str) -> None:
        await self._ask({"log": line})

    async def store(self, tenant: str, task_id: str | None, path: Path, name: str) -> StoredFile:
        del tenant, task_id  # the worker knows them
        return StoredFile(**await self._ask({"store": _absolute(path), "name": name}))

    async def read(self, tenant: str, reference: Any, folder: Path) -> Path:
        del tenant, folder
        return Path(await self._ask({"read": reference_as_message(reference)}))


class _LogToWorker(logging.Handler):
    """What the handler's code logs belongs into the server's log."""

    def __init__(self, link: WorkerLink) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the worker is gone, and with it this process
            self._link.send({"record": self.format(record)[:_MAX_TEXT], "level": record.levelno, "logger": record.name})


def run_call(connection: socket.socket) -> NoReturn:
    """Run the call that comes over this connection, and end the process."""
    link = WorkerLink(connection)
    first = link.receive()
    if first is None:
        os._exit(0)
    root = logging.getLogger()
    root.handlers = [_LogToWorker(link)]
    root.setLevel(first["log_level"])
    try:
        asyncio.new_event_loop().run_until_complete(_run(link, first))
    except BaseException:  # noqa: BLE001 - `sys.exit` too is an end without an answer
        traceback.print_exc()
    # Without an orderly end: a thread of the handler's may go on for ever.
    _leave(_FAILED_STATUS)


async def _run(link: WorkerLink, first: Json) -> None:
    task = Task(**first["task"])
    call = asyncio.create_task(_call(link, task, Path(first["work_dir"])), name=f"work {task.id}")
    listening = (asyncio.get_running_loop(), call)
    threading.Thread(target=link.listen, args=listening, name="worker link", daemon=True).start()
    try:
        end = await call
    except asyncio.CancelledError:
        end = {"end": "cancelled"}
    try:
        link.send(end)
    except (TypeError, ValueError):  # an answer that is no JSON, or too large
        link.send({"end": "broken", "traceback": traceback.format_exc()[-_MAX_TEXT:]})
    _leave(0)


async def _call(link: WorkerLink, task: Task, work_dir: Path) -> Json:
    try:
        handler, _, job = job_of(task, registry, work_dir)
        finished, _ = await HandlerRun(job, task, link, link.report, link.log).execute(handler)
    except TaskError as error:
        return {"end": "failed", "error": error_as_message(error)}
    except Exception:  # noqa: BLE001 - a handler's bug is told, with its traceback for the log
        return {"end": "broken", "traceback": traceback.format_exc()[-_MAX_TEXT:]}
    return {"end": "done", "data": finished.data, "warnings": list(finished.warnings)}


def _absolute(path: Path) -> str:
    return str(Path.cwd() / path)


def _leave(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
