"""`/pools`, `/task/…/front` and `/task/…/priority`: the queue in the hands of administrators, tasks of all tenants.

Who is none gets `forbidden` before anything else is looked at.
"""

from __future__ import annotations

import dataclasses

from fastapi import Request, Response

from genpulse.core.operations import Operations
from genpulse.core.requests import PriorityRequest, validate
from genpulse.gateway.body import read_json
from genpulse.gateway.documents import PoolDocument, PoolList, TaskDocument
from genpulse.gateway.openapi import TASK_ID, json_content, operation, parameter, reference
from genpulse.gateway.query import Query
from genpulse.gateway.responses import json_response
from genpulse.gateway.routes.tasks import task_id_of, task_response
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of, require_admin

router = plain_router("Operations")

_POOL = parameter("name", "path", "The pool's name.")


def _admitted(request: Request) -> Operations:
    require_admin(request)
    Query(request)
    return gateway_of(request).services.operations


@router.get(
    "/pools",
    summary="List pools",
    **operation((200, "All pools, by name.", json_content(PoolList)), errors=["invalid_request"]),
)
async def list_pools(request: Request) -> Response:
    pools = await _admitted(request).pools()
    return json_response({"pools": [dataclasses.asdict(pool) for pool in pools]})


@router.post(
    "/pools/{name}/pause",
    summary="Pause a pool",
    description="Its workers start nothing more, within a second. What runs goes on; new tasks are accepted and wait.",
    **operation(
        (200, "The pool.", json_content(PoolDocument)), errors=["not_found", "invalid_request"], parameters=[_POOL]
    ),
)
async def pause(request: Request) -> Response:
    pool = await _admitted(request).pause(request.path_params["name"])
    return json_response(dataclasses.asdict(pool))


@router.post(
    "/pools/{name}/resume",
    summary="Resume a pool",
    **operation(
        (200, "The pool.", json_content(PoolDocument)), errors=["not_found", "invalid_request"], parameters=[_POOL]
    ),
)
async def resume(request: Request) -> Response:
    pool = await _admitted(request).resume(request.path_params["name"])
    return json_response(dataclasses.asdict(pool))


@router.post(
    "/task/{task_id}/front",
    summary="Move a waiting task to the front",
    description="It runs before all others of its pool, `high` ones included; of several the latest moved is the "
    "first. A task that isn't waiting any more is a 409.",
    **operation(
        (200, "The task.", json_content(TaskDocument)),
        errors=["not_found", ("invalid_request", 409), "invalid_request"],
        parameters=[TASK_ID],
    ),
)
async def front(request: Request) -> Response:
    task = await _admitted(request).move_to_front(task_id_of(request))
    return await task_response(request, task)


@router.post(
    "/task/{task_id}/priority",
    summary="Change the priority of a waiting task",
    description="It goes to the end of its new class, also when it was at the front. A task that isn't waiting any "
    "more is a 409.",
    **operation(
        (200, "The task.", json_content(TaskDocument)),
        errors=[
            *(("invalid_request", 400), "not_found", ("invalid_request", 409), "invalid_request"),
            *("payload_too_large", "unsupported_media"),
        ],
        parameters=[TASK_ID],
        body={"application/json": {"schema": reference(PriorityRequest)}},
    ),
)
async def priority(request: Request) -> Response:
    operations = _admitted(request)
    body: PriorityRequest = validate(PriorityRequest, await read_json(request))
    return await task_response(request, await operations.prioritise(task_id_of(request), body.priority))
