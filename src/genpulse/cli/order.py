"""Commands that change the order of waiting tasks, of any tenant: `front` and `prioritise`, for administrators."""

from __future__ import annotations

import click

from genpulse.cli.answers import Json
from genpulse.cli.connect import connect
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.several import for_each
from genpulse.core.models import Priority


@command("front", examples="genpulse front 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04\ngenpulse front ID ID ID")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def front(session: Session, /, task_ids: tuple[str, ...]) -> int:
    """Let waiting tasks run before all others of their pool.

    Of several, the first that is named runs first. Where keys are needed, yours must be an administrator's.
    """
    with connect(session) as api:

        def move(task_id: str) -> Json:
            moved = api.move_to_front(task_id)
            return moved if task_id == task_ids[0] else moved | {"queue_position": None}  # others go ahead of it

        # The latest moved is the first, so the one named first moves last.
        return for_each(session, task_ids, move, last_first=True)


@command(
    "prioritise", examples="genpulse prioritise 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04 high\ngenpulse prioritise ID low"
)
@click.argument("task_id", metavar="ID")
@click.argument("priority", type=click.Choice([priority.value for priority in Priority]))
@pass_session
def prioritise(session: Session, /, task_id: str, priority: str) -> int:
    """Change the priority of a waiting task.

    It goes to the end of its new class, also when it was at the front. Where keys are needed, yours must be an
    administrator's.
    """
    with connect(session) as api:
        return for_each(session, (task_id,), lambda each: api.prioritise(each, priority))
