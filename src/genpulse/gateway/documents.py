"""The public shapes of answers as Pydantic models, for the OpenAPI document only; `core.view` renders the answers.

A test validates real answers against the schemas made from these.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from genpulse.core.models import Priority
from genpulse.errors import CODES

Status = Literal["pending", "processing", "completed", "failed", "canceled"]
STATUSES: tuple[str, ...] = Status.__args__


def _codes(scope: str) -> dict[str, JsonValue]:
    return {"enum": [code for code, spec in CODES.items() if spec.scope == scope]}


class Document(BaseModel):
    """Base of all: nothing but what is listed."""

    model_config = ConfigDict(extra="forbid")


class Output(Document):
    """A stored file."""

    file_id: str
    url: str = Field(description="Signed; needs no key and works for an hour. Get the task again for a fresh one.")
    name: str
    kind: str = Field(description="image, video, audio, text, model or file", examples=["image"])
    media_type: str = Field(examples=["image/png"])
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_s: float | None


class Result(Document):
    """What a completed task produced."""

    outputs: list[Output]
    text: str | None
    data: dict[str, Any] | None
    seed: int


class TaskProblem(Document):
    """Why a task failed or was canceled."""

    code: str = Field(json_schema_extra=_codes("task"))
    message: str
    retryable: bool
    money_at_risk: bool = Field(description="The provider may have started, and billed, a job whose end is unknown.")


class TaskUrls(Document):
    """Where to go from here."""

    self: str
    events: str
    cancel: str


class TaskDocument(Document):
    """A task."""

    task_id: str
    task_type: str
    model: str
    status: Status
    priority: Priority
    progress: float | None = Field(description="0 to 100")
    stage: str | None
    queue_position: int | None = Field(
        description="1 = next of your own waiting tasks. Told by `GET /task/{task_id}` only."
    )
    attempt: int = Field(description="Counts automatic attempts.")
    retry_of: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    params: dict[str, Any] = Field({}, description="As they were sent. Left out of events, and of lists over 4 KiB.")
    metadata: dict[str, Any]
    warnings: list[str]
    result: Result | None = Field(description="null until the task is completed")
    error: TaskProblem | None = Field(description="null unless the task failed or was canceled")
    cost: dict[str, Any] | None
    urls: TaskUrls
    message: str = Field("", description="In the answer to a submit only.", examples=["Task received"])


class TaskPage(Document):
    """Tasks, newest first."""

    tasks: list[TaskDocument]
    next_cursor: str | None = Field(description="null on the last page")


class ModelDocument(Document):
    """Something that can run tasks."""

    id: str = Field(examples=["local/sketch"])
    task_types: list[str]
    params_schema: dict[str, Any] = Field(description="JSON Schema 2020-12 of `params`.")
    provider: str
    state: Literal["ready", "unavailable"]
    description: str


class ModelList(Document):
    """All models."""

    models: list[ModelDocument]


class QueueStatus(Document):
    """How much there is to do; null when the database can't tell."""

    pending: int | None
    processing: int | None


class StatusDocument(Document):
    """Health."""

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    components: dict[str, dict[str, Any]]
    queue: QueueStatus


class PoolDocument(Document):
    """A pool: what a worker can run, and the queue of it."""

    name: str = Field(examples=["local"])
    paused: bool = Field(description="Its workers start nothing; what runs goes on, and what is submitted waits.")
    queued: int = Field(description="Waiting tasks of all tenants, delayed ones included. Up to 2 s old.")
    running: int = Field(description="Tasks that are being worked on. Up to 2 s old.")
    slots: int = Field(description="How many its live workers run at once.")
    workers: int = Field(description="Live workers that serve it.")


class PoolList(Document):
    """All pools."""

    pools: list[PoolDocument]


class FieldProblem(Document):
    """What is wrong with one field."""

    field: str = Field(examples=["params.width"])
    message: str
    code: str


class InnerProblem(Document):
    """The same error for clients that look for `error`."""

    message: str
    type: Literal[
        "invalid_request_error", "rate_limit_error", "authentication_error", "permission_error", "server_error"
    ]
    param: str | None
    code: str = Field(json_schema_extra=_codes("request"))


class Problem(Document):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:genpulse:error:invalid_params"])
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = Field([], max_length=20, description="Present when fields are at fault.")
    error: InnerProblem
