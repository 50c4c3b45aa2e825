"""`/status` and the probes of orchestrators; `/` says where to go."""

from __future__ import annotations

from fastapi import Request, Response

from genpulse import __version__
from genpulse.gateway.documents import StatusDocument
from genpulse.gateway.openapi import json_content, operation
from genpulse.gateway.query import Query
from genpulse.gateway.responses import json_response
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of

router = plain_router("Status")


@router.get(
    "/status",
    summary="Health of all parts",
    **operation(
        (200, "Tasks are accepted (`ok`, or `degraded`: something is missing).", json_content(StatusDocument)),
        (503, "Nothing can be accepted.", json_content(StatusDocument)),
        errors=["invalid_request"],
    ),
)
async def status(request: Request) -> Response:
    Query(request)
    found = await gateway_of(request).services.tasks.status()
    body = {
        "status": found.status,
        "version": __version__,
        "components": found.components,
        "queue": {"pending": found.pending, "processing": found.processing},
    }
    unavailable = found.status == "unavailable"
    return json_response(body, 503 if unavailable else 200, {"Retry-After": "5"} if unavailable else None)


@router.head("/status/live", include_in_schema=False)
@router.get("/status/live", summary="Does the process answer?", **operation((200, "It does.", None)))
async def live(request: Request) -> Response:
    del request
    return json_response({"status": "ok"})


@router.head("/status/ready", include_in_schema=False)
@router.get("/status/ready", summary="Can tasks be accepted?", **operation((200, "They can.", None)))
async def ready(request: Request) -> Response:
    found = await gateway_of(request).services.tasks.status()
    closing = gateway_of(request).closing.is_set()
    if found.status == "unavailable" or closing:
        return json_response({"status": "closing" if closing else found.status}, 503, {"Retry-After": "5"})
    return json_response({"status": found.status})


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    del request
    return json_response({"name": "GenPulse", "version": __version__, "docs": "/docs", "status": "/status"})
