"""`/models`: what can be asked for, with the JSON Schema of its params."""

from __future__ import annotations

from functools import lru_cache

from fastapi import Request, Response
from pydantic import BaseModel

from genpulse.core.models import Json
from genpulse.core.registry import Model, Registry
from genpulse.errors import RequestError
from genpulse.gateway.documents import ModelDocument, ModelList
from genpulse.gateway.openapi import json_content, operation, parameter
from genpulse.gateway.query import Query
from genpulse.gateway.responses import json_response
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of

router = plain_router("Models")

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@router.get(
    "/models",
    summary="List models",
    **operation((200, "All models.", json_content(ModelList)), errors=["invalid_request"]),
)
async def list_models(request: Request) -> Response:
    Query(request)
    registry = gateway_of(request).services.registry
    return json_response({"models": [describe(registry, model) for model in registry.models]})


@router.get(
    "/models/{provider}/{name}",
    summary="Get a model",
    description="The slash between provider and name may also come as `%2F`.",
    **operation(
        (200, "The model.", json_content(ModelDocument)),
        errors=["not_found", "invalid_request"],
        parameters=[
            parameter("provider", "path", "The part before the slash."),
            parameter("name", "path", "The part after it."),
        ],
    ),
)
async def get_model(request: Request) -> Response:
    Query(request)
    registry = gateway_of(request).services.registry
    model = registry.model(f"{request.path_params['provider']}/{request.path_params['name']}")
    if model is None:
        raise RequestError("not_found", "There is no such model; GET /models lists them.")
    return json_response(describe(registry, model))


def describe(registry: Registry, model: Model) -> Json:
    """A model as clients see it."""
    reason = model.available() if model.available else None
    description = " ".join(filter(None, [model.description.strip(), reason and f"(Unavailable: {reason})"]))
    return {
        "id": model.id,
        "task_types": list(model.task_types),
        "params_schema": _params_schema(registry, model),
        "provider": model.provider,
        "state": "ready" if reason is None else "unavailable",
        "description": description,
    }


def _params_schema(registry: Registry, model: Model) -> Json:
    """One schema, or a choice between those of its task types where they differ."""
    served = [name for name in model.task_types if registry.handler(name) is not None]
    kinds = list(dict.fromkeys(registry.params_of(name, model) for name in served))
    if len(kinds) <= 1:
        return {"$schema": _DIALECT, **_schema_of(kinds[0] if kinds else None)}
    return {"$schema": _DIALECT, "anyOf": [_schema_of(kind) for kind in kinds]}


@lru_cache(maxsize=1024)
def _schema_of(params: type[BaseModel] | None) -> Json:
    """A handler in the scaffold's shape takes any object."""
    return {"type": "object"} if params is None else params.model_json_schema()
