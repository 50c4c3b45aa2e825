"""Event streams: of one task, replayable from any event; and a live feed of all of one's tasks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from fastapi import Request, Response

from genpulse.core.models import Event, Json, Task
from genpulse.core.view import TaskView
from genpulse.core.watch import Idle, Seen
from genpulse.gateway.openapi import TASK_ID, operation, parameter
from genpulse.gateway.query import Query
from genpulse.gateway.routes.tasks import task_id_of
from genpulse.gateway.routing import plain_router
from genpulse.gateway.services import gateway_of, tenant_of, view_of
from genpulse.gateway.sse import EventStream, frame

router = plain_router("Events")

_NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_STREAM: Json = {"text/event-stream": {"schema": {"type": "string"}}}


@router.get(
    "/task/{task_id}/events",
    summary="Follow a task",
    description="`state` (the task without params), `output` and `log` events have ids 1, 2, 3 … without gaps and can "
    "be replayed; `progress` and `preview` have none. The stream ends after the terminal `state`.",
    **operation(
        (200, "Events until the task has ended.", _STREAM),
        (204, "Nothing comes after that event any more.", None),
        errors=["not_found", "invalid_request"],
        parameters=[
            TASK_ID,
            parameter("Last-Event-ID", "header", "Go on after this event; an unknown one replays all."),
            parameter("after", "query", "The same, for clients that can't set headers.", {"type": "integer"}),
        ],
    ),
)
async def task_events(request: Request) -> Response:
    asked = Query(request, "after").one("after")
    gateway = gateway_of(request)
    task = await gateway.services.tasks.get(tenant_of(request), task_id_of(request))
    after = _number(request.headers.get("last-event-id", asked))
    if task.terminal and after == task.last_seq:
        return Response(status_code=204)
    seen = gateway.services.tasks.events(task, after=after)
    return EventStream(_frames(seen, task, view_of(request)), gateway.closing)


@router.get(
    "/events",
    summary="Follow all of your tasks",
    description="`state` events (the task without params) from now on, without ids and without replay.",
    **operation((200, "Events until you leave.", _STREAM), errors=["invalid_request"]),
)
async def all_events(request: Request) -> Response:
    Query(request)
    gateway = gateway_of(request)
    feed = gateway.services.tasks.feed(tenant_of(request))
    return EventStream(_feed_frames(feed, view_of(request)), gateway.closing)


def _number(text: str | None) -> int:
    """The event after which to go on; whatever is no number of an event replays all."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else 0


async def _frames(seen: AsyncIterator[Seen], task: Task, view: TaskView) -> AsyncIterator[bytes]:
    async for item in seen:
        if isinstance(item, Event):
            yield frame(item.type, _event_data(item, task, view), item.seq)
        elif not isinstance(item, Idle):
            yield frame(item.type, item.data)


async def _feed_frames(feed: AsyncIterator[tuple[Task, Event] | Idle], view: TaskView) -> AsyncIterator[bytes]:
    async for item in feed:
        if not isinstance(item, Idle):
            task, event = item
            if event.type == "state":
                yield frame("state", view.state_event(task, event.data))


def _event_data(event: Event, task: Task, view: TaskView) -> Json:
    if event.type == "state":
        return view.state_event(task, event.data)
    return view.file(event.data) if event.type == "output" else event.data
