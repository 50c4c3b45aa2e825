"""Keys while the database with them doesn't answer."""

import asyncio

import pytest

from genpulse.core import keys
from genpulse.core.keys import ApiKey, KeyService
from genpulse.errors import RequestError
from genpulse.store.database import Database
from genpulse.store.keys import SqlKeyStore


class FreezingStore(SqlKeyStore):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.frozen = False

    async def key(self, key_id: str) -> ApiKey | None:
        if self.frozen:
            await asyncio.Event().wait()
        return await super().key(key_id)


async def test_a_known_key_is_trusted_while_the_database_is_frozen(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody could ask /status what is wrong."""
    monkeypatch.setattr(keys, "_CACHE_S", 0.0)
    monkeypatch.setattr(keys, "_LOOKUP_S", 0.05)
    store = FreezingStore(database)
    service = KeyService(store)
    known, _ = await service.create("acme", admin=True)
    unknown, _ = await service.create("acme")
    assert await service.authenticate(known) is not None
    store.frozen = True
    identity = await service.authenticate(known)
    assert identity is not None and identity.admin
    with pytest.raises(RequestError) as refused:
        await service.authenticate(unknown)
    assert refused.value.code == "unavailable"
    monkeypatch.setattr(keys, "_TRUSTED_S", 0.0)
    with pytest.raises(RequestError):
        await service.authenticate(known)
