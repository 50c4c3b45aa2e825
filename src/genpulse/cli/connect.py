"""From the global options to a client: which gateway is meant."""

from __future__ import annotations

from pathlib import Path

from genpulse.cli.answers import Json, parse_object
from genpulse.cli.api import Api
from genpulse.cli.config import load_settings
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.session import Session

DEFAULT_URL = "http://127.0.0.1:8000"
RUN_FILE = "run.json"
"""Written into the data directory by a running server, removed at its end."""


def connect(session: Session) -> Api:
    """A client of the gateway that the options, the environment or the data directory name."""
    url = session.url or running_gateway(load_settings().data_dir) or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        message = "The gateway's URL must start with http:// or https://."
        raise CommandError(message, "Correct --url or GENPULSE_URL.", exit_code=Exit.USAGE, code="usage")
    return Api(url, session.key)


def running_gateway(data_dir: Path) -> str | None:
    """The URL of a gateway that said it serves this data directory."""
    url = run_file(data_dir).get("gateway_url")
    return url if isinstance(url, str) and url else None


def run_file(data_dir: Path) -> Json:
    """What a running server wrote about itself; empty when there is none."""
    try:
        return parse_object((data_dir / RUN_FILE).read_bytes())
    except OSError:
        return {}
