"""Servers that GenPulse starts itself, and the lock on the data directory that they share."""

from genpulse.embedded.binary import ServerNotFoundError, find_server
from genpulse.embedded.lock import DataDirInUseError, DataLock
from genpulse.embedded.run_dir import RunDirError
from genpulse.embedded.run_file import RunInfo, read_run_info
from genpulse.embedded.valkey import EmbeddedServerError, EmbeddedValkey

__all__ = [
    "DataDirInUseError",
    "DataLock",
    "EmbeddedServerError",
    "EmbeddedValkey",
    "RunDirError",
    "RunInfo",
    "ServerNotFoundError",
    "find_server",
    "read_run_info",
]
