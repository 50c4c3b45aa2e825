"""`keys` on a real database: the key works, its secret is nowhere, and a revoked one is refused."""

import asyncio
import json
from pathlib import Path

import pytest

from genpulse.cli.app import run
from genpulse.core.keys import KeyService
from genpulse.store.database import Database
from genpulse.store.keys import SqlKeyStore


def _authenticate(folder: Path, text: str) -> object:
    async def ask() -> object:
        database = Database.open(None, folder / "data")
        try:
            return await KeyService(SqlKeyStore(database)).authenticate(text)
        finally:
            await database.close()

    return asyncio.run(ask())


def test_a_key_is_made_listed_and_revoked(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--tenant", "team-a", "--name", "farm"]) == 0
    key = capsys.readouterr().out.strip()
    identity = _authenticate(own_folder, key)
    assert identity is not None and identity.tenant == "team-a"  # type: ignore[attr-defined]
    assert _authenticate(own_folder, key[:-1] + ("A" if key[-1] != "A" else "B")) is None
    secret = key.rsplit("_", 1)[1].encode()
    assert not any(secret in path.read_bytes() for path in (own_folder / "data").iterdir() if path.is_file())

    assert run(["keys", "ls", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["keys"]
    assert (row["tenant"], row["name"], row["admin"], row["revoked_at"]) == ("team-a", "farm", False, None)

    assert run(["keys", "revoke", row["id"]]) == 0
    assert _authenticate(own_folder, key) is None
    assert run(["keys", "revoke", row["id"]]) == 1
    assert run(["keys", "create", "--tenant", "Not OK"]) == 2
