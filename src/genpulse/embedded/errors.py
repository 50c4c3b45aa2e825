"""What goes wrong with embedded servers."""

from __future__ import annotations


class EmbeddedError(Exception):
    """An embedded server can't be started; the message says why and what to do."""
