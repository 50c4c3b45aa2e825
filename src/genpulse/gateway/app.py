"""The FastAPI application: puts routes, guard and problem documents together. No business of its own."""

from __future__ import annotations

from fastapi import FastAPI

from genpulse import __version__
from genpulse.gateway import openapi, problems
from genpulse.gateway.guard import Guard
from genpulse.gateway.routes import docs, events, files, models, operations, status, tasks
from genpulse.gateway.routing import include
from genpulse.gateway.services import Gateway, GatewayServices
from genpulse.gateway.upload import FOLDER, sweep
from genpulse.settings import Settings

__all__ = ["GatewayServices", "close_streams", "create_app"]

# The first that matches is taken: the busiest come first.
_ROUTERS = (
    *(tasks.router, events.router, files.router, models.router, status.router),
    *(operations.router, docs.router),
)


def create_app(services: GatewayServices, settings: Settings) -> FastAPI:
    """The gateway on these services."""
    app = FastAPI(
        title="GenPulse",
        version=__version__,
        openapi_url=None,  # its own routes, which the guard protects like all others
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = Gateway(services, settings)
    sweep(settings.data_dir / FOLDER)
    problems.install(app)
    app.add_middleware(Guard, settings=settings, keys=services.keys)
    include(app, *_ROUTERS)
    app.openapi = lambda: openapi.document(app)
    return app


def close_streams(app: FastAPI) -> None:
    """End all event streams and waits; to be called when the server begins to stop, since it waits for them."""
    app.state.gateway.closing.set()
