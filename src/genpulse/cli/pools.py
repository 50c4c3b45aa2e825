"""`pools`: look at the pools of a gateway, pause and resume them; for administrators."""

from __future__ import annotations

import click

from genpulse.cli.answers import Json
from genpulse.cli.connect import connect
from genpulse.cli.session import Group, Session, command, pass_session
from genpulse.cli.tables import print_table
from genpulse.cli.terminal import clean, document, result, say


@click.group(
    "pools",
    cls=Group,
    examples="genpulse pools\ngenpulse pools pause local\ngenpulse pools resume local",
    invoke_without_command=True,
)
@click.pass_context
def pools(context: click.Context) -> None:
    """List the pools, pause and resume them.

    A pool is what a worker can run, with a queue of its own: local, cloud and so on. Where keys are needed, yours must
    be an administrator's (`genpulse keys create --admin`).
    """
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Session))


def _list(session: Session) -> None:
    with connect(session) as api:
        found = api.pools()
    if session.json:
        document({"pools": found})
        return
    rows = [
        (pool.get("name"), _state(pool), *(pool.get(name) for name in ("queued", "running", "slots", "workers")))
        for pool in found
    ]
    print_table(("POOL", "STATE", "QUEUED", "RUNNING", "SLOTS", "WORKERS"), rows, whole=("POOL",))


def _state(pool: Json) -> str:
    if pool.get("paused"):
        return "paused"
    return "active" if pool.get("workers") else "no worker"


@command("pause", examples="genpulse pools pause local\ngenpulse pools pause local --json")
@click.argument("name")
@pass_session
def pause(session: Session, /, name: str) -> None:
    """Let a pool start nothing more. What runs goes on; new tasks are accepted and wait."""
    with connect(session) as api:
        pool = api.pause_pool(name)
    _print(session, pool)
    if not session.json:
        say(f"Tasks that run go on: {clean(pool.get('running'))}. Tasks that wait: {clean(pool.get('queued'))}.")
        say(f"→ genpulse pools resume {clean(pool.get('name'))}")


@command("resume", examples="genpulse pools resume local\ngenpulse pools resume local --json")
@click.argument("name")
@pass_session
def resume(session: Session, /, name: str) -> None:
    """Let a pool start tasks again."""
    with connect(session) as api:
        pool = api.resume_pool(name)
    _print(session, pool)
    if not session.json and not pool.get("workers"):
        say("No worker serves it: `genpulse start-worker`, with GENPULSE_POOLS naming it.")


def _print(session: Session, pool: Json) -> None:
    document(pool) if session.json else result(f"{clean(pool.get('name'))} {_state(pool)}")


for _command in (pause, resume):
    pools.add_command(_command)
