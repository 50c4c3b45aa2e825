"""Fixtures for all tests: real servers (tests/servers.py, tests/postgres.py) and the ledger on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genpulse.store.database import Database
from genpulse.store.ledger import SqlLedger
from genpulse.store.migrate import migrate

pytest_plugins = ["tests.postgres", "tests.servers"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None (SQLite in the test's data directory) and a PostgreSQL database: whoever uses it runs on both."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def database(database_url: str | None, tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(database_url, tmp_path)
    await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)
