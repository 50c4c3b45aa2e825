"""`models`: what a gateway serves, and a model's params as a table made from their JSON Schema."""

from __future__ import annotations

import click

from genpulse.cli.answers import Json, as_list, as_object
from genpulse.cli.connect import connect
from genpulse.cli.schema_rows import COLUMNS, rows
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.tables import print_table
from genpulse.cli.terminal import clean, document, result, say


@command("models", examples="genpulse models\ngenpulse models local/sketch\ngenpulse models --json | jq '.models[].id'")
@click.argument("model_id", metavar="[ID]", required=False)
@pass_session
def models(session: Session, /, model_id: str | None) -> None:
    """List the models that are served, or show the params of one."""
    with connect(session) as api:
        if model_id is None:
            found = api.models()
            document({"models": found}) if session.json else _print_list(found)
        else:
            model = api.model(model_id)
            document(model) if session.json else _print_model(model)


def _print_list(models: list[Json]) -> None:
    lines = [
        (model.get("id"), model.get("state"), _words(model.get("task_types")), model.get("description"))
        for model in models
    ]
    print_table(("ID", "STATE", "TASK TYPES", "DESCRIPTION"), lines, whole=("ID",), folded=("DESCRIPTION",))
    if models:
        say(f"Params of one: genpulse models {clean(models[0].get('id'))}")


def _print_model(model: Json) -> None:
    result(f"{clean(model.get('id'))} ({clean(model.get('state'))}) for {clean(_words(model.get('task_types')))}")
    if model.get("description"):
        result(clean(model["description"]))
    params = rows(as_object(model.get("params_schema")))
    if params:
        result("")
        print_table(COLUMNS, params, whole=("PARAM",), folded=("VALUES", "DESCRIPTION"))
    else:
        result("It takes any params.")


def _words(value: object) -> str:
    return ", ".join(str(item) for item in as_list(value))
