"""`start-all`, `start-api`, `start-worker`: options become settings, the wiring does the rest and blocks."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from genpulse.cli.config import load_settings
from genpulse.cli.session import command

_DATA_DIR = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Everything GenPulse keeps. Default: ./data."
)
_POOLS = click.option("--pools", metavar="NAME=SLOTS,…", help="What the worker runs at once: local=1,cloud=500.")


def _bind_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--insecure-no-auth", is_flag=True, help="Serve a non-loopback address without keys."),
        click.option("--port", type=click.IntRange(0, 65535), help="Port to bind; 0 takes a free one. Default: 8000."),
        click.option("--host", help="Address to bind. Default: 127.0.0.1; any other needs API keys."),
    ):
        function = option(function)
    return function


def _run(*, gateway: bool, worker: bool, insecure_no_auth: bool = False, **overrides: Any) -> int:
    settings = load_settings(insecure_no_auth=insecure_no_auth or None, **overrides)
    # Only these commands need the servers' modules, and they take a second to import.
    wiring = importlib.import_module("genpulse.wiring")
    return int(wiring.run(settings, gateway=gateway, worker=worker) or 0)


@command(
    "start-all",
    examples="""
    genpulse start-all
    genpulse start-all --port 0 --data-dir /tmp/genpulse
    genpulse start-all --pools local=2,handlers=50
    """,
)
@_bind_options
@_DATA_DIR
@_POOLS
def start_all(**options: Any) -> int:
    """Start the gateway and a worker in one process.

    Needs nothing installed: without REDIS_URL and DATABASE_URL it brings its own queue and database.
    """
    return _run(gateway=True, worker=True, **options)


@command(
    "start-api",
    examples="""
    genpulse start-api
    REDIS_URL=redis://queue:6379/0 DATABASE_URL=postgresql://db/genpulse genpulse start-api --host 0.0.0.0
    """,
)
@_bind_options
@_DATA_DIR
def start_api(**options: Any) -> int:
    """Start the gateway only.

    Tasks wait until a worker runs somewhere: `genpulse start-worker`.
    """
    return _run(gateway=True, worker=False, **options)


@command(
    "start-worker",
    examples="""
    genpulse start-worker
    genpulse start-worker --pools local=1
    REDIS_URL=redis://queue:6379/0 DATABASE_URL=postgresql://db/genpulse genpulse start-worker --pools cloud=500
    """,
)
@_DATA_DIR
@_POOLS
def start_worker(**options: Any) -> int:
    """Start a worker only.

    Without REDIS_URL it attaches to the embedded services of a running `start-all` or `start-api`.
    """
    return _run(gateway=False, worker=True, **options)
