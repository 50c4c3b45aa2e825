"""All bad input at once against a real gateway process: nothing of it stays in memory."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.e2e.test_whole_system import Server, server
from tests.gateway.hostile import send
from tests.gateway.hostile_bodies import BODIES
from tests.gateway.hostile_media import UPLOADS
from tests.gateway.hostile_requests import REQUESTS

__all__ = ["server"]

ALL = [*(hostile for lists in (BODIES, REQUESTS) for kind in lists.values() for hostile in kind), *UPLOADS]
CLIENTS, ROUNDS = 8, 3


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _throw(port: int, clients: int, rounds: int) -> None:
    async def client(number: int) -> None:
        chance = random.Random(number)
        for _ in range(rounds):
            for hostile in chance.sample(ALL, len(ALL)):
                answer = await send(port, hostile)
                assert answer.status in hostile.statuses, (hostile.name, answer)

    await asyncio.gather(*(client(number) for number in range(clients)))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_memory_comes_back_after_all_bad_input(server: Server) -> None:
    """The list three times from eight clients at once, after one went through it (which imports what is lazy)."""
    server.start("start-api")
    assert server.process is not None and server.client.base_url.port is not None
    asyncio.run(_throw(server.client.base_url.port, 1, 1))
    before = _rss_mb(server.process.pid)
    asyncio.run(_throw(server.client.base_url.port, CLIENTS, ROUNDS))
    assert _rss_mb(server.process.pid) <= before * 1.2
    assert server.client.get("/status").json()["queue"] == {"pending": 0, "processing": 0}
    assert server.stop() == 0
