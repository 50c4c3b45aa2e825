"""API keys: `gp_<id>_<secret>`. Only a hash is stored; the key itself is shown once, when it is made."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import time
from dataclasses import dataclass
from typing import Protocol

from genpulse.core.models import Micros

_KEY = re.compile(r"^gp_([a-z0-9]{8})_([A-Za-z0-9]{43})$")
_TENANT = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_ALPHABET = string.ascii_letters + string.digits
_CACHE_S = 5.0
"""How long a revoked key may still be honoured."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's row. `hash` is SHA-256: the secret has 256 bits, so a slow hash would only cost time."""

    id: str
    tenant: str
    name: str
    hash: str
    admin: bool
    created_at: Micros
    revoked_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    tenant: str
    admin: bool = False


class KeyStore(Protocol):
    """Where keys are kept."""

    async def add_key(self, key: ApiKey) -> None: ...
    async def key(self, key_id: str) -> ApiKey | None: ...
    async def keys(self) -> list[ApiKey]: ...
    async def revoke_key(self, key_id: str) -> bool: ...


class KeyService:
    """Makes, checks, lists and revokes keys."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._cache: dict[str, tuple[float, ApiKey | None]] = {}

    async def create(self, tenant: str, name: str = "", *, admin: bool = False) -> tuple[str, ApiKey]:
        """A new key: its text, to be shown once, and its row.

        Raises:
            ValueError: the tenant's name is not a short lower-case word.
        """
        if not _TENANT.match(tenant):
            raise ValueError("a tenant is 1 to 64 of a-z, 0-9, - and _, starting with a letter or digit")
        key_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(43))
        row = ApiKey(key_id, tenant, name[:100], _hash(secret), admin, time.time_ns() // 1000)
        await self._store.add_key(row)
        return f"gp_{key_id}_{secret}", row

    async def authenticate(self, text: str) -> Identity | None:
        """Who holds this key; None when it is malformed, unknown or revoked."""
        match = _KEY.match(text)
        if match is None:
            return None
        row = await self._lookup(match[1])
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.hash, _hash(match[2])):
            return None
        return Identity(row.tenant, row.admin)

    async def _lookup(self, key_id: str) -> ApiKey | None:
        now, cached = time.monotonic(), self._cache.get(key_id)
        if cached is not None and now - cached[0] < _CACHE_S:
            return cached[1]
        row = await self._store.key(key_id)
        if len(self._cache) > 10_000:
            self._cache.clear()
        self._cache[key_id] = (now, row)
        return row

    async def list(self) -> list[ApiKey]:
        return await self._store.keys()

    async def any(self) -> bool:
        """Is there a key that works?"""
        return any(key.revoked_at is None for key in await self._store.keys())

    async def revoke(self, key_id: str) -> bool:
        """Revoke at once here, within seconds elsewhere; False when there is no such key."""
        self._cache.pop(key_id, None)
        return await self._store.revoke_key(key_id)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
