"""Query parameters: what isn't known or doesn't fit is refused by name."""

from __future__ import annotations

import re

from fastapi import Request

from genpulse.errors import InvalidFieldError

_NUMBER = re.compile(r"\d{1,4}(\.\d{1,6})?", re.ASCII)


class Query:
    """The query of a request that may have the given parameters (a name that ends with `.` allows all that start so).

    Raises:
        RequestError: a parameter is unknown, or contains a NUL.
    """

    def __init__(self, request: Request, *known: str) -> None:
        self._values: dict[str, list[str]] = {}
        if not request.scope["query_string"]:
            return
        prefixes = tuple(name for name in known if name.endswith("."))
        for name, value in request.query_params.multi_items():
            if name not in known and not (prefixes and name.startswith(prefixes)):
                shown = name if len(name) <= 64 and name.isprintable() else "(query)"
                raise InvalidFieldError(shown, "is no parameter of this address")
            if "\x00" in name or "\x00" in value:
                raise InvalidFieldError("(query)", "contains a NUL character")
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """All values of a parameter that may be repeated or hold a comma-separated list."""
        return [part for value in self._values.get(name, []) for part in value.split(",")]

    def one(self, name: str) -> str | None:
        """The value of a parameter that may be given once."""
        values = self._values.get(name, [])
        if len(values) > 1:
            raise InvalidFieldError(name, "is given more than once")
        return values[0] if values else None

    def starting(self, prefix: str) -> dict[str, str]:
        """The values of all parameters that start with `prefix`, by the rest of their name."""
        return {name.removeprefix(prefix): self.one(name) or "" for name in self._values if name.startswith(prefix)}

    def number(self, name: str, least: int, most: int, default: float, *, whole: bool = True) -> float:
        """A number within a range."""
        text = self.one(name)
        if text is None:
            return default
        if _NUMBER.fullmatch(text) is None or not least <= float(text) <= most or (whole and "." in text):
            raise InvalidFieldError(name, f"must be a {'whole ' if whole else ''}number from {least} to {most}")
        return float(text)
