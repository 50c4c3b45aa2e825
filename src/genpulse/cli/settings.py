"""`settings`: the effective settings of a server started here, where each comes from, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from genpulse.cli.answers import as_list, as_object
from genpulse.cli.config import load_settings, variable
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.tables import print_table
from genpulse.cli.terminal import document
from genpulse.settings import Settings

_MASK = "***"


@command("settings", examples="genpulse settings\nGENPULSE_PORT=9000 genpulse settings --json")
@pass_session
def settings(session: Session, /) -> None:
    """Show the effective settings, where each comes from, and what follows from it.

    Set one by its variable, in the environment or in a .env file of the working directory.
    """
    entries = describe(load_settings())
    if session.json:
        document({"settings": entries})
        return
    rows = [(e["variable"], _shown(e["value"]), e["source"], e["description"]) for e in entries]
    print_table(
        ("VARIABLE", "VALUE", "SOURCE", "DESCRIPTION"), rows, whole=("VARIABLE",), folded=("VALUE", "DESCRIPTION")
    )


def describe(effective: Settings) -> list[dict[str, Any]]:
    """Every setting with its masked value; `source` is `env`, `.env` or `default`."""
    environment = EnvSettingsSource(Settings)()
    dotenv = DotEnvSettingsSource(Settings)()
    return [
        {
            "name": name,
            "variable": variable(name, field),
            "value": masked(getattr(effective, name)),
            "source": _source(name, field, environment, dotenv),
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def masked(value: Any) -> Any:
    """A value fit for every eye: secrets hidden, of URLs only their credentials, the rest as JSON takes it."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return mask_url(secret) if "://" in secret else _MASK
    if isinstance(value, str):
        return mask_url(value) if "://" in value else value
    if isinstance(value, Path):
        return str(value)
    return [*cast("tuple[str, ...]", value)] if isinstance(value, tuple) else value


def mask_url(url: str) -> str:
    """The URL without password and without the values of its query, which may be keys."""
    parts = urlsplit(url)
    credentials, at, place = parts.netloc.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        credentials = f"{user}:{_MASK}" if colon else _MASK
    query = re.sub(r"=[^&]*", f"={_MASK}", parts.query)
    return f"{parts.scheme}://{credentials}{at}{place}{parts.path}" + (f"?{query}" if query else "")


def _source(name: str, field: FieldInfo, environment: Mapping[str, Any], dotenv: Mapping[str, Any]) -> str:
    keys = {name, name.lower(), variable(name, field)}
    for source, values in (("env", environment), (".env", dotenv)):
        if keys & set(values):
            return source
    return "default"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in as_object(value).items())
    return ",".join(map(str, as_list(value))) if isinstance(value, list) else str(value)
