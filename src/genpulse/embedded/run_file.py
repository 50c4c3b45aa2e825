"""`data_dir/run.json`: what a running GenPulse offers to other processes on this machine (`start-worker`, the CLI).

It counts only while the lock on the data directory is held: a file left over by a crash is taken for what it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

LOCK_NAME = ".lock"
_RUN_NAME = "run.json"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """`redis_url` is the embedded queue's, `url` the gateway's; each None when there is none."""

    pid: int
    redis_url: str | None = None
    url: str | None = None


def write_run_info(data_dir: Path, info: RunInfo) -> None:
    """Replace the file in one step."""
    fd, draft = tempfile.mkstemp(prefix=f"{_RUN_NAME}.", dir=data_dir)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(info), file)
    Path(draft).replace(data_dir / _RUN_NAME)


def remove_run_info(data_dir: Path) -> None:
    (data_dir / _RUN_NAME).unlink(missing_ok=True)


def read_run_info(data_dir: Path) -> RunInfo | None:
    """What runs on this data directory now, or None."""
    try:
        found = json.loads((data_dir / _RUN_NAME).read_text(encoding="utf-8"))
        info = RunInfo(pid=found["pid"], redis_url=found["redis_url"], url=found["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return info if is_locked(data_dir) else None


def is_locked(data_dir: Path) -> bool:
    """Whether somebody holds the data directory."""
    try:
        fd = os.open(data_dir / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, so that askers don't take each other for the holder; who wants to hold it tries again.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
