"""Implements `core.ports.Isolation`: calls of handlers in forks of a template process, served and ended from here.

The template is started for the first suspect and ended when there was none for a while. It is shared until it dies
under several calls, when nobody can tell whose fault that was; from then on each call gets a template of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from genpulse.core.models import Finished, Json, Snapshot, Task
from genpulse.core.ports import HandlerCalls, HandlerCrashedError, IsolationLostError
from genpulse.errors import TaskError
from genpulse.isolation.messages import error_as_message, error_of, reference_of, task_as_message
from genpulse.isolation.template import Call, CannotStartError, Template, TemplateLostError

_log = logging.getLogger(__name__)

_IDLE_S = 60.0
_GRACE_S = 2.0
"""For a handler's clean-up after a cancel; shorter than what a worker gives its tasks when it stops."""
_ASKED_AT_ONCE = 16
"""Files that one handler may store and read at the same time; more wait."""


class ProcessIsolation:
    """Runs handlers, each in a process of its own."""

    def __init__(self, plugins: Iterable[str] = (), *, variables: Iterable[str] = (), idle_s: float = _IDLE_S) -> None:
        """
        Args:
            plugins: what `load_plugins` gets in the template.
            variables: names of environment variables that handlers get besides the few that every program needs.
            idle_s: a template that is not used for so long is ended.
        """
        self._plugins = tuple(plugins)
        self._variables = tuple(variables)
        self._idle_s = idle_s
        self._shared = True
        self._template: Template | None = None
        """The shared one."""
        self._users: dict[Template, int] = {}
        self._starting = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, task: Task, work_dir: Path, calls: HandlerCalls) -> Finished:
        """See `core.ports.Isolation`."""
        try:
            async with self._call(calls) as (template, call):
                await call.send(task_as_message(task, work_dir, logging.getLogger().getEffectiveLevel()))
                return await self._attend(template, call, calls)
        except CannotStartError as error:
            _log.error("task %s: no process can be started to run it alone: %s", task.id, error)
            message = "No process could be started to run this task alone; the server's log says why."
            raise TaskError("internal", message, retryable=True) from error

    async def close(self) -> None:
        """End all processes."""
        self._keep_warm()
        self._template = None
        await asyncio.gather(*(template.close() for template in list(self._users)))
        self._users.clear()
        await asyncio.gather(*self._ending)

    # Templates --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(self, calls: HandlerCalls) -> AsyncGenerator[tuple[Template, Call]]:
        """A new child; it has ended when the block is left, whatever happens."""
        template = await self._lease()
        try:
            call = await template.call()
        except BaseException:
            await self._surely(self._release(template))
            raise
        try:
            yield template, call
        finally:
            await self._surely(self._end(template, call, calls))

    async def _lease(self) -> Template:
        async with self._starting:
            self._keep_warm()
            template = self._template
            if template is None or not template.alive:
                variables = {name: os.environ[name] for name in self._variables if name in os.environ}
                template = await Template.start(self._plugins, variables)
                self._template = template if self._shared else None
            self._users[template] = self._users.get(template, 0) + 1
            return template

    async def _release(self, template: Template) -> None:
        if template not in self._users:  # closed meanwhile
            return
        self._users[template] -= 1
        if self._users[template]:
            return
        if template is self._template and template.alive:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._retire, template)
        else:
            del self._users[template]
            await template.close()

    def _keep_warm(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _retire(self, template: Template) -> None:
        self._idle = self._template = None
        del self._users[template]
        self._start_ending(template.close())

    def _start_ending(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        ending = asyncio.create_task(work)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _surely(self, work: Coroutine[Any, Any, None]) -> None:
        """To its end, also when the caller is cancelled: then `close` waits for it."""
        await asyncio.shield(self._start_ending(work))

    async def _end(self, template: Template, call: Call, calls: HandlerCalls) -> None:
        """Let the child end, with what its clean-up asks for when it is broken off; kill it when that takes long."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    if not call.answered and not call.ended.done():
                        await call.send({"cancel": True})
                        await self._clean_up(template, call, calls)
                    await asyncio.wait({call.ended})
            if not call.ended.done():
                template.kill(call)
                await template.until_ended(call)
        finally:
            call.close()
            await self._release(template)

    async def _clean_up(self, template: Template, call: Call, calls: HandlerCalls) -> None:
        """Serve a handler that was broken off; whatever it answers or breaks now counts no more."""
        try:
            await self._attend(template, call, calls)
        except Exception as error:  # noqa: BLE001 - see above
            _log.debug("a handler that was stopped ended so: %r", error)

    # One call ---------------------------------------------------------------------------------------------------

    async def _attend(self, template: Template, call: Call, calls: HandlerCalls) -> Finished:
        """Serve the handler until its end."""
        slots = asyncio.Semaphore(_ASKED_AT_ONCE)
        answering: set[asyncio.Task[None]] = set()
        try:
            while (message := await call.receive()) is not None:
                if "end" in message:
                    call.answered = True
                    return _finished(message)
                if "store" not in message and "read" not in message:
                    await _serve(call, calls, message)
                    continue
                await slots.acquire()
                answer = asyncio.create_task(_serve(call, calls, message))
                answering.add(answer)
                answer.add_done_callback(answering.discard)
                answer.add_done_callback(lambda _: slots.release())
        except ValueError as error:
            raise HandlerCrashedError("sent something that is no message") from error
        finally:
            for answer in answering:
                answer.cancel()
            await asyncio.gather(*answering, return_exceptions=True)
        raise await self._crash(template, call)

    async def _crash(self, template: Template, call: Call) -> Exception:
        """Its connection ended before its answer: whose fault is that?"""
        await asyncio.wait({call.ended}, timeout=_GRACE_S)
        if not call.ended.done():  # it only closed the connection
            template.kill(call)
            await template.until_ended(call)
        try:
            how = call.ended.result()
        except TemplateLostError as error:
            if error.alone:
                return HandlerCrashedError(f"{error} with its template")
            self._shared, self._template = False, None
            return IsolationLostError(f"the template of several handlers {error}")
        except CannotStartError as error:
            return error
        if template.last_words:
            _log.warning("isolated handlers printed last:\n%s", template.last_words)
        return HandlerCrashedError(how)


async def _serve(call: Call, calls: HandlerCalls, message: Json) -> None:
    if "record" in message:
        _log.log(message["level"], "%s: %s", message["logger"], message["record"])
        return
    if "ask" not in message:
        calls.report(Snapshot(progress=message["progress"], stage=message["stage"]))
        return
    answer: Json = {"answer": message["ask"]}
    try:
        if "log" in message:
            answer["value"] = await calls.log(message["log"])
        elif "store" in message:
            answer["value"] = dataclasses.asdict(await calls.store(Path(message["store"]), message["name"]))
        else:
            answer["value"] = str(await calls.read(reference_of(message["read"])))
    except Exception as error:
        if "log" in message:  # the task has another owner: the attempt is over
            raise
        answer["error"] = error_as_message(error)
        if "code" not in answer["error"] and not isinstance(error, OSError):
            _log.exception("a handler's file could not be served")
    await call.send(answer)


def _finished(message: Json) -> Finished:
    """What the child said last.

    Raises:
        TaskError: from the handler.
        RuntimeError: the handler broke; the message has its traceback.
    """
    match message["end"]:
        case "done":
            return Finished(data=message["data"], warnings=tuple(message["warnings"]))
        case "failed":
            raise error_of(message["error"])
        case "cancelled":
            raise RuntimeError("the handler cancelled itself")
        case _:
            raise RuntimeError(f"in the handler's own process:\n{message['traceback']}")
