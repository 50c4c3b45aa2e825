"""Which processes run and who started them, read from /proc or, where there is none (macOS), from `ps`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    zombie: bool
    """Ended, but not yet asked for by its parent: a container without an init may keep these for ever."""


def running() -> dict[int, Process]:
    """All processes that this user can see, zombies left out."""
    found = _from_proc() if (_PROC / "self/stat").exists() else _from_ps()
    return {process.pid: process for process in found if not process.zombie}


def descendants(pid: int) -> list[int]:
    """All processes that come from `pid`, whatever session they are in."""
    children: dict[int, list[int]] = {}
    for process in running().values():
        children.setdefault(process.parent, []).append(process.pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _from_proc() -> list[Process]:
    found: list[Process] = []
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            # `pid (any (name)) state ppid …`
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        found.append(Process(int(path.parent.name), int(parent), state in "ZX"))
    return found


def _from_ps() -> list[Process]:
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,stat="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - a constant command
    fields = [line.split() for line in listing.stdout.splitlines()]
    return [Process(int(pid), int(parent), stat.startswith("Z")) for pid, parent, stat in fields]
