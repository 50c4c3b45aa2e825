"""Child side of `child_process`: takes over the pipes, bounds the process, and speaks JSON lines.

What the child's own code or a C library prints goes to stderr and can't damage the protocol. Standard library only: it
is the first thing that a helper process imports.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1
MIB = 1 << 20

Message = dict[str, Any]


class Link:
    """The line to the parent. Make one at the start of the process, before anything prints."""

    def __init__(self) -> None:
        die_with_parent()
        self._input = os.fdopen(os.dup(0), "rb")
        self._output = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._sending = threading.Lock()
        hello = self.receive()
        if hello is None:
            sys.exit(0)
        self.hello = hello
        sys.path.extend(entry for entry in hello["path"] if entry not in sys.path)

    def receive(self) -> Message | None:
        """The parent's next message; None when it is gone."""
        line = self._input.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def fileno(self) -> int:
        """For `select`: once the hello is read, it is readable when the parent is gone."""
        return self._input.fileno()

    def close(self) -> None:
        """In a fork of this process: leave the line to it."""
        self._input.close()
        os.close(self._output)

    def send(self, message: Message) -> None:
        """Tell the parent. Any thread may call it."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        with self._sending:
            while data:
                data = data[os.write(self._output, data) :]


def die_with_parent() -> None:
    """On Linux the kernel does it; elsewhere the end of stdin is what ends a child.

    It is done here and not between fork and exec of the parent, where no Python code of a process with threads should
    run. A parent that died before is noticed by the end of stdin.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit_memory(memory_mb: int) -> None:
    """Bound the memory of this process; beyond it allocations fail.

    RLIMIT_DATA counts private writable memory. Measured with onnxruntime 1.32: 1.2 to 1.7 times the resident size,
    where RLIMIT_AS would also count reservations and mapped libraries. macOS accepts the limit and ignores it.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * MIB, memory_mb * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
