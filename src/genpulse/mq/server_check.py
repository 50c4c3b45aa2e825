"""Refuses, at start-up, a Redis that would break the queue later: too old, a cluster, or one that evicts keys."""

from __future__ import annotations

import re

from genpulse.mq.link import RedisLink

OLDEST = (6, 2)


class UnsuitableServerError(Exception):
    """The server at REDIS_URL can't be used as it is; the message says what to change."""


async def check_server(link: RedisLink) -> str:
    """Returns name and version of the server.

    Raises:
        UnsuitableServerError: it must be changed first.
        QueueUnavailableError: it can't be reached.
    """
    info: dict[str, str] = {}
    for answer in await link.call_all(("INFO", "server"), ("INFO", "memory"), ("INFO", "cluster")):
        info |= answer if isinstance(answer, dict) else _parse(answer)
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise UnsuitableServerError(
            f"REDIS_URL: {name} {version or 'of an unknown version'} at {link.address} is too old. "
            "Use Redis 6.2 or newer, or Valkey."
        )
    if str(info.get("cluster_enabled", "0")) != "0":
        raise UnsuitableServerError(
            f"REDIS_URL: {link.address} is a Redis Cluster node. Use a single server (a replica beside it is fine)."
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if int(info.get("maxmemory", 0)) > 0 and policy != "noeviction":
        raise UnsuitableServerError(
            f"REDIS_URL: {link.address} evicts keys when its memory is full (maxmemory-policy {policy}), so queued "
            "tasks would silently vanish from the queue. Set `maxmemory-policy noeviction`."
        )
    return f"{name} {version}"


def _parse(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines() if not line.startswith("#"))
    return {key: value for key, separator, value in lines if separator}
