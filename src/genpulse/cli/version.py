"""`version`: of this program, and of the gateway when one answers."""

from __future__ import annotations

import platform

from genpulse import __version__
from genpulse.cli.connect import connect
from genpulse.cli.failure import CommandError
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.terminal import clean, document, result


@command("version", examples="genpulse version\ngenpulse version --json")
@pass_session
def version(session: Session, /) -> None:
    """Print the version, and the gateway's when one answers."""
    with connect(session) as api:
        try:
            gateway = api.status().get("version")
        except CommandError:
            gateway = None  # a program without a gateway still has a version
    if session.json:
        document({"version": __version__, "python": platform.python_version(), "gateway": gateway})
        return
    result(f"genpulse {__version__} (Python {platform.python_version()})")
    if gateway is not None:
        result(f"gateway {clean(gateway)} at {clean(api.base_url)}")
