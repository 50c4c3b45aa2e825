"""Serves an app with uvicorn: what all servers of a process have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from genpulse.core.metrics import Metrics
from genpulse.gateway.app import create_metrics_app
from genpulse.gateway.protocol import GatewayProtocol
from genpulse.settings import Settings

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: one handler of ours stops everything together."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GatewayProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def serving_metrics(metrics: Metrics, settings: Settings, port: int) -> AsyncGenerator[int]:
    """Serve `/metrics` alone, to this machine only, for the length of a block; yields the port.

    Raises:
        OSError: the port can't be bound.
    """
    host, family = ("::1", socket.AF_INET6) if ":" in settings.host else ("127.0.0.1", socket.AF_INET)
    with socket.create_server((host, port), family=family) as listener:
        server = Server(create_metrics_app(metrics, settings.model_copy(update={"host": host})))
        serving = asyncio.create_task(server.serve([listener]), name="metrics")
        bound = listener.getsockname()[1]
        _log.info("metrics are at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, bound)
        try:
            yield bound
        finally:
            server.should_exit = True
            await asyncio.wait({serving})
