"""What the gateway's routes reach: the core's services, the settings, who asks, and under which base URL to answer."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request

from genpulse.core.files import FileService
from genpulse.core.keys import KeyService
from genpulse.core.metrics import Metrics
from genpulse.core.operations import Operations
from genpulse.core.registry import Registry
from genpulse.core.service import TaskService
from genpulse.core.view import TaskView
from genpulse.errors import RequestError
from genpulse.settings import Settings

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


class FileUrlVerifier(Protocol):
    """Tells whether a file URL was signed by us and has not expired; `storage.UrlSigner` is one."""

    def verify(self, file_id: str, exp: str, sig: str, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class GatewayServices:
    """The core as the gateway sees it."""

    tasks: TaskService
    files: FileService
    registry: Registry
    view: TaskView
    signer: FileUrlVerifier
    operations: Operations
    keys: KeyService | None = None
    """Who may ask; None: there are no keys and can't be any."""
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway: its services, its settings, and whether it is closing."""

    services: GatewayServices
    settings: Settings
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: event streams and waits end at once instead of holding it up."""


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    return request.app.state.gateway


def tenant_of(request: Request) -> str:
    """Whose tasks and files this request is about; the guard has found it out."""
    return request.scope["state"]["tenant"]


def require_admin(request: Request) -> None:
    """Let only administrators on: whoever needs no key, or holds one that may manage the queue.

    Raises:
        RequestError: `forbidden`.
    """
    if not request.scope["state"]["admin"]:
        raise RequestError(
            "forbidden",
            "This key may not manage the queue. Use one that was made with `genpulse keys create --admin`.",
        )


def traceparent_of(request: Request) -> str | None:
    """The trace that this request belongs to, if its client names one."""
    return request.scope["state"]["traceparent"]


def metrics_of(request: Request) -> Metrics:
    """The metrics of this process."""
    return request.app.state.metrics


def view_of(request: Request) -> TaskView:
    """The view for the base URL under which this client reaches us."""
    gateway = gateway_of(request)
    view = gateway.services.view
    host = request.headers.get("host", "")
    if gateway.settings.public_url is not None or not _HOST.fullmatch(host):
        return view
    return view.at(f"{request.scope['scheme']}://{host}")
