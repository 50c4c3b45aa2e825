"""The W3C `traceparent` header: what is no valid one is treated as if it were absent."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid_traceparent(text: str | None) -> str | None:
    """The header's value, or None when it is absent or not valid."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def trace_id_of(traceparent: str | None) -> str | None:
    """The id of the whole trace within a valid `traceparent`."""
    return None if traceparent is None else traceparent[3:35]
