"""`run`: submit one task, follow it, save its outputs."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import click

from genpulse.cli.answers import Json, as_list
from genpulse.cli.api import Api
from genpulse.cli.attend import attend
from genpulse.cli.connect import connect
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.outputs import prepare_folder, save_outputs
from genpulse.cli.params import pair, parse
from genpulse.cli.progress import make_view
from genpulse.cli.report import report
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.terminal import clean, document, result, say


@command(
    "run",
    examples="""
    genpulse run text-to-image -p prompt="a lighthouse at dawn" -p width=512 -o out
    genpulse run local/hibari -p text="Hello." --json
    genpulse run image-upscale -p image=@photo.jpg --priority high
    """,
)
@click.argument("target", metavar="TASK_TYPE|MODEL")
@click.option("-p", "--param", "smart", multiple=True, metavar="KEY=VALUE", help="JSON or text; KEY=@FILE uploads.")
@click.option("-s", "--string", "text", multiple=True, metavar="KEY=TEXT", help="Always text, as it stands.")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--model", metavar="PROVIDER/NAME", help="Default: the task type's own.")
@click.option("--priority", type=click.Choice(["low", "normal", "high"]))
@click.option("--seed", type=click.IntRange(min=-1), help="For the same result again.")
@click.option("--deadline", type=float, metavar="SECONDS", help="The task is given up after so long.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop waiting after so long; the task goes on.")
@click.option("--idempotency-key", metavar="KEY", help="The same key and body: the same task, not a second one.")
@click.option("--metadata", multiple=True, metavar="KEY=TEXT", help="Kept with the task.")
@click.option("--no-wait", is_flag=True, help="Print the id and leave.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks: only results and errors.")
@pass_session
def run(session: Session, /, target: str, folder: Path, timeout: float | None, quiet: bool, **options: Any) -> int:
    """Submit a task, follow it and save its outputs.

    TARGET is a task type (text-to-image) or a model (local/sketch). Ctrl-C cancels the task, a second Ctrl-C leaves it
    alone and prints its id.
    """
    with connect(session) as api:
        if not options["no_wait"]:
            prepare_folder(folder)
        body = _body(api, target, quiet=quiet, **options)
        key = options["idempotency_key"] or str(uuid.uuid4())
        if options["no_wait"]:
            task = _submit(api, body, key)
            document(task) if session.json else result(clean(task["task_id"]))
            return 0
        with make_view(quiet=quiet) as view:
            task = _submit(api, body, key)
            task_id = str(task["task_id"])
            view.add(task_id, str(task.get("model")))
            view.note(f"Task {task_id}")
            final = attend(api, {task_id: task}, view, on_interrupt=lambda: _cancel(api, task_id), timeout_s=timeout)[
                task_id
            ]
        return report(session, final, save_outputs(api, final, folder), quiet=quiet)


def _body(
    api: Api,
    target: str,
    *,
    smart: tuple[str, ...],
    text: tuple[str, ...],
    model: str | None,
    priority: str | None,
    seed: int | None,
    deadline: float | None,
    metadata: tuple[str, ...],
    quiet: bool,
    **_: Any,
) -> Json:
    """The body of `POST /task`; what wasn't given is left to the gateway."""
    task_type, model = _resolve(api, target, model, quiet=quiet)
    params = parse(smart, text, api)
    if seed is not None:
        params["seed"] = seed
    given: Json = {
        "model": model,
        "priority": priority,
        "deadline_s": deadline,
        "metadata": dict(pair(item, "--metadata") for item in metadata) or None,
    }
    return {"task_type": task_type, "params": params} | {k: v for k, v in given.items() if v is not None}


def _resolve(api: Api, target: str, model: str | None, *, quiet: bool) -> tuple[str, str | None]:
    """Task type and model; a model as target picks its first task type."""
    if "/" not in target:
        return target, model
    if model is not None and model != target:
        raise click.UsageError(f"Two models are named: {target} and {model}.")
    task_types = [str(name) for name in as_list(api.model(target).get("task_types"))]
    if not task_types:
        raise CommandError(f"{target} serves no task type.", "See `genpulse models`.")
    if len(task_types) > 1 and not quiet:
        others = ", ".join(clean(name) for name in task_types[1:])
        say(f"{clean(target)} runs as {clean(task_types[0])}; it also serves {others} (TASK_TYPE --model {target}).")
    return task_types[0], target


def _submit(api: Api, body: Json, idempotency_key: str) -> Json:
    try:
        return api.submit(body, idempotency_key)
    except KeyboardInterrupt:
        message = "Interrupted while submitting; the task may have been accepted."
        raise CommandError(message, "See `genpulse tasks --limit 3`.", exit_code=Exit.INTERRUPTED) from None


def _cancel(api: Api, task_id: str) -> None:
    try:
        api.cancel(task_id)
    except CommandError as error:
        message = f"The task can't be canceled and goes on: {error.message}"
        advice = f"Try again later: genpulse cancel {task_id}"
        raise CommandError(message, advice, exit_code=error.exit_code, code=error.code) from error
