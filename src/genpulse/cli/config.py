"""Settings for commands that run on this machine, with errors that name the variable to mend and never its value."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings.exceptions import SettingsError

from genpulse.cli.failure import CommandError, Detail, Exit
from genpulse.settings import Settings


def load_settings(**overrides: Any) -> Settings:
    """Effective settings; an override of None means "not given".

    Raises:
        CommandError: a value is wrong.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        details = [
            Detail(_variable_of(entry["loc"]), entry["msg"].removeprefix("Value error, "))
            for entry in error.errors(include_input=False, include_url=False, include_context=False)
        ]
    except SettingsError as error:
        details = [Detail("environment", str(error))]
    raise CommandError(
        "The settings are not valid.",
        "Correct the variable (or option) named above; `genpulse settings` shows all of them.",
        exit_code=Exit.USAGE,
        code="settings",
        details=details,
    )


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting."""
    choices = getattr(field.validation_alias, "choices", None)
    return str(choices[0]) if choices else f"GENPULSE_{name.upper()}"


def _variable_of(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else ""
    field = Settings.model_fields.get(name)
    return variable(name, field) if field else name
