"""The execute seam: every statement of GenPulse runs inside `Database.read` or `Database.write`.

A *unit* is a synchronous function of a SQLAlchemy connection. The seam decides where it runs: for SQLite on one writer
thread (or a few reader threads), one hop per transaction instead of one per statement; for PostgreSQL on the event loop
through asyncpg. A simulation may run units inline on a clock of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import SingletonThreadPool

from genpulse.core.cancellation import reraise_cancellation
from genpulse.core.models import Micros
from genpulse.errors import RequestError

T = TypeVar("T")
Unit = Callable[[Connection], T]

# FULL: an acknowledged task survives a power cut, not only a crash (reliability study, 1.4).
_PRAGMAS = (
    "busy_timeout=10000",  # first: the others may have to wait for another process
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-32000",
    "journal_size_limit=67108864",
)
_LOCKED_S = 10.0
_POSTGRES_DISK_FULL = "53100"


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _set(cursor: sqlite3.Cursor, pragma: str) -> None:
    """Set a pragma. The switch to WAL doesn't wait for another process that is just switching: try it again."""
    end = time.monotonic() + _LOCKED_S
    while True:
        try:
            cursor.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


class Database(ABC):
    """One database, however it is reached. `RequestError` `unavailable` or `storage_full` when it can't serve."""

    dialect: str

    @staticmethod
    def open(url: str | None, data_dir: Path) -> Database:
        """`postgresql://…` or None for SQLite in the data directory.

        Raises:
            ValueError: another kind of database.
        """
        if url is None:
            return SqliteDatabase(data_dir / "genpulse.db")
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            return SqliteDatabase(Path(parsed.database))
        if parsed.get_backend_name() in {"postgresql", "postgres"}:
            return PostgresDatabase(parsed)
        raise ValueError("DATABASE_URL must start with postgresql:// or sqlite:///")

    @abstractmethod
    async def write(self, unit: Unit[T]) -> T:
        """Run a unit in a transaction that is durably committed when this returns."""

    @abstractmethod
    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads."""

    @abstractmethod
    def now(self, conn: Connection) -> Micros:
        """The database's clock (invariant 10)."""

    @abstractmethod
    async def close(self) -> None: ...


class SqliteDatabase(Database):
    """SQLite in WAL mode: one writing connection with `BEGIN IMMEDIATE`, read-only connections beside it."""

    dialect = "sqlite"
    _READERS = 2

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._last: Micros = 0
        self._write_engine = self._engine("BEGIN IMMEDIATE")
        self._read_engine = self._engine("BEGIN", "query_only=ON")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._readers = ThreadPoolExecutor(self._READERS, thread_name_prefix="sqlite-reader")

    def _engine(self, begin: str, *pragmas: str) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            # One connection per thread: the executors' threads live as long as the database is open.
            poolclass=SingletonThreadPool,
            pool_size=self._READERS + 1,
            connect_args={"check_same_thread": False},  # `close` disposes of them when their threads have ended
            json_serializer=_to_json,
            json_deserializer=orjson.loads,
        )

        def connect(dbapi: sqlite3.Connection, record: object) -> None:
            del record
            dbapi.isolation_level = None  # we emit BEGIN ourselves
            cursor = dbapi.cursor()
            for pragma in (*_PRAGMAS, *pragmas):
                _set(cursor, pragma)
            cursor.close()

        def start(conn: Connection) -> None:
            # A deferred BEGIN that turns into a write fails at once with "database is locked" (embedded study, D).
            conn.exec_driver_sql(begin)

        event.listen(engine, "connect", connect)
        event.listen(engine, "begin", start)
        return engine

    async def write(self, unit: Unit[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._run, self._write_engine, unit)

    async def read(self, unit: Unit[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._run, self._read_engine, unit)

    def _run(self, engine: Engine, unit: Unit[T]) -> T:
        try:
            with engine.begin() as conn:
                return unit(conn)
        except DBAPIError as error:
            code = getattr(error.orig, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise RequestError("storage_full", "The server's disk is full.", retry_after_s=30) from error
            if isinstance(error.orig, sqlite3.OperationalError):
                raise RequestError("unavailable", "The database doesn't answer.", retry_after_s=5) from error
            raise

    def now(self, conn: Connection) -> Micros:
        # One host, one clock; never backwards, so that a corrected clock can't revive a lease.
        del conn
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last

    async def close(self) -> None:
        # A connection closed while a thread is inside SQLite crashes the process: the threads end first.
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._write_engine.dispose()
        self._read_engine.dispose()


class PostgresDatabase(Database):
    """PostgreSQL through asyncpg."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=10,
            max_overflow=10,
            pool_timeout=10,
            pool_pre_ping=False,
            json_serializer=_to_json,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": 5,
                "command_timeout": 15,
                "server_settings": {
                    "application_name": "genpulse",
                    "statement_timeout": "15s",
                    "idle_in_transaction_session_timeout": "30s",
                },
            },
        )

    async def write(self, unit: Unit[T]) -> T:
        return await self._run(unit)

    async def read(self, unit: Unit[T]) -> T:
        return await self._run(unit)

    async def _run(self, unit: Unit[T]) -> T:
        try:
            async with self._engine.begin() as conn:
                return await conn.run_sync(unit)
        except DBAPIError as error:
            reraise_cancellation(error)
            if getattr(error.orig, "sqlstate", None) == _POSTGRES_DISK_FULL:
                raise RequestError("storage_full", "The database's disk is full.", retry_after_s=30) from error
            if error.connection_invalidated or _is_outage(error):
                raise RequestError("unavailable", "The database can't be reached.", retry_after_s=5) from error
            raise
        except (OSError, TimeoutError, SQLAlchemyError) as error:
            reraise_cancellation(error)
            if isinstance(error, SQLAlchemyError) and not _is_outage(error):
                raise
            raise RequestError("unavailable", "The database can't be reached.", retry_after_s=5) from error

    def now(self, conn: Connection) -> Micros:
        return int(conn.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one())

    async def close(self) -> None:
        await self._engine.dispose()


def _is_outage(error: SQLAlchemyError) -> bool:
    """Connection trouble and shutdown of the server (SQLSTATE classes 08, 53, 57), and an exhausted pool."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return state[:2] in {"08", "53", "57"} or type(error).__name__ in {"TimeoutError", "InterfaceError"}
