"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from genpulse.cli.app import run
from genpulse.cli.child_server import ChildServer
from tests.cli.fake_gateway import FakeGateway

PICTURE = Path(__file__).with_name("picture.png").read_bytes()
"""What the task type `picture` saves, here and in the gateway that lies."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `.env`, an environment without settings: only the test says what counts."""
    for name in list(os.environ):
        if name.startswith("GENPULSE_") or name in {"REDIS_URL", "DATABASE_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def module_gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def gateway(module_gateway: FakeGateway) -> FakeGateway:
    """The lying gateway, honest again before each test."""
    module_gateway.reset()
    return module_gateway


@pytest.fixture(scope="session")
def real_gateway() -> Iterator[str]:
    """The URL of a whole GenPulse, embedded queue and database included, that serves `plugin.py`."""
    plugin = str(Path(__file__).with_name("plugin.py"))
    with ChildServer(
        "--pools", "handlers=20", environment={"GENPULSE_PLUGINS": plugin, "GENPULSE_DRAIN_S": "1"}
    ) as server:
        yield server.start()
        assert server.stop() == []


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def stranger() -> Iterator[str]:
    """The URL of a web server that is no gateway."""
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Done:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self.url = url

    def __call__(self, *arguments: str) -> Done:
        code = run(["--url", self.url, *arguments])
        captured = self._capsys.readouterr()
        return Done(code, captured.out, captured.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], real_gateway: str) -> Cli:
    """Runs command lines in this process against the real gateway."""
    return Cli(capsys, real_gateway)


@pytest.fixture
def lying(capsys: pytest.CaptureFixture[str], gateway: FakeGateway) -> Cli:
    """Runs command lines in this process against the gateway that lies."""
    return Cli(capsys, gateway.url)
