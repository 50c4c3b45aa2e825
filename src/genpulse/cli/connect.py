"""From the global options to a client: which gateway is meant."""

from __future__ import annotations

from pathlib import Path

from genpulse.cli.api import Api
from genpulse.cli.config import load_settings
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.session import Session
from genpulse.embedded.lock import running_server

DEFAULT_URL = "http://127.0.0.1:8000"


def connect(session: Session) -> Api:
    """A client of the gateway that the options, the environment or the data directory name."""
    url = session.url or running_gateway(load_settings().data_dir) or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        message = "The gateway's URL must start with http:// or https://."
        raise CommandError(message, "Correct --url or GENPULSE_URL.", exit_code=Exit.USAGE, code="usage")
    return Api(url, session.key)


def running_gateway(data_dir: Path) -> str | None:
    """The URL of a gateway that serves this data directory now."""
    try:
        running = running_server(data_dir)
    except OSError:
        return None  # an unreadable data directory is the server's trouble, not that of its clients
    return running.gateway_url if running is not None else None
