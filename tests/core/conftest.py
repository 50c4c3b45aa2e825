"""`system`: the parts in one process, on SQLite and on PostgreSQL; `make_system` takes options."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from genpulse.store.database import Database
from tests.core.system import System


@pytest.fixture
async def make_system(database: Database, redis_url: str, tmp_path: Path) -> AsyncIterator[Callable[..., System]]:
    made: list[System] = []

    def make(**options: Any) -> System:
        made.append(System(database, options.pop("redis_url", redis_url), tmp_path, **options))
        return made[-1]

    yield make
    for system in made:
        await system.close()


@pytest.fixture
async def system(make_system: Callable[..., System]) -> System:
    return make_system()
