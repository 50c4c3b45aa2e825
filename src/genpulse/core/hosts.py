"""Who a worker is, and whether it crashed: evidence about processes, where it can be had."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from genpulse.core.models import Json

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = Path("/proc/self/ns/pid")


def identify() -> Json:
    """Host, start of the machine and process, as they are kept in a worker's row."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None
    pid_space = str(_PID_SPACE.readlink()) if _PID_SPACE.exists() else None
    return {"host": platform.node(), "boot": boot, "pid_space": pid_space, "pid": os.getpid()}


def crashed(worker: Json) -> bool:
    """Did this silent worker's process die by itself?

    On this host: its process is gone and the machine was not restarted. On another host, or in another container,
    nothing can be seen; it is taken for a crash, which costs its tasks no more than a process of their own.
    """
    here = identify()
    if not _sees(here, worker):
        return True
    return worker.get("boot") == here["boot"] and not _is_alive(worker)


def surely_gone(worker: Json) -> bool:
    """Can this worker's process not exist any more? False where that can't be seen.

    For a process that has no worker yet: one with its own id can only be a former one (as in a restarted container).
    """
    here = identify()
    if not _sees(here, worker):
        return False
    return worker.get("boot") != here["boot"] or worker.get("pid") == here["pid"] or not _is_alive(worker)


def _sees(here: Json, worker: Json) -> bool:
    """Containers may share a host name, but not their process ids: pid 1 of one is not pid 1 of another."""
    if worker.get("host") != here["host"]:
        return False
    return worker.get("boot") != here["boot"] or worker.get("pid_space") == here["pid_space"]


def _is_alive(worker: Json) -> bool:
    try:
        pid = int(worker["pid"])
        os.kill(pid, 0)
        if _is_zombie(pid):
            return False
    except (ProcessLookupError, KeyError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True  # it works, or it was stopped, or the machine was suspended


def _is_zombie(pid: int) -> bool:
    """Has it ended, and only its parent hasn't asked for it yet? Nobody may ever, in a container say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # no /proc here, or it is gone by now
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"
