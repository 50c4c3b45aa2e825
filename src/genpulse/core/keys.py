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
from genpulse.core.patience import within
from genpulse.errors import RequestError

_KEY = re.compile(r"^gp_([a-z0-9]{8})_([A-Za-z0-9]{43})$")
_TENANT = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_ALPHABET = string.ascii_letters + string.digits
_CACHE_S = 5.0
"""How long a revoked key may still be honoured."""
_LOOKUP_S = 2.0
_TRUSTED_S = 600.0
"""The same while the database doesn't answer; little works then but /status and /metrics."""


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


@dataclass(slots=True)
class _Known:
    """What the store said of a key id, and when it was asked and when it answered last."""

    row: ApiKey | None
    looked_at: float
    confirmed_at: float


class KeyService:
    """Makes, checks, lists and revokes keys."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._cache: dict[str, _Known] = {}

    async def create(self, tenant: str, name: str = "", *, admin: bool = False) -> tuple[str, ApiKey]:
        """A new key: its text, to be shown once, and its row.

        Raises:
            ValueError: the tenant's name is not a short lower-case word.
        """
        if not _TENANT.fullmatch(tenant):
            raise ValueError("a tenant is 1 to 64 of a-z, 0-9, - and _, starting with a letter or digit")
        key_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(43))
        row = ApiKey(key_id, tenant, name[:100], _hash(secret), admin, time.time_ns() // 1000)
        await self._store.add_key(row)
        return f"gp_{key_id}_{secret}", row

    async def authenticate(self, text: str) -> Identity | None:
        """Who holds this key; None when it is malformed, unknown or revoked."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        row = await self._lookup(match[1])
        if row is None or row.revoked_at is not None or not hmac.compare_digest(row.hash, _hash(match[2])):
            return None
        return Identity(row.tenant, row.admin)

    async def _lookup(self, key_id: str) -> ApiKey | None:
        now, known = time.monotonic(), self._cache.get(key_id)
        if known is not None and now - known.looked_at < _CACHE_S:
            return known.row
        try:
            row = await within(_LOOKUP_S, self._store.key(key_id))
        except (RequestError, TimeoutError) as error:
            # What tells that the database is away, /status say, must not depend on it.
            if known is None or now - known.confirmed_at > _TRUSTED_S:
                raise RequestError("unavailable", "The database with the keys doesn't answer.") from error
            known.looked_at = time.monotonic()
            return known.row
        if len(self._cache) > 10_000:
            self._cache.clear()
        self._cache[key_id] = _Known(row, looked_at=now, confirmed_at=now)
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
