"""Routes that take the request and answer a response by themselves.

FastAPI's dependency injection, which none of ours uses, costs about as much time per request as everything GenPulse
does in front of a commit (`python -m bench accepts` shows it), so it is left out; its document and its router stay.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import request_response


class PlainRoute(APIRoute):
    """Calls its endpoint with the request, and nothing else."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = request_response(endpoint)


def plain_router(*tags: str, in_schema: bool = True) -> APIRouter:
    """A router of plain routes."""
    return APIRouter(tags=[*tags], route_class=PlainRoute, include_in_schema=in_schema)


def include(app: FastAPI, *routers: APIRouter) -> None:
    """Add the routes as they are: `include_router` would wrap each match in a second one. The first match is taken."""
    for added in routers:
        app.router.routes.extend(added.routes)
