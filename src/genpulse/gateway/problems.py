"""Every error as a problem document (RFC 9457), with an `error` member for clients that look there.

Promises that 404, 405, validation and internal errors have the same shape, that their code is a registered one, and
that no input, secret or traceback is ever shown. A bug answers 500 with the code `unavailable`; the log has its
traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from genpulse.core.ports import QueueUnavailableError
from genpulse.errors import CODES, MAX_FIELD_ERRORS, FieldError, RequestError
from genpulse.gateway.responses import render

MEDIA_TYPE = "application/problem+json"
_RETRY_STATUSES = frozenset({429, 503, 507})
_RETRY_AFTER_S = 5
_CODE_OF_STATUS = {
    400: "invalid_request",
    **{spec.status: code for code, spec in reversed(CODES.items()) if spec.status},
}
_CODE_OF_STATUS.update({403: "forbidden", 409: "not_finished", 422: "invalid_request", 429: "rate_limited"})


def problem_response(
    error: RequestError, *, title: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The HTTP answer of an error."""
    sent = dict(headers or {})
    if error.status in _RETRY_STATUSES:
        sent["Retry-After"] = str(error.retry_after_s or _RETRY_AFTER_S)
    if error.status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="GenPulse"'
    sent["Cache-Control"] = "no-store"
    return Response(render(error.document(title=title)), error.status, sent, MEDIA_TYPE)


def internal_error() -> Response:
    """The answer to a bug of ours, of which nothing is told."""
    error = RequestError("unavailable", "Something went wrong on our side; the server's log says what.", status=500)
    return problem_response(error, title="Internal error")


def install(app: FastAPI) -> None:
    """Let every error of the app become a problem document."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(QueueUnavailableError, _on_queue_unavailable)


async def _on_request_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestError)  # noqa: S101 - registered for it
    return problem_response(error)


async def _on_queue_unavailable(request: Request, error: Exception) -> Response:
    del request, error
    return problem_response(RequestError("unavailable", "The queue can't be reached."))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Routes of plugins may let FastAPI validate; ours don't."""
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    fields = [
        FieldError(".".join(str(part)[:64] for part in entry["loc"]), str(entry["msg"]), str(entry["type"]))
        for entry in error.errors()[:MAX_FIELD_ERRORS]
    ]
    return problem_response(RequestError("invalid_request", "The request is not valid.", fields=fields))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return problem_response(RequestError("not_found", "There is nothing at this address."), headers=headers)
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
        message = f"This address answers to {headers['Allow']} only."
        return problem_response(RequestError("method_not_allowed", message), headers=headers)
    fallback = "unavailable" if error.status_code >= 500 else "invalid_request"
    code = _CODE_OF_STATUS.get(error.status_code, fallback)
    return problem_response(RequestError(code, CODES[code].help, status=error.status_code), headers=headers)


def _allowed(request: Request) -> set[str]:
    """All methods that routes at this path answer to; Starlette's own `Allow` knows one route only."""
    allowed: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        route: Any = context.original_route
        if route.matches(request.scope)[0] != Match.NONE:
            allowed |= context.methods or set()
    return allowed
