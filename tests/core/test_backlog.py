"""The backlog on both databases: what it counts, how seldom, and what it says when a part is away."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from genpulse.core import backlog, states
from genpulse.core.backlog import Backlog
from genpulse.core.ledger import PoolCount
from genpulse.errors import RequestError
from genpulse.store.ledger import SqlLedger
from tests.core.system import System


class CountingLedger(SqlLedger):
    """Counts how often the backlog is looked up, and may be away."""

    looks = 0
    away = False

    async def backlog(self) -> list[PoolCount]:
        self.looks += 1
        if self.away:
            raise RequestError("unavailable", "away")
        return await super().backlog()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def values(looked: Backlog) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("genpulse_"), *sample.labels.values()): sample.value
        for metric in looked.collect()
        for sample in metric.samples
    }


async def test_it_counts_by_pool_and_state(system: System) -> None:
    looked = Backlog(system.ledger, system.queue, system.registry)
    tasks = [await system.submit("hold") for _ in range(3)]
    await system.ledger.change(tasks[0].id, states.claim("w"))
    await system.ledger.pause_pool("handlers", paused=True)
    await system.ledger.register_worker("w", {})
    await system.signals.close()  # the hints are sent
    await looked.refresh()
    found = values(looked)
    assert found["queue_tasks", "handlers", "queued"] == 2
    assert found["queue_tasks", "handlers", "running"] == 1
    assert found["queue_tasks", "handlers", "waiting"] == 0
    assert 0 < found["queue_oldest_seconds", "handlers"] < 60
    assert found["queue_hints", "handlers"] == 3  # the claim didn't pop one
    assert found["pool_paused", "handlers"] == 1
    assert found["workers",] == 1
    assert found["component_up", "database"] == found["component_up", "queue"] == 1
    assert found["model_available", "local/hold"] == 1


async def test_a_delayed_task_is_not_due(system: System) -> None:
    await system.submit("hold", run_at="2027-01-01T00:00:00Z")
    looked = Backlog(system.ledger, system.queue, system.registry)
    await looked.refresh()
    assert values(looked)["queue_tasks", "handlers", "queued"] == 1
    assert values(looked)["queue_oldest_seconds", "handlers"] == 0


async def test_many_scrapes_share_a_look(make_system: Callable[..., System], monkeypatch: pytest.MonkeyPatch) -> None:
    system, clock = make_system(), Clock()
    ledger = CountingLedger(system.ledger.database)
    looked = Backlog(ledger, system.queue, system.registry, clock=clock)
    await asyncio.gather(*(looked.refresh() for _ in range(20)))
    assert ledger.looks == 1
    clock.now = 2.1
    await looked.refresh()
    assert ledger.looks == 2
    monkeypatch.setattr(backlog, "_LARGE", 1)  # one task is much
    await system.submit("hold")
    for now, looks in ((4.3, 3), (14.2, 3), (14.4, 4)):
        clock.now = now
        await looked.refresh()
        assert ledger.looks == looks


async def test_a_part_that_is_away_is_told_and_nothing_stale(make_system: Callable[..., Any]) -> None:
    system, clock = make_system(redis_url="redis://127.0.0.1:1/0"), Clock()
    ledger = CountingLedger(system.ledger.database)
    looked = Backlog(ledger, system.queue, system.registry, clock=clock)
    await looked.refresh()
    found = values(looked)
    assert (found["component_up", "database"], found["component_up", "queue"]) == (1, 0)
    assert not any(key[0] == "queue_hints" for key in found)
    assert system.metrics.registry.get_sample_value("genpulse_queue_call_errors_total") == 1
    ledger.away, clock.now = True, 1000.0
    await looked.refresh()
    assert values(looked)["component_up", "database"] == 0
    assert not any(key[0] in {"queue_tasks", "workers", "pool_paused"} for key in values(looked))
