"""Start-up refuses a server that would break the queue later, and says what to change."""

import pytest

from genpulse.mq import RedisManager, UnsuitableServerError
from genpulse.mq.link import RedisLink
from genpulse.mq.server_check import check_server
from tests.servers import ValkeyServer


async def check(server: ValkeyServer) -> str:
    manager = RedisManager(server.url)
    try:
        return await manager.check_server()
    finally:
        await manager.close()


async def test_a_suitable_server_is_named(own_valkey: ValkeyServer) -> None:
    name, version = (await check(own_valkey)).split()
    assert name in ("Valkey", "Redis")
    assert tuple(map(int, version.split(".")[:2])) >= (6, 2)


async def test_eviction_is_refused(own_valkey: ValkeyServer) -> None:
    own_valkey.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await check(own_valkey)  # without a limit nothing is ever evicted
    own_valkey.command("CONFIG", "SET", "maxmemory", "100mb")
    with pytest.raises(UnsuitableServerError, match="noeviction"):
        await check(own_valkey)
    own_valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await check(own_valkey)


@pytest.mark.parametrize(
    ("info", "advice"),
    [
        ("redis_version:6.0.16", "too old"),
        ("redis_version:5.0.7", "too old"),
        ("server_name:something", "too old"),
        ("redis_version:7.2.4\r\ncluster_enabled:1", "single server"),
    ],
)
async def test_old_servers_and_clusters_are_refused(info: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such server can be run here, so its answer is played back."""
    link = RedisLink("redis://127.0.0.1:1")

    async def answer(*_: object) -> list[bytes]:
        return [f"# Server\r\n{info}\r\n".encode()]

    monkeypatch.setattr(link, "call_all", answer)
    with pytest.raises(UnsuitableServerError, match=advice):
        await check_server(link)
