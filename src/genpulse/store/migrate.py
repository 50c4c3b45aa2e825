"""Alembic at start: brings the database to this version's schema, in one process at a time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from genpulse.store.database import Database

_LOCK = 0x67656E70  # any number will do; all processes must use the same


class SchemaTooNewError(Exception):
    """The database was migrated by a newer version."""


def config_for(conn: Connection | None = None) -> Config:
    """Alembic's configuration; `migrations/env.py` takes the connection from its attributes."""
    config = Config()
    config.set_main_option("script_location", "genpulse.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


async def migrate(database: Database) -> None:
    """Upgrade to the newest revision; a no-op when it is there.

    Raises:
        SchemaTooNewError: the database knows a revision that this version doesn't.
    """
    await database.write(_upgrade)


def _upgrade(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = config_for(conn)
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(conn).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaTooNewError(
            f"The database has revision {current}, which this version doesn't know; install the newer GenPulse again."
        )
    command.upgrade(config, "head")
