"""The FastAPI application: puts routes, guard and problem documents together. No business of its own."""

from __future__ import annotations

import platform

from fastapi import FastAPI

from genpulse import __version__
from genpulse.core.metrics import Metrics
from genpulse.gateway import openapi, problems
from genpulse.gateway.guard import Guard
from genpulse.gateway.routes import docs, events, files, metrics, models, operations, status, tasks
from genpulse.gateway.routing import include
from genpulse.gateway.services import Gateway, GatewayServices
from genpulse.gateway.upload import FOLDER, sweep
from genpulse.settings import Settings

__all__ = ["GatewayServices", "close_streams", "create_app", "create_metrics_app"]

# The first that matches is taken: the busiest come first.
_ROUTERS = (
    *(tasks.router, events.router, files.router, models.router, status.router),
    *(operations.router, metrics.router, docs.router),
)


def create_app(services: GatewayServices, settings: Settings) -> FastAPI:
    """The gateway on these services."""
    app = _bare_app(services.metrics)
    app.state.gateway = Gateway(services, settings)
    sweep(settings.data_dir / FOLDER)
    app.add_middleware(Guard, settings=settings, keys=services.keys, metrics=services.metrics)
    include(app, *_ROUTERS)
    app.openapi = lambda: openapi.document(app)
    return app


def create_metrics_app(recorded: Metrics, settings: Settings) -> FastAPI:
    """`/metrics` alone, for a process without a gateway. Only for a loopback address: there are no keys."""
    app = _bare_app(recorded)
    app.add_middleware(Guard, settings=settings, keys=None, metrics=recorded)
    include(app, metrics.router)
    return app


def _bare_app(recorded: Metrics) -> FastAPI:
    app = FastAPI(
        title="GenPulse",
        version=__version__,
        openapi_url=None,  # its own routes, which the guard protects like all others
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # /metrics and the logs tell it all, and asking whether OpenTelemetry is set up takes 4 % of a submit.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    recorded.build.info({"version": __version__, "python": platform.python_version()})
    app.state.metrics = recorded
    problems.install(app)
    return app


def close_streams(app: FastAPI) -> None:
    """End all event streams and waits; to be called when the server begins to stop, since it waits for them."""
    app.state.gateway.closing.set()
