"""`served`: a gateway without keys on SQLite and a real Valkey; `make_served` takes settings."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from genpulse.store.database import Database
from genpulse.store.migrate import migrate
from tests.gateway.serving import GatewaySystem, Served, serving


@pytest.fixture
def database_url() -> str | None:
    """SQLite; what must be the same on PostgreSQL has a module of its own."""
    return None


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy: much faster than to migrate one for each test."""
    folder = tmp_path_factory.mktemp("empty")

    async def make() -> None:
        opened = Database.open(None, folder)
        await migrate(opened)
        await opened.close()

    asyncio.run(make())
    return folder / "genpulse.db"


@pytest.fixture
async def database(database_url: str | None, tmp_path: Path, empty_sqlite: Path) -> AsyncIterator[Database]:
    if database_url is None:
        shutil.copy(empty_sqlite, tmp_path)
    opened = Database.open(database_url, tmp_path)
    if database_url is not None:
        await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def system(database: Database, redis_url: str, tmp_path: Path) -> AsyncIterator[GatewaySystem]:
    made = GatewaySystem(database, redis_url, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def make_served(system: GatewaySystem) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options: Any) -> Served:
            return await stack.enter_async_context(serving(system, **options))

        yield make


@pytest.fixture
async def served(make_served: Callable[..., Awaitable[Served]]) -> Served:
    return await make_served()
