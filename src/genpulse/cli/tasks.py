"""Commands on tasks that exist: list, show, cancel, retry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import orjson

from genpulse.cli.answers import Json, as_list, as_object, outputs_of
from genpulse.cli.api import Api
from genpulse.cli.connect import connect
from genpulse.cli.progress import situation
from genpulse.cli.report import describe, seconds_between
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.several import for_each
from genpulse.cli.tables import print_table
from genpulse.cli.terminal import clean, document, result, say

_PAGE = 100


@command(
    "tasks",
    examples="""
    genpulse tasks
    genpulse tasks --status failed --model local/sketch
    genpulse tasks --all --json
    """,
)
@click.option("--status", type=click.Choice(["pending", "processing", "completed", "failed", "canceled"]))
@click.option("--type", "task_type", metavar="TASK_TYPE")
@click.option("--model", metavar="PROVIDER/NAME")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--all", "every", is_flag=True, help="All of them, page by page.")
@pass_session
def tasks(session: Session, /, limit: int, every: bool, **filters: Any) -> None:
    """List tasks, newest first."""
    with connect(session) as api:
        found = list(_pages(api, None if every else limit, filters))
    if session.json:
        document({"tasks": found})
        return
    rows = [
        (
            task.get("task_id"),
            situation(task),
            f"{task['progress']:.0f} %" if isinstance(task.get("progress"), int | float) else "",
            task.get("model"),
            task.get("task_type"),
            task.get("priority"),
            task.get("created_at"),
        )
        for task in found
    ]
    print_table(("ID", "STATUS", "DONE", "MODEL", "TYPE", "PRIORITY", "CREATED"), rows, whole=("ID",))
    if not every and len(found) == limit:
        say(f"The newest {limit}; more with --limit or --all.")


def _pages(api: Api, limit: int | None, filters: dict[str, Any]) -> Iterator[Json]:
    left, cursor = limit, None
    while left is None or left > 0:
        page = api.tasks(**filters, limit=_PAGE if left is None else min(left, _PAGE), cursor=cursor)
        tasks = [as_object(task) for task in as_list(page.get("tasks"))]
        yield from tasks
        cursor = page.get("next_cursor")
        left = None if left is None else left - len(tasks)
        if not cursor or not tasks:
            return


@command(
    "show", examples="genpulse show 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04\ngenpulse show ID --json | jq .result.seed"
)
@click.argument("task_id", metavar="ID")
@pass_session
def show(session: Session, /, task_id: str) -> None:
    """Show one task with all it has."""
    with connect(session) as api:
        task = api.task(task_id)
    document(task) if session.json else _print_task(task)


def _print_task(task: Json) -> None:
    outcome, error = as_object(task.get("result")), as_object(task.get("error"))
    for label, value in (
        ("Task", task.get("task_id")),
        ("Type", task.get("task_type")),
        ("Model", task.get("model")),
        ("Status", situation(task)),
        ("Priority", task.get("priority")),
        ("Attempt", task.get("attempt")),
        ("Retry of", task.get("retry_of")),
        ("Created", task.get("created_at")),
        ("Started", task.get("started_at")),
        ("Finished", task.get("finished_at")),
        ("Took", _seconds(seconds_between(task.get("created_at"), task.get("finished_at")))),
        ("Seed", outcome.get("seed")),
        ("Error", f"{error.get('code')}: {error.get('message')}" if error else None),
        ("Text", outcome.get("text")),
        ("Cost", _short_json(task.get("cost"))),
        ("Metadata", _short_json(task.get("metadata"))),
    ):
        if value is not None:
            result(f"{label:<9} {clean(value)}")
    for warning in as_list(task.get("warnings")):
        result(f"Warning   {clean(warning)}")
    for output in outputs_of(task):
        result(f"Output    {clean(output.get('name'))}: {describe(output)}")
        result(f"          {clean(output.get('url'))}")
    for label, value in (("Params", task.get("params")), ("Data", outcome.get("data"))):
        if value:
            text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
            result(f"{label}\n{clean(text, keep_newlines=True)}")


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"


def _short_json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


@command("cancel", examples="genpulse cancel 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04\ngenpulse cancel ID ID ID")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def cancel(session: Session, /, task_ids: tuple[str, ...]) -> int:
    """Cancel tasks: a waiting one at once, a running one as soon as it stops.

    A finished task stays as it is.
    """
    with connect(session) as api:
        return for_each(session, task_ids, api.cancel)


@command("retry", examples="genpulse retry 0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04\ngenpulse watch $(genpulse retry ID)")
@click.argument("task_id", metavar="ID")
@pass_session
def retry(session: Session, /, task_id: str) -> None:
    """Run a failed or canceled task again: a new task with the same params and seed; prints its id."""
    with connect(session) as api:
        task = api.retry(task_id)
    document(task) if session.json else result(clean(task.get("task_id")))
