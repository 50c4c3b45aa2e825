"""The program `python -m genpulse.isolation.template_host`: it loads GenPulse and the plugins once, and forks.

It runs nothing itself and has one thread, so that a fork is safe and costs milliseconds. Each request on its control
socket brings the connection that the child talks to the worker through. It tells when a child has ended, and kills what
that left behind. When the worker is gone it ends, with all its children.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

from genpulse.core.plugins import PluginError, load_plugins
from genpulse.isolation.call_host import run_call
from genpulse.media.child_link import Link, die_with_parent

_OOM_SCORE = "500"
"""Out of memory, the kernel shall take the suspect and not its worker."""
_MAX_REQUESTS = 64
"""File descriptors that one read may bring."""


class Template:
    """Forks a child for each request."""

    def __init__(self, link: Link, control: socket.socket) -> None:
        self._link = link
        self._control = control
        self._children: dict[int, int] = {}
        """Call ids by process id."""
        self._connections: list[int] = []
        self._unread = b""
        self._ended, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._ended, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, _ignore)

    def serve(self) -> socket.socket:
        """Returns in each child only, with its connection."""
        with selectors.PollSelector() as selector:
            for source in (self._link.fileno(), self._control, self._ended):
                selector.register(source, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._ended in ready:
                    self._reap()
                if self._link.fileno() in ready:
                    self._end()
                if self._control.fileno() in ready and (connection := self._take_requests()) is not None:
                    return connection

    def _take_requests(self) -> socket.socket | None:
        data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, _MAX_REQUESTS)
        if not data:
            self._end()
        self._connections += descriptors
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "kill" in request:
                self._kill(request["kill"])
            elif (connection := self._fork(request["run"], self._connections.pop(0))) is not None:
                return connection
        return None

    def _fork(self, call_id: int, descriptor: int) -> socket.socket | None:
        template = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, or too little memory
            os.close(descriptor)
            self._link.send({"refused": call_id, "problem": str(error)})
            return None
        if pid:
            os.close(descriptor)
            self._children[pid] = call_id
            return None
        os.setsid()
        die_with_parent()
        if os.getppid() != template:
            os._exit(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._link.close()
        self._control.close()
        for other in (self._ended, self._wake, *self._connections):
            os.close(other)
        with contextlib.suppress(OSError):  # Linux only
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
        return socket.socket(fileno=descriptor)

    def _kill(self, call_id: int) -> None:
        for pid, child_id in self._children.items():
            if child_id == call_id:
                os.kill(pid, signal.SIGKILL)  # it is not reaped yet: the id is its own

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._ended, 1 << 12)
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if (call_id := self._children.pop(pid, None)) is not None:
                _kill_group(pid)  # nothing that it started may go on while the task runs again
                self._link.send({"ended": call_id, "status": os.waitstatus_to_exitcode(status)})

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)  # it may not lead its group yet
            _kill_group(pid)
        os._exit(0)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter for zombies
        os.killpg(leader, signal.SIGKILL)


def _ignore(_number: int, _frame: object) -> None:
    """Not SIG_IGN, which programs that a handler starts would inherit."""


def main() -> None:
    link = Link()
    # A service manager may signal the whole group: it is for the worker to say when a handler stops.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)
    faulthandler.enable()
    try:
        load_plugins(link.hello["plugins"])
    except PluginError as error:
        link.send({"problem": str(error)})
        sys.exit(1)
    control = socket.socket(fileno=link.hello["control"])
    link.send({"ready": True})
    template = Template(link, control)
    gc.collect()
    gc.freeze()  # the collector of a child would copy every page it looks at
    sys.stdout.flush()  # or each child would print it again
    run_call(template.serve())


if __name__ == "__main__":
    main()
