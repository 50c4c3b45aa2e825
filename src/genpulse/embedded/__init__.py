"""Servers that GenPulse starts itself, and the lock on the data directory that they share."""

from genpulse.embedded.errors import EmbeddedError
from genpulse.embedded.lock import DataLock, DataLockError, RunningServer, running_server
from genpulse.embedded.valkey import EmbeddedValkey

__all__ = ["DataLock", "DataLockError", "EmbeddedError", "EmbeddedValkey", "RunningServer", "running_server"]
