"""`watch`: follow a task that exists, from its beginning."""

from __future__ import annotations

from pathlib import Path

import click

from genpulse.cli.attend import attend
from genpulse.cli.connect import connect
from genpulse.cli.outputs import prepare_folder, save_outputs
from genpulse.cli.progress import make_view
from genpulse.cli.report import report
from genpulse.cli.session import Session, command, pass_session


@command(
    "watch",
    examples="""
    genpulse watch 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04
    genpulse watch ID -o out
    """,
)
@click.argument("task_id", metavar="ID")
@click.option(
    "-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), help="Save the outputs there."
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop waiting after so long; the task goes on.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks: only results and errors.")
@pass_session
def watch(session: Session, /, task_id: str, folder: Path | None, timeout: float | None, quiet: bool) -> int:
    """Follow a task until it has ended.

    Ctrl-C leaves; the task goes on.
    """
    with connect(session) as api:
        if folder is not None:
            prepare_folder(folder)
        task = api.task(task_id)
        with make_view(quiet=quiet) as view:
            view.add(task_id, str(task.get("model")))
            final = attend(api, {task_id: task}, view, timeout_s=timeout)[task_id]
        return report(session, final, save_outputs(api, final, folder) if folder else [], quiet=quiet)
