"""The OpenAPI document: what each operation takes and answers, said beside its route by `operation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from genpulse.core.models import Json
from genpulse.core.requests import PriorityRequest, TaskRequest
from genpulse.errors import CODES
from genpulse.gateway import documents

_REF = "#/components/schemas/{model}"
_ANYWHERE = ("unauthorized", "forbidden", "unavailable")
_DOCUMENTS: tuple[type[BaseModel], ...] = (
    documents.TaskDocument,
    documents.TaskPage,
    documents.Output,
    documents.ModelDocument,
    documents.ModelList,
    documents.StatusDocument,
    documents.PoolDocument,
    documents.PoolList,
    documents.Problem,
)

TAGS = [
    {"name": "Tasks", "description": "Submit, follow, cancel and repeat work."},
    {"name": "Events", "description": "Server-sent events."},
    {"name": "Files", "description": "Inputs and outputs."},
    {"name": "Models", "description": "What can be asked for."},
    {"name": "Status", "description": "Health."},
    {
        "name": "Operations",
        "description": "The queue, for administrators: whoever needs no key, or has one of `genpulse keys create "
        "--admin`.",
    },
]
DESCRIPTION = """One self-hosted door to generative media: submit a task, follow it, get its files.

On the machine itself no key is needed; elsewhere send `Authorization: Bearer gp_…`. Every error is a problem document
(`application/problem+json`) with a `code`; see the table of codes in the `Problem` schema."""


def parameter(
    name: str, where: Literal["path", "query", "header"], description: str, schema: Json | None = None
) -> Json:
    """One parameter."""
    return {
        "name": name,
        "in": where,
        "description": description,
        "required": where == "path",
        "schema": schema or {"type": "string"},
    }


TASK_ID = parameter("task_id", "path", "The task's id.", {"type": "string", "format": "uuid"})
WAIT = parameter(
    "wait",
    "query",
    "Wait up to so many seconds for the task's end.",
    {"type": "number", "minimum": 0, "maximum": 60, "default": 0},
)


def reference(model: type[BaseModel]) -> Json:
    """A reference to one of the schemas in the document."""
    return {"$ref": _REF.format(model=model.__name__)}


def json_content(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": reference(model)}}


def operation(
    *answers: tuple[int, str, Json | None],
    errors: Sequence[str | tuple[str, int]] = (),
    parameters: Sequence[Json] = (),
    body: Json | None = None,
) -> dict[str, Any]:
    """What a route's decorator is told.

    Args:
        answers: status, description and content of each good answer, the usual one first.
        errors: the codes of its problems, beside those that any operation may answer; `(code, status)` where the
            status isn't the code's usual one.
        parameters: its path, query and header parameters.
        body: the content of its body by media type.
    """
    responses: dict[int | str, Json] = {}
    for status, description, content in answers:
        responses[status] = {"description": description, **({"content": content} if content else {})}
    for status, codes in _by_status(errors).items():
        responses[status] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/problem+json": {"schema": reference(documents.Problem)}},
        }
    extra: Json = {"parameters": list(parameters)} if parameters else {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": body}
    return {
        "status_code": answers[0][0],
        "response_class": Response,
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    }


def _by_status(errors: Sequence[str | tuple[str, int]]) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = {}
    for error in (*errors, *_ANYWHERE):
        code, status = (error, CODES[error].status) if isinstance(error, str) else error
        found.setdefault(status, []).append(code)
    return dict(sorted(found.items()))


def document(app: FastAPI) -> Json:
    """The app's OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
            tags=TAGS,
        )
        models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
            (TaskRequest, "validation"),
            (PriorityRequest, "validation"),
            *((model, "validation") for model in _DOCUMENTS),
        ]
        _, schemas = models_json_schema(models, ref_template=_REF)
        components = made.setdefault("components", {})
        components.setdefault("schemas", {}).update(schemas["$defs"])
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}}
        made["security"] = [{}, {"key": []}]
        app.openapi_schema = made
    return app.openapi_schema
