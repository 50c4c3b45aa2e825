"""`/task`: submit, look, list, cancel, retry, delete. Translates HTTP to `core.service.TaskService`, no more."""

from __future__ import annotations

import base64
import re

from fastapi import Request, Response

from genpulse.core.ledger import TaskFilter
from genpulse.core.models import Task
from genpulse.core.requests import TaskRequest, validate
from genpulse.errors import InvalidFieldError, RequestError
from genpulse.gateway.body import read_json
from genpulse.gateway.documents import STATUSES, TaskDocument, TaskPage
from genpulse.gateway.openapi import TASK_ID, WAIT, json_content, operation, parameter, reference
from genpulse.gateway.query import Query
from genpulse.gateway.responses import json_response
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of, tenant_of, traceparent_of, view_of
from genpulse.gateway.waiting import MAX_WAIT_S, wait_for_end

router = plain_router("Tasks")

_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CURSOR = re.compile(r"(\d{1,16}):([0-9a-f-]{36})", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PREFER_WAIT = re.compile(r'wait(?:\s*=\s*"?(\d{1,9})"?)?', re.IGNORECASE | re.ASCII)
_MAX_METADATA_FILTERS = 10


def task_id_of(request: Request) -> str:
    """The id in the path. What is no canonical UUID can't be one of ours: it answers like a missing one."""
    task_id: str = request.path_params["task_id"]
    if _TASK_ID.fullmatch(task_id) is None:
        raise RequestError("not_found", "There is no task with this id.")
    return task_id


@router.post(
    "/task",
    summary="Submit a task",
    **operation(
        (202, "The task is committed; nothing accepted is lost.", json_content(TaskDocument)),
        (200, "It reached its end within the preferred wait.", json_content(TaskDocument)),
        errors=[
            *(("invalid_request", 400), "not_found"),
            *("invalid_request", "invalid_params", "unknown_task_type", "unknown_model", "no_capable_backend"),
            *("idempotency_key_reused", "payload_too_large", "unsupported_media", "queue_full", "storage_full"),
        ],
        parameters=[
            parameter(
                "Idempotency-Key",
                "header",
                "A submit that is repeated with the same key and body gets the same task, or `not_found` when that was "
                "deleted. Kept for 7 days.",
                {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
            ),
            parameter("Prefer", "header", "`wait=N`: answer when the task has ended, or after N (≤ 60) seconds."),
        ],
        body={"application/json": {"schema": reference(TaskRequest)}},
    ),
)
async def submit(request: Request) -> Response:
    Query(request)
    key = _idempotency_key(request)
    body = validate(TaskRequest, await read_json(request))
    accepted = await gateway_of(request).services.tasks.submit(
        tenant_of(request),
        body,
        idempotency_key=key,
        traceparent=traceparent_of(request),
    )
    task, headers = accepted.task, _location(request, accepted.task)
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    status = 202
    preferred = _preferred_wait(request)
    if preferred is not None:
        wait_s, headers["Preference-Applied"] = preferred
        task = await wait_for_end(request, task, wait_s)
        status = 200 if task.terminal else 202
    return json_response({**view_of(request).task(task), "message": "Task received"}, status, headers)


@router.get(
    "/task",
    summary="List tasks, newest first",
    **operation(
        (200, "A page of tasks.", json_content(TaskPage)),
        errors=["invalid_request"],
        parameters=[
            parameter(
                "status",
                "query",
                "One or more, comma-separated.",
                {"type": "string", "examples": ["pending,processing"]},
            ),
            parameter("task_type", "query", "Only this task type."),
            parameter("model", "query", "Only this model."),
            parameter("metadata.{key}", "query", "Only tasks with this metadata, as `metadata.project=x`."),
            parameter(
                "limit", "query", "Tasks a page.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
            ),
            parameter("cursor", "query", "`next_cursor` of the page before."),
        ],
    ),
)
async def list_tasks(request: Request) -> Response:
    query = Query(request, "status", "task_type", "model", "limit", "cursor", "metadata.")
    limit = int(query.number("limit", 1, 100, 20))
    wanted = TaskFilter(
        statuses=_statuses(query),
        task_type=query.one("task_type"),
        model=query.one("model"),
        metadata=_metadata(query),
        before=_decode_cursor(query.one("cursor")),
        limit=limit + 1,  # one more tells whether there is a next page
    )
    service, view = gateway_of(request).services.tasks, view_of(request)
    found = await service.list(tenant_of(request), wanted)
    tasks = found[:limit]
    progress = await service.progress(*tasks)
    shown = [view.task(task, progress=progress.get(task.id), brief=True) for task in tasks]
    return json_response({"tasks": shown, "next_cursor": _encode_cursor(tasks[-1]) if len(found) > limit else None})


@router.get(
    "/task/{task_id}",
    summary="Get a task",
    **operation(
        (200, "The task.", json_content(TaskDocument)),
        errors=["not_found", "invalid_request"],
        parameters=[TASK_ID, WAIT],
    ),
)
async def get_task(request: Request) -> Response:
    wait_s = Query(request, "wait").number("wait", 0, MAX_WAIT_S, 0, whole=False)
    task = await gateway_of(request).services.tasks.get(tenant_of(request), task_id_of(request))
    return await task_response(request, await wait_for_end(request, task, wait_s))


@router.post(
    "/task/{task_id}/cancel",
    summary="Cancel a task",
    description="A waiting task is canceled at once, a running one as soon as it has really stopped; until then it "
    "shows `cancel_requested_at`. A task that has ended stays as it is, and a result that was paid for wins.",
    **operation(
        (200, "The task.", json_content(TaskDocument)), errors=["not_found", "invalid_request"], parameters=[TASK_ID]
    ),
)
async def cancel(request: Request) -> Response:
    Query(request)
    task = await gateway_of(request).services.tasks.cancel(tenant_of(request), task_id_of(request))
    return await task_response(request, task)


@router.post(
    "/task/{task_id}/retry",
    summary="Run a failed or canceled task again, as a new one",
    **operation(
        (202, "The new task, with the same params and seed.", json_content(TaskDocument)),
        errors=["not_found", "not_retryable", "queue_full", "storage_full", "invalid_request"],
        parameters=[TASK_ID],
    ),
)
async def retry(request: Request) -> Response:
    Query(request)
    service = gateway_of(request).services.tasks
    task = await service.retry(tenant_of(request), task_id_of(request), traceparent=traceparent_of(request))
    return json_response(view_of(request).task(task), 202, _location(request, task))


@router.delete(
    "/task/{task_id}",
    summary="Delete a task that has ended, and its files",
    **operation(
        (204, "It is gone.", None), errors=["not_found", "not_finished", "invalid_request"], parameters=[TASK_ID]
    ),
)
async def delete(request: Request) -> Response:
    Query(request)
    await gateway_of(request).services.tasks.delete(tenant_of(request), task_id_of(request))
    return Response(status_code=204)


async def task_response(request: Request, task: Task) -> Response:
    """A task as it is now, with its place and its newest progress."""
    service = gateway_of(request).services.tasks
    position = await service.position(task)
    progress = await service.progress(task)
    return json_response(view_of(request).task(task, position=position, progress=progress.get(task.id)))


def _location(request: Request, task: Task) -> dict[str, str]:
    return {"Location": f"{request.scope.get('root_path', '')}/task/{task.id}"}


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or _IDEMPOTENCY_KEY.fullmatch(keys[0]) is None:
        raise InvalidFieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters", status=400)
    return keys[0]


def _preferred_wait(request: Request) -> tuple[int, str] | None:
    """Seconds to wait and what to answer in `Preference-Applied`; of repeated preferences the first counts."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        match = _PREFER_WAIT.fullmatch(preference.partition(";")[0].strip())
        if match is not None:
            wait_s = MAX_WAIT_S if match[1] is None else min(int(match[1]), MAX_WAIT_S)
            return wait_s, "wait" if match[1] is None else f"wait={wait_s}"
    return None


def _statuses(query: Query) -> list[str]:
    statuses = query.all("status")
    if any(status not in STATUSES for status in statuses):
        raise InvalidFieldError("status", f"must be of {', '.join(STATUSES)}")
    return statuses


def _metadata(query: Query) -> dict[str, str]:
    wanted = query.starting("metadata.")
    if len(wanted) > _MAX_METADATA_FILTERS or not all(0 < len(key) <= 64 for key in wanted):
        raise InvalidFieldError("metadata", f"filters by at most {_MAX_METADATA_FILTERS} keys of 1 to 64 characters")
    return wanted


def _encode_cursor(task: Task) -> str:
    return base64.urlsafe_b64encode(f"{task.created_at}:{task.id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidFieldError("cursor", "must be the next_cursor of an earlier page")
    return int(match[1]), match[2]
