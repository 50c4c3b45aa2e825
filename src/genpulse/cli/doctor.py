"""`doctor`: tests each part of the system and says what to do; 1 when something is broken."""

from __future__ import annotations

from dataclasses import asdict

from genpulse.cli.answers import Json, as_object
from genpulse.cli.checks import Check, local_checks
from genpulse.cli.config import load_settings
from genpulse.cli.connect import connect, running_gateway
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.terminal import clean, document, result, say
from genpulse.settings import Settings

_WORDS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@command("doctor", examples="genpulse doctor\ngenpulse --url https://genpulse.example doctor --json")
@pass_session
def doctor(session: Session, /) -> int:
    """Test each part and say what to do.

    Each line: what was tried → what came out → what to do. Works with and without a running gateway.
    """
    settings = load_settings()
    checks = local_checks(settings) + _gateway(session, settings)
    problems = [check for check in checks if check.status == "problem"]
    if session.json:
        document({"status": "problem" if problems else "ok", "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            parts = filter(None, (check.tried, check.result, check.advice))
            result(f"{_WORDS[check.status]:<8} {' → '.join(map(clean, parts))}")
    say(f"{len(problems)} problem(s)." if problems else "No problems.")
    return Exit.FAILED if problems else Exit.OK


def _gateway(session: Session, settings: Settings) -> list[Check]:
    """The gateway and its own view of its parts. One that nobody said should run may be absent."""
    expected = session.url or running_gateway(settings.data_dir)
    with connect(session) as api:
        tried = f"ask the gateway at {api.base_url}"
        try:
            status = api.status()
        except CommandError as error:
            if expected or error.exit_code != Exit.UNREACHABLE:
                return [Check("gateway", tried, error.message, "problem", error.advice)]
            return [Check("gateway", tried, "none is running", "note", "Start one with `genpulse start-all`.")]
    state = str(status.get("status"))
    summary = f"version {status.get('version')}, {state}"
    gateway = Check("gateway", tried, summary, "ok" if state != "unavailable" else "problem")
    parts = as_object(status.get("components"))
    return [gateway, *(_component(name, as_object(part)) for name, part in parts.items())]


def _component(name: str, part: Json) -> Check:
    state, detail = str(part.get("status")), part.get("detail")
    tried = f"the gateway's {name}"
    if state == "ok":
        return Check(f"gateway.{name}", tried, "ok")
    advice = "Start one with `genpulse start-worker`." if name == "workers" else "See the gateway's log."
    return Check(f"gateway.{name}", tried, f"{state}: {detail}" if detail else state, "problem", advice)
