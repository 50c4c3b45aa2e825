"""`keys`: make, list and revoke API keys.

Works on the database of the settings, not through a gateway: the first key must exist before a gateway may bind an
address that others reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from genpulse.cli.config import load_settings
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.terminal import clean, document, result, say
from genpulse.core.keys import ApiKey, KeyService
from genpulse.core.view import rfc3339
from genpulse.errors import RequestError
from genpulse.store.database import Database
from genpulse.store.keys import SqlKeyStore
from genpulse.store.migrate import migrate

T = TypeVar("T")


class _Keys(click.Group):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Examples"):
            for line in ("genpulse keys create --tenant team-a", "genpulse keys ls", "genpulse keys revoke ab12cd34"):
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")


keys = _Keys("keys", help="Make, list and revoke API keys.\n\nThey are kept in the database of the settings.")
_DATA_DIR = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Everything GenPulse keeps. Default: ./data."
)


def _with_keys(data_dir: Path | None, use: Callable[[KeyService], Awaitable[T]]) -> T:
    settings = load_settings(data_dir=data_dir)

    async def work() -> T:
        url = settings.database_url.get_secret_value() if settings.database_url else None
        database = Database.open(url, settings.data_dir)
        try:
            await migrate(database)
            return await use(KeyService(SqlKeyStore(database)))
        finally:
            await database.close()

    try:
        return asyncio.run(work())
    except RequestError as error:
        raise CommandError(error.message, "Check DATABASE_URL; `genpulse doctor` tests it.") from error


def _as_dict(key: ApiKey) -> dict[str, Any]:
    times = {"created_at": rfc3339(key.created_at), "revoked_at": rfc3339(key.revoked_at)}
    return {"id": key.id, "tenant": key.tenant, "name": key.name, "admin": key.admin, **times}


@command(
    "create",
    examples="""
    genpulse keys create
    genpulse keys create --tenant team-a --name "render farm"
    genpulse keys create --admin --json
    """,
)
@click.option("--tenant", default="default", show_default=True, help="Whose tasks and files the key reaches.")
@click.option("--name", default="", help="A note to tell keys apart.")
@click.option("--admin", is_flag=True, help="The key may also manage the queue.")
@_DATA_DIR
@pass_session
def create(session: Session, /, tenant: str, name: str, admin: bool, data_dir: Path | None) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    try:
        text, key = _with_keys(data_dir, lambda service: service.create(tenant, name, admin=admin))
    except ValueError as error:
        raise CommandError(str(error), "Choose another --tenant.", exit_code=Exit.USAGE, code="usage") from error
    if session.json:
        document(_as_dict(key) | {"key": text})
        return
    result(text)
    say(f"This is the only time the key of {key.tenant} is shown. Send it as `Authorization: Bearer …`.")


@command("ls", examples="genpulse keys ls\ngenpulse keys ls --json")
@_DATA_DIR
@pass_session
def ls(session: Session, /, data_dir: Path | None) -> None:
    """List keys; their secrets can't be shown again."""
    found = _with_keys(data_dir, lambda service: service.list())
    if session.json:
        document({"keys": [_as_dict(key) for key in found]})
        return
    for key in found:
        state = "revoked" if key.revoked_at else "admin" if key.admin else "valid"
        result(f"{key.id}  {key.tenant:<20} {state:<8} {rfc3339(key.created_at)}  {clean(key.name)}")
    if not found:
        say("There is no key yet: `genpulse keys create`.")


@command("revoke", examples="genpulse keys revoke ab12cd34")
@click.argument("key_id", metavar="ID")
@_DATA_DIR
@pass_session
def revoke(session: Session, /, key_id: str, data_dir: Path | None) -> None:
    """Revoke a key; running gateways refuse it within seconds."""
    if not _with_keys(data_dir, lambda service: service.revoke(key_id)):
        raise CommandError("There is no valid key with this id.", "`genpulse keys ls` lists them.")
    if session.json:
        document({"revoked": key_id})
        return
    say(f"Key {clean(key_id)} is revoked.")


for _command in (create, ls, revoke):
    keys.add_command(_command)
