"""The checks of `doctor` on this machine: Python, data directory, queue, database, storage, port, engines.

Each tries the real thing with the real modules and changes nothing that a server keeps. A check never raises.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import text

from genpulse.cli.api import Api
from genpulse.cli.connect import running_gateway
from genpulse.cli.failure import CommandError
from genpulse.cli.report import human_bytes
from genpulse.cli.settings import mask_url
from genpulse.core.plugins import PluginError, load_plugins
from genpulse.core.ports import QueueUnavailableError
from genpulse.core.registry import registry
from genpulse.embedded.binary import find_server
from genpulse.embedded.errors import EmbeddedError
from genpulse.errors import GenPulseError
from genpulse.mq.redis_manager import RedisManager
from genpulse.mq.server_check import UnsuitableServerError
from genpulse.settings import Settings
from genpulse.storage.object_storage import ObjectStorage
from genpulse.store.database import Database

_OLDEST_PYTHON = (3, 11)
_LIMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Check:
    """What was tried, what came out, and what to do about it. Only a `problem` makes `doctor` fail."""

    name: str
    tried: str
    result: str
    status: Literal["ok", "note", "problem"] = "ok"
    advice: str | None = None


def local_checks(settings: Settings) -> list[Check]:
    """All checks that need no gateway, in the order in which to mend things."""
    checks = [
        _python(),
        _data_dir(settings),
        _guarded("queue", _queue(settings)),
        _guarded("database", _database(settings)),
        _guarded("storage", _storage(settings)),
        _port(settings),
    ]
    return checks + _models(settings)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= _OLDEST_PYTHON:
        return Check("python", "Python version", f"{version} is supported")
    return Check("python", "Python version", f"{version} is too old", "problem", "Install Python 3.11 or newer.")


def _data_dir(settings: Settings) -> Check:
    folder = settings.data_dir.absolute()
    tried = f"data directory {folder}"
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        advice = f"Make {existing} a writable folder, or set GENPULSE_DATA_DIR."
        return Check("data_dir", tried, f"{existing} can't be written to", "problem", advice)
    free = shutil.disk_usage(existing).free
    if free < settings.min_free_mb * 2**20:
        advice = "Free disk space: nothing is accepted now (GENPULSE_MIN_FREE_MB)."
        return Check("data_dir", tried, f"only {human_bytes(free)} are free", "problem", advice)
    state = "writable" if folder.exists() else "can be created"
    return Check("data_dir", tried, f"{state}, {human_bytes(free)} free")


async def _queue(settings: Settings) -> Check:
    if settings.redis_url is None:
        return await asyncio.to_thread(_embedded_queue)
    url = settings.redis_url.get_secret_value()
    tried = f"connect to REDIS_URL {mask_url(url)}"
    queue = RedisManager(url, prefix=settings.redis_prefix)
    try:
        return Check("queue", tried, f"{await queue.check_server()} answers and is suitable")
    except UnsuitableServerError as error:
        return Check("queue", tried, "it answers but is not suitable", "problem", str(error))
    except QueueUnavailableError as error:
        return Check("queue", tried, str(error), "problem", "Start it, correct REDIS_URL, or unset it for the own one.")
    finally:
        await queue.close()


def _embedded_queue() -> Check:
    tried = "find a Valkey server for the embedded queue"
    try:
        program = find_server()
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - the program that start-all runs too
    except EmbeddedError as error:
        return Check("queue", tried, "none found", "problem", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return Check("queue", tried, f"it doesn't run: {error}", "problem", "Install valkey-server, or set REDIS_URL.")
    return Check("queue", tried, " ".join(answer.stdout.split()[:3]) + " runs")


async def _database(settings: Settings) -> Check:
    url = settings.database_url.get_secret_value() if settings.database_url else None
    path = settings.data_dir.absolute() / "genpulse.db"
    if url is None and not path.exists():
        return Check("database", f"SQLite {path}", "will be created at the first start")
    tried = f"connect to DATABASE_URL {mask_url(url)}" if url else f"read SQLite {path}"
    try:
        database = Database.open(url, settings.data_dir)
    except ValueError as error:
        return Check("database", tried, str(error), "problem", "Correct DATABASE_URL.")
    try:
        await database.read(lambda conn: conn.execute(text("SELECT 1")).scalar_one())
    except GenPulseError as error:
        advice = "Start it or correct DATABASE_URL." if url else f"Look at {path}: permissions, disk, a damaged file?"
        return Check("database", tried, error.message, "problem", advice)
    finally:
        await database.close()
    return Check("database", tried, "it answers")


async def _storage(settings: Settings) -> Check:
    url = settings.storage_url.get_secret_value() if settings.storage_url else None
    folder = settings.data_dir.absolute() / "files"
    if url is None and not folder.exists():
        return Check("storage", f"local files in {folder}", "will be created at the first start")
    tried = f"write, read and delete a file in {mask_url(url) if url else folder}"
    try:
        await ObjectStorage.from_url(url, settings.data_dir).check()
    except Exception as error:  # noqa: BLE001 - every store has errors of its own; each is a finding here
        reason = str(error).partition("\n")[0] or type(error).__name__
        advice = (
            "Correct GENPULSE_STORAGE_URL or its credentials." if url else f"Check permissions and disk of {folder}."
        )
        return Check("storage", tried, reason, "problem", advice)
    return Check("storage", tried, "all three work")


def _port(settings: Settings) -> Check:
    address = (settings.host, settings.port)
    tried = f"port {settings.host}:{settings.port}"
    if settings.port == 0:
        return Check("port", tried, "a free one is taken at start")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return Check("port", tried, "free")
    if _serves_us(settings):
        return Check("port", tried, "served by GenPulse")
    return Check("port", tried, reason, "problem", "Stop what uses it, or set GENPULSE_PORT (0 takes a free one).")


def _serves_us(settings: Settings) -> bool:
    url = running_gateway(settings.data_dir) or f"http://127.0.0.1:{settings.port}"
    with Api(url) as api:
        try:
            return "components" in api.status()
        except CommandError:
            return False


def _models(settings: Settings) -> list[Check]:
    try:
        load_plugins(settings.plugins)
    except PluginError as error:
        advice = "Correct the plugin, or take it out of GENPULSE_PLUGINS."
        return [Check("plugins", "load all plugins", str(error), "problem", advice)]
    checks: list[Check] = []
    for model in registry.models:
        reason = model.available() if model.available else None
        tried = f"model {model.id}"
        if reason is None:
            checks.append(Check(model.id, tried, f"can run in pool {model.pool}"))
        else:
            checks.append(Check(model.id, tried, "can't run here", "note", reason))
    if not any(check.status == "ok" for check in checks):
        advice = 'Install the local engines: pip install "genpulse[local]".'
        checks.append(Check("models", "models that can run here", "none", "problem", advice))
    return checks


def _guarded(name: str, check: Coroutine[Any, Any, Check]) -> Check:
    async def limited() -> Check:
        async with asyncio.timeout(_LIMIT_S):
            return await check

    try:
        return asyncio.run(limited())
    except TimeoutError:
        return Check(name, name, f"no answer in {_LIMIT_S:.0f} s", "problem", "Is it reachable from this machine?")
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is a finding, not the end of doctor
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Check(name, name, reason, "problem", "Correct its setting; `genpulse settings` shows all.")
