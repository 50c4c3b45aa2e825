"""Starts a server that dies with its parent. A program of its own, run as `python guard.py exec|watch …`.

`exec PARENT_PID COMMAND…` (Linux): asks the kernel for SIGTERM when the parent dies, then becomes the command. It is
done here and not between fork and exec of the parent, where no Python code of a process with threads should run.
The kernel watches the parent's *thread* that forked: it must be one that lives as long as the parent.

`watch COMMAND…` (anywhere): stays, with the command as its child; stdin is a pipe whose other end only the parent
holds. At its end, or at SIGTERM, the command gets SIGTERM, and SIGKILL 5 s later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1
_GRACE_S = 5


def exec_bound(parent_pid: int, command: list[str]) -> None:
    """Become the command, bound to the parent's life."""
    import ctypes  # noqa: PLC0415 - costs a third of this program's start, and `watch` doesn't need it

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        sys.exit(1)  # it died before it could be watched
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def watch(command: list[str]) -> int:
    """Run the command until it ends or the parent is gone; returns its exit status as a shell would."""
    # The lock on the data directory must be inherited, hence no closing of descriptors.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)  # noqa: S603 - our parent's command

    def stop() -> None:
        server.terminate()
        try:
            server.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            server.kill()

    def stop_at_end_of_pipe() -> None:
        while os.read(0, 1024):
            pass
        stop()

    def stop_at_signal(_signum: int, _frame: object) -> None:
        threading.Thread(target=stop, daemon=True).start()

    signal.signal(signal.SIGTERM, stop_at_signal)
    threading.Thread(target=stop_at_end_of_pipe, daemon=True).start()
    status = server.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "exec":
        exec_bound(int(rest[0]), rest[1:])
    else:
        sys.exit(watch(rest))
