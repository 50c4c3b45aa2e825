"""The error tree and the one closed table of error codes.

    GenPulseError
    ├── RequestError      answered to an HTTP client as a problem document
    │   └── InvalidFieldError … that names the fields
    └── TaskError         ends a task, stored in its `error`

Each error carries a code from `CODES`; a code that is not in the table can't be raised. The table is documented in
`docs/errors.md`, and a test holds both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MAX_FIELD_ERRORS = 20
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Code:
    """One registered error code: where it may appear and what a client should do about it."""

    scope: Literal["request", "task"]
    title: str
    help: str
    status: int = 0
    """HTTP status of a request error; 0 for a task error."""
    retryable: bool = False
    """For a task error: may the same task be tried again automatically?"""


def _request(status: int, title: str, help: str) -> Code:
    return Code("request", title, help, status=status)


def _task(title: str, help: str, *, retryable: bool = False) -> Code:
    return Code("task", title, help, retryable=retryable)


CODES: dict[str, Code] = {
    "invalid_request": _request(422, "Invalid request", "Mend the field that `errors` names."),
    "invalid_params": _request(422, "Invalid params", "Mend the parameter that `errors` names."),
    "unknown_task_type": _request(422, "Unknown task type", "`GET /models` lists the task types that are served."),
    "unknown_model": _request(422, "Unknown model", "`GET /models` lists the models that are served."),
    "not_found": _request(404, "Not found", "Check the id; it may be deleted or belong to another key."),
    "not_retryable": _request(409, "Not retryable", "Only a failed or canceled task can be retried."),
    "not_finished": _request(409, "Not finished", "Cancel the task or wait for its end first."),
    "method_not_allowed": _request(405, "Method not allowed", "The `Allow` header lists the methods."),
    "payload_too_large": _request(413, "Payload too large", "Upload large media with `POST /files` and send its id."),
    "unsupported_media": _request(415, "Unsupported media", "Send one of the formats that the message names."),
    "idempotency_key_reused": _request(422, "Idempotency key reused", "Use a new key for a different body."),
    "unauthorized": _request(401, "Unauthorized", "Send `Authorization: Bearer gp_…`."),
    "forbidden": _request(403, "Forbidden", "The request is not allowed from there or with this key."),
    "rate_limited": _request(429, "Rate limited", "Wait for `Retry-After` seconds."),
    "quota_exceeded": _request(429, "Quota exceeded", "Delete files or tasks, or raise the quota."),
    "budget_exceeded": _request(402, "Budget exceeded", "Raise the budget or wait for the next period."),
    "queue_full": _request(429, "Queue full", "Wait until some of your queued tasks have run."),
    "no_capable_backend": _request(422, "No capable backend", "Install or start what the message names."),
    "url_expired": _request(403, "URL expired", "Get the task again: its file URLs are signed anew."),
    "storage_full": _request(507, "Storage full", "Free disk space on the server; nothing accepted is lost."),
    "unavailable": _request(503, "Unavailable", "Try again after `Retry-After` seconds."),
    "canceled": _task("Canceled", "The task was canceled on request."),
    "deadline_exceeded": _task("Deadline exceeded", "Give a longer `deadline_s`."),
    "timeout": _task("Timeout", "The model took longer than its time limit; ask for less or raise the limit."),
    "content_policy": _task("Content policy", "The provider refused the content; change the prompt."),
    "provider_rejected": _task("Provider rejected", "The provider refused the request; see the message."),
    "provider_failed": _task("Provider failed", "The provider's job failed.", retryable=True),
    "provider_auth": _task("Provider auth", "Check the provider's key in the settings."),
    "provider_rate_limited": _task("Provider rate limited", "The provider is saturated.", retryable=True),
    "submit_unknown": _task("Submit unknown", "It is unknown whether the provider started the job; it may be billed."),
    "protocol_drift": _task("Protocol drift", "The provider answered in a way this version doesn't know."),
    "worker_crash_loop": _task("Worker crash loop", "The task crashed its process repeatedly; report it."),
    "engine_failed": _task("Engine failed", "The local engine failed; the message says how.", retryable=True),
    "input_unreadable": _task("Input unreadable", "An input file can't be read or decoded."),
    "ingest_failed": _task("Ingest failed", "The outputs could not be copied into storage.", retryable=True),
    "internal": _task("Internal error", "A bug on our side; the log has its traceback."),
}


class GenPulseError(Exception):
    """Base of all errors with a registered code.

    Raises:
        KeyError: the code is not in `CODES`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.spec = CODES[code]
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: dotted path, a sentence, a machine-readable word. Never the value itself."""

    field: str
    message: str
    code: str


class RequestError(GenPulseError):
    """A request that can't be served. `retry_after_s` becomes the `Retry-After` header."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        fields: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s
        self.status = status or self.spec.status

    def document(self, *, title: str | None = None) -> dict[str, object]:
        """The problem document (RFC 9457), with an `error` member for clients that look there."""
        body: dict[str, object] = {
            "type": f"urn:genpulse:error:{self.code}",
            "title": title or self.spec.title,
            "status": self.status,
            "detail": self.message,
        }
        fields = self.fields[:MAX_FIELD_ERRORS]
        if fields:
            body["errors"] = [{"field": f.field, "message": f.message, "code": f.code} for f in fields]
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        body["error"] = {
            "message": self.message,
            "type": _ERROR_TYPES.get(self.status, fallback),
            "param": fields[0].field if fields else None,
            "code": self.code,
        }
        return body


class InvalidFieldError(RequestError):
    """A request with one wrong field; the shorthand for the commonest case."""

    def __init__(self, field: str, message: str, *, code: str = "invalid_request", status: int | None = None) -> None:
        super().__init__(code, f"{field}: {message}", fields=[FieldError(field, message, code)], status=status)


class TaskError(GenPulseError):
    """Ends a task as failed. `retryable` defaults to what the code says; `retry_after_s` delays the next attempt."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool | None = None,
        money_at_risk: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.retryable = self.spec.retryable if retryable is None else retryable
        self.money_at_risk = money_at_risk
        self.retry_after_s = retry_after_s

    def as_dict(self) -> dict[str, object]:
        """The `error` member of a task."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "money_at_risk": self.money_at_risk,
        }
