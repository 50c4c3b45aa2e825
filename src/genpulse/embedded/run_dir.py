"""A short private folder for sockets: a path to a Unix socket may have 107 bytes on Linux and 103 on macOS."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from genpulse.embedded.errors import EmbeddedError

_LONGEST_SOCKET_PATH = 103
_LONGEST_NAME = 16
"""Of a socket in the folder."""


def make_run_dir(data_dir: Path, configured: Path | None) -> Path:
    """The folder of one data directory, mode 0700, below `configured` or the temporary directory.

    Not below /run/user: that is removed when its user logs out, and the server would go on without its socket.

    Raises:
        EmbeddedError: its path is too long, or somebody else made it.
    """
    base = configured.absolute() if configured else Path(tempfile.gettempdir())
    identity = f"{os.getuid()}:{data_dir.resolve()}"
    folder = base / f"genpulse-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if len(os.fsencode(folder)) + 1 + _LONGEST_NAME > _LONGEST_SOCKET_PATH:
        raise EmbeddedError(f"{folder} is too long for sockets. Set GENPULSE_RUN_DIR to a short path.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedError(
            f"{folder} belongs to somebody else. Remove it, or set GENPULSE_RUN_DIR to a private folder."
        )
    folder.chmod(0o700)
    return folder


def remove_run_dir(folder: Path) -> None:
    """Remove the folder unless something else is in it."""
    try:
        folder.rmdir()
    except OSError:
        return
