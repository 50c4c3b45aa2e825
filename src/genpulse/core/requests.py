"""What clients may submit, and how a validation failure becomes a problem that names the field and echoes nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from genpulse.core.models import Priority
from genpulse.core.registry import TASK_TYPE
from genpulse.errors import MAX_FIELD_ERRORS, FieldError, RequestError

_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")
_URL_TEXT = re.compile(r"[!-\[\]-~]+")  # visible ASCII without the backslash
# Quotes and backslashes can't be addressed by SQLite's JSON paths, so a filter could not find them.
MetadataKey = Annotated[str, StringConstraints(max_length=64, pattern=r'^[^"\\\x00-\x1f]+$')]


def _callback_url(value: str) -> str:
    """Refuse what two readers of URLs could take for two hosts, and passwords: they would be shown with the task."""
    try:
        parts = urlsplit(value) if _URL_TEXT.fullmatch(value) else None
        sound = parts is not None and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # its message would show the value
        sound = False
    if not sound:
        raise ValueError("must be an http or https URL with a host, without user or password")
    return value


def _metadata_value(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float) or len(str(value)) > 512:
        raise ValueError("must be text of at most 512 characters, a number or a boolean")
    return value


# One error for one value: a union would name each of its members as a field.
MetadataValue = Annotated[
    Any,
    AfterValidator(_metadata_value),
    WithJsonSchema({"type": ["string", "number", "boolean"], "maxLength": 512}),
]


class TaskRequest(BaseModel):
    """The body of `POST /task`."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "task_type": "text-to-image",
                    "params": {"prompt": "a lighthouse at dawn, oil painting", "width": 512, "height": 512, "seed": 7},
                },
                {"task_type": "text-to-speech", "params": {"text": "Hello from GenPulse."}, "priority": "high"},
            ]
        },
    )

    task_type: str = Field(pattern=TASK_TYPE.pattern, max_length=64, description="See `GET /models`.")
    params: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="The task type's own parameters; their schema is in `GET /models`."
    )
    model: str | None = Field(
        None, max_length=200, description="`provider/name`; absent: the task type's default model."
    )
    priority: Priority = Field(
        Priority.NORMAL, description="`low` tasks run when nothing else waits, but never starve."
    )
    callback_url: Annotated[str, AfterValidator(_callback_url)] | None = Field(
        None, max_length=2048, pattern=r"^https?://", description="Told of the end."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict[str, Any], max_length=50, description="Yours: kept, echoed, searchable."
    )
    deadline_s: float | None = Field(
        None, gt=0, le=30 * 86_400, description="Seconds after which the task is given up, counted from its due time."
    )
    run_at: AwareDatetime | None = Field(None, description="RFC 3339; not before this moment, at most a year ahead.")
    cache: bool = Field(False, description="The same model, params and seed may be answered from an earlier result.")
    sandbox: dict[str, Any] | None = Field(None, description="Options of the sandbox provider, for tests.")

    @field_validator("run_at", mode="before")
    @classmethod
    def _rfc3339(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            if _RFC3339.match(value):
                return datetime.fromisoformat(value)
        except ValueError:  # no such day or hour
            pass
        raise ValueError("must be an RFC 3339 time with an offset, like 2027-01-31T12:00:00Z")

    @field_validator("run_at")
    @classmethod
    def _within_a_year(cls, value: datetime | None) -> datetime | None:
        if value is not None and (value - datetime.now(UTC)).days >= 366:
            raise ValueError("must be at most a year ahead")
        return value


class PriorityRequest(BaseModel):
    """The body of `POST /task/{task_id}/priority`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"priority": "high"}]})

    priority: Priority


def body_hash(request: TaskRequest) -> str:
    """Tells whether two bodies mean the same: order of keys, white space and spelled-out defaults don't matter."""
    canonical = orjson.dumps(request.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def validate(model: type[BaseModel], value: object, *, prefix: str = "", code: str = "invalid_request") -> Any:
    """The validated model.

    Raises:
        RequestError: `code`, with at most `MAX_FIELD_ERRORS` field errors, none of which contains the input.
    """
    try:
        return model.model_validate_json(orjson.dumps(value), strict=True)  # JSON's types, nothing coerced
    except ValidationError as error:
        raise invalid(field_errors(error, prefix=prefix), code=code) from None


def field_errors(error: ValidationError, *, prefix: str = "") -> list[FieldError]:
    """Field errors without the input that caused them."""
    found: list[FieldError] = []
    for entry in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELD_ERRORS]:
        path = ".".join(filter(None, [prefix, *(_safe(part) for part in entry["loc"] if part != "[key]")]))
        found.append(FieldError(path or "body", entry["msg"].removeprefix("Value error, "), entry["type"]))
    return found


def invalid(errors: Iterable[FieldError], *, code: str = "invalid_request") -> RequestError:
    """One request error for many field errors."""
    fields = list(errors)[:MAX_FIELD_ERRORS]
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return RequestError(code, f"{first.field}: {first.message}{more}", fields=fields)


def _safe(part: object) -> str:
    """A path element; an over-long or unprintable one (an unknown key is the client's own text) is not repeated."""
    text = str(part)
    return text if len(text) <= 64 and text.isprintable() else "(key)"
