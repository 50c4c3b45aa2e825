"""The worker's side of one template process (`template_host`) and of the calls that its children run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import Mapping, Sequence

from genpulse.core.models import Json
from genpulse.isolation.messages import MAX_MESSAGE, decode, encode
from genpulse.media.child_process import ChildDiedError, ChildProcess, how_it_ended

_log = logging.getLogger(__name__)

_START_S = 60.0
"""A plugin may import much; longer than this it is taken for stuck."""
_FORK_S = 1.0
_LATE_S = 1.0
"""So long the end of a child's connection may come after the child's own."""
_KILLED_S = 5.0


class CannotStartError(Exception):
    """No process could be started; the message is for the log."""


class TemplateLostError(Exception):
    """The template died, and all its children with it.

    Args:
        alone: there was one child only, so it is known who is to blame.
    """

    def __init__(self, how: str, *, alone: bool) -> None:
        super().__init__(how)
        self.alone = alone


class Call:
    """One child: a connection, and its end."""

    def __init__(self, call_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.id = call_id
        self.answered = False
        """The child has said how the handler ended."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """How it ended, in words; or `TemplateLostError`, `CannotStartError`."""
        self._reader = reader
        self._writer = writer

    async def send(self, message: Json) -> None:
        """Tell the child; one that is gone is noticed by `receive`."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(encode(message))
            await self._writer.drain()

    async def receive(self) -> Json | None:
        """The child's next message; None when it is gone.

        Raises:
            ValueError: something that is no message, or too large.
        """
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return decode(line) if line.endswith(b"\n") else None

    def over(self, outcome: str | Exception) -> None:
        """The child has ended; what it wrote last can still be read."""
        if self.ended.done():
            return
        if isinstance(outcome, str):
            self.ended.set_result(outcome)
        else:
            self.ended.set_exception(outcome)
            self.ended.exception()  # nobody has to ask
        # A program that the handler started may hold the connection open.
        self.ended.get_loop().call_later(_LATE_S, self._writer.transport.abort)

    def close(self) -> None:
        self._writer.close()


class Template:
    """One running template."""

    def __init__(self, process: ChildProcess, control: socket.socket) -> None:
        self.alive = True
        self._process = process
        self._control = control
        self._calls: dict[int, Call] = {}
        self._ids = itertools.count(1)
        self._listening = asyncio.create_task(self._listen(), name="isolation template")

    @classmethod
    async def start(cls, plugins: Sequence[str], variables: Mapping[str, str]) -> Template:
        """Start it and wait until it has loaded the plugins.

        Raises:
            CannotStartError.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await ChildProcess.start(
                    "genpulse.isolation.template_host",
                    label="isolation",
                    hello={"plugins": list(plugins), "control": theirs.fileno()},
                    variables=variables,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException as error:
                ours.close()
                if isinstance(error, OSError | ChildDiedError):
                    raise CannotStartError(str(error)) from error
                raise
        problem = "it didn't get ready in time"
        try:
            async with asyncio.timeout(_START_S):
                hello = await process.receive()
            problem = hello.get("problem", "")
        except (ChildDiedError, TimeoutError) as error:
            problem = str(error) or problem
        except BaseException:
            await _discard(process, ours)
            raise
        if problem:
            await _discard(process, ours)
            raise CannotStartError(problem)
        return cls(process, ours)

    @property
    def calls(self) -> int:
        """How many children it has."""
        return len(self._calls)

    async def call(self) -> Call:
        """Fork a child.

        Raises:
            CannotStartError.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_MESSAGE + 1)
            call = Call(next(self._ids), reader, writer)
            self._calls[call.id] = call
            try:
                self._ask({"run": call.id}, theirs)
            except OSError as error:
                del self._calls[call.id]
                writer.close()
                raise CannotStartError(str(error)) from error
        return call

    def kill(self, call: Call) -> None:
        """End a child at once; `call.ended` tells when it has."""
        with contextlib.suppress(OSError):  # the template is gone, and so is the child
            self._ask({"kill": call.id})

    async def until_ended(self, call: Call) -> None:
        """Return when the child has ended; it is killed if need be."""
        try:
            async with asyncio.timeout(_KILLED_S):
                await asyncio.wait({call.ended})
        except TimeoutError:  # the template is stuck
            self._process.kill()
            await asyncio.wait({call.ended})

    def _ask(self, request: Json, *attached: socket.socket) -> None:
        self._control.settimeout(_FORK_S)  # lines of a few bytes, and a reader that does nothing else: it never waits
        socket.send_fds(self._control, [json.dumps(request).encode() + b"\n"], [item.fileno() for item in attached])

    async def _listen(self) -> None:
        """Hear of ends until the template's own."""
        how = "was ended"
        try:
            while True:
                message = await self._process.receive()
                if "refused" in message:
                    self._over(message["refused"], CannotStartError(message["problem"]))
                else:
                    self._over(message["ended"], how_it_ended(message["status"]))
        except ChildDiedError as error:
            how = str(error)
        finally:
            self.alive = False
            lost = TemplateLostError(how, alone=len(self._calls) == 1)
            for call_id in list(self._calls):
                self._over(call_id, lost)

    def _over(self, call_id: int, outcome: str | Exception) -> None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.over(outcome)

    async def close(self) -> None:
        """End it and all its children."""
        self._listening.cancel()
        await asyncio.wait({self._listening})
        await _discard(self._process, self._control)

    @property
    def last_words(self) -> str:
        """What it and its children printed last."""
        return self._process.last_words


async def _discard(process: ChildProcess, control: socket.socket) -> None:
    control.close()
    await process.stop()
