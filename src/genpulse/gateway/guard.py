"""Who may ask, before anything else runs: pure ASGI, since it stands in every request's way.

Where no key is needed (a loopback address without keys) it keeps browsers and proxies from lending their reach to
strangers: the `Host` must be a loopback name (a rebound DNS name isn't), a browser's request from another site is
refused, and so is one that came through a proxy. Elsewhere it wants a key. Every answer gets an `X-Request-Id`; a bug
becomes a problem document here, so that it has one too.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from genpulse import logs
from genpulse.core.keys import Identity, KeyService
from genpulse.core.metrics import OTHER, Metrics
from genpulse.core.traceparent import trace_id_of, valid_traceparent
from genpulse.errors import RequestError
from genpulse.gateway.problems import internal_error, problem_response
from genpulse.settings import Settings

DEFAULT_TENANT = "default"
_OWNER = Identity(DEFAULT_TENANT, admin=True)
"""Whoever may ask where no key is needed: the machine's own user, or everybody with --insecure-no-auth."""
_ANYBODY = Identity(DEFAULT_TENANT)
"""Who follows a signed URL or probes a server that needs keys."""
_OPEN_PATHS = frozenset({"/status/live", "/status/ready"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_KEYS_CHECK_S = 5.0
"""How soon the first key that is made takes effect."""
_NEVER = float("-inf")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"
"""Refused before its route was looked for, or there is none."""
_log = logging.getLogger(__name__)

Headers: TypeAlias = dict[bytes, bytes]


class Guard:
    """ASGI middleware; puts `tenant`, `admin` (may the asker manage the queue?) and `traceparent` into the request's
    state.
    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyService | None, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = keys
        self._loopback = is_loopback(settings.host)
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._own_origin = settings.public_url
        self._insecure = settings.insecure_no_auth
        self._keys_known = (_NEVER, False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await WebSocketClose()(scope, receive, send)
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers: Headers = dict(scope["headers"])
        request_id = _request_id(headers)
        traceparent = valid_traceparent(headers.get(b"traceparent", b"").decode("latin-1"))
        scope.setdefault("state", {})["traceparent"] = traceparent
        with logs.bound(request_id=request_id.decode(), trace_id=trace_id_of(traceparent)):
            await self._serve(scope, receive, send, headers, request_id)
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: bytes) -> None:
        began = time.perf_counter()
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._measure(scope, message["status"], time.perf_counter() - began)
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            who = await self._admit(scope, headers)
            scope["state"].update(tenant=who.tenant, admin=who.admin)
            await self._app(scope, receive, answer)
        except RequestError as error:
            await problem_response(error)(scope, receive, answer)
        except ClientDisconnect:
            _log.debug("a client went away while it sent its request")
        except Exception:
            if started:
                raise  # the server closes the connection: the client sees that the answer is not whole
            _log.exception("request %s failed", request_id.decode())
            await internal_error()(scope, receive, answer)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else OTHER
        self._metrics.http_request_seconds.of(route, method, f"{status // 100}xx").observe(seconds)

    async def _admit(self, scope: Scope, headers: Headers) -> Identity:
        """Who asks.

        Raises:
            RequestError: `forbidden`, `unauthorized`, `unavailable`.
        """
        path: str = scope["path"]
        signed = scope["method"] in {"GET", "HEAD"} and path.startswith("/files/")
        if not await self._needs_key(path):
            if self._loopback:
                self._check_host(scope, headers)
                _check_forwarded(headers)
            if not signed:
                self._check_site(scope, headers)
            return _OWNER
        if signed or path in _OPEN_PATHS:
            return _ANYBODY
        return await self._authenticate(headers)

    async def _needs_key(self, path: str) -> bool:
        if self._insecure or self._keys is None:
            return False
        if not self._loopback:
            return True
        checked_at, known = self._keys_known
        if time.monotonic() - checked_at > _KEYS_CHECK_S and path not in _OPEN_PATHS:
            try:
                known = await self._keys.any()
            except RequestError:
                if checked_at == _NEVER:
                    raise
            self._keys_known = (time.monotonic(), known)
        return known

    async def _authenticate(self, headers: Headers) -> Identity:
        scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise RequestError("unauthorized", "Send your API key as `Authorization: Bearer gp_…`.")
        identity = await self._keys.authenticate(key.strip()) if self._keys is not None else None
        if identity is None:
            raise RequestError("unauthorized", "This API key is not valid.")
        return identity

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        name = _host_name(headers.get(b"host", b"").decode("latin-1"))
        repeated = len(headers) < len(scope["headers"])
        several = repeated and sum(1 for header, _ in scope["headers"] if header == b"host") > 1
        if several or not (is_loopback(name) or name in self._hosts):
            raise RequestError(
                "forbidden",
                "This server answers to loopback names only. For another name set GENPULSE_ALLOWED_HOSTS, or make an "
                "API key with `genpulse keys create`.",
            )

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get(b"origin")
        own = {f"{scope['scheme']}://{headers.get(b'host', b'').decode('latin-1')}".lower(), self._own_origin}
        foreign_origin = origin is not None and origin.decode("latin-1").lower() not in own
        if foreign_origin or headers.get(b"sec-fetch-site") in {b"cross-site", b"same-site"}:
            raise RequestError(
                "forbidden",
                "A page of another site may not use this server. Make an API key with `genpulse keys create` if you "
                "want to call it from elsewhere.",
            )


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Is this name or address that of the machine itself?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(1024)
def _host_name(host: str) -> str:
    """The name in a `Host` header without the port; empty when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        sound = parts.netloc == host and "@" not in host and parts.port != 0
    except ValueError:
        return ""
    return (parts.hostname or "") if sound else ""


def _check_forwarded(headers: Headers) -> None:
    if any(name == b"forwarded" or name.startswith(b"x-forwarded-") for name in headers):
        raise RequestError(
            "forbidden",
            "The request came through a proxy, and this server needs no key: anybody behind the proxy could use it. "
            "Make an API key with `genpulse keys create`.",
        )


def _request_id(headers: Headers) -> bytes:
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode()
