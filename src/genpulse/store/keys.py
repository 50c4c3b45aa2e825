"""API keys in the database."""

from __future__ import annotations

import dataclasses

from sqlalchemy import ColumnElement, Connection, select, update

from genpulse.core.keys import ApiKey
from genpulse.store import schema
from genpulse.store.database import Database

_k = schema.keys.c


class SqlKeyStore:
    """Implements `core.keys.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_key(self, key: ApiKey) -> None:
        row = dataclasses.asdict(key)
        await self._database.write(lambda conn: conn.execute(schema.keys.insert(), row))

    async def key(self, key_id: str) -> ApiKey | None:
        found = await self._database.read(lambda conn: _read(conn, _k.id == key_id))
        return found[0] if found else None

    async def keys(self) -> list[ApiKey]:
        return await self._database.read(_read)

    async def revoke_key(self, key_id: str) -> bool:
        def unit(conn: Connection) -> bool:
            revoked = update(schema.keys).where(_k.id == key_id, _k.revoked_at.is_(None))
            return conn.execute(revoked.values(revoked_at=self._database.now(conn))).rowcount == 1

        return await self._database.write(unit)


def _read(conn: Connection, *conditions: ColumnElement[bool]) -> list[ApiKey]:
    query = select(schema.keys).where(*conditions).order_by(_k.created_at)
    return [ApiKey(*row) for row in conn.execute(query)]
