"""The HTTP client of a gateway: one method per call of the public contract, answers as plain JSON.

Every failure becomes a `CommandError`: a problem document with its fields, or `UnreachableError` when no answer came.
Nothing is repeated by itself except a submit that carries an idempotency key, which the gateway de-duplicates.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import httpx2

from genpulse import __version__
from genpulse.cli.answers import Json, as_list, as_object
from genpulse.cli.failure import CommandError, Detail, Exit
from genpulse.errors import CODES

_SUBMIT_TRIES = 3
_CHUNK = 1 << 18
_ADVICE = {
    "invalid_request": "Correct what is named above; `genpulse run --help` shows the options.",
    "invalid_params": "Correct what is named above; `genpulse models MODEL` shows a model's params.",
    "unknown_task_type": "`genpulse models` lists what is served.",
    "unknown_model": "`genpulse models` lists what is served.",
    "unauthorized": "Give your API key with --key or GENPULSE_API_KEY.",
    "forbidden": "Do what is said above, or give another key with --key or GENPULSE_API_KEY.",
}
"""Where the command line knows a better next step than the table of codes, which speaks of HTTP."""
_SILENCE_S = 45.0
"""An event stream without a byte for three pings is dead."""


class UnreachableError(CommandError):
    """No answer came from the gateway."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(
            f"No gateway answers at {base_url} ({reason}).",
            "Start one with `genpulse start-all`, or name another with --url or GENPULSE_URL.",
            exit_code=Exit.UNREACHABLE,
            code="unreachable",
        )


class Api:
    """A gateway as seen by one user. Close it after use."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._options: dict[str, Any] = {
            "headers": {"User-Agent": f"genpulse-cli/{__version__}"},
            "timeout": httpx2.Timeout(30, connect=5),
            # A proxy of the environment is for the way out; a gateway on this machine is not behind it.
            "trust_env": not _is_loopback(base_url),
        }
        self._stack = ExitStack()
        try:
            self._http = self._stack.enter_context(httpx2.Client(base_url=self.base_url, **self._options))
            if key:
                self._http.headers["Authorization"] = f"Bearer {key}"
        except (UnicodeEncodeError, httpx2.InvalidURL) as error:
            message = "The API key or URL contains characters that can't be sent."
            raise CommandError(message, "Check --key and --url.", exit_code=Exit.USAGE, code="usage") from error

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def _plain(self) -> httpx2.Client:
        """A client without the key, for signed URLs."""
        return self._stack.enter_context(httpx2.Client(**self._options))

    # Tasks ------------------------------------------------------------------------------------------------------

    def submit(self, body: Json, idempotency_key: str) -> Json:
        """Submit a task. A lost answer is asked for again: the key makes that safe."""
        for attempt in range(1, _SUBMIT_TRIES + 1):
            try:
                return self._json("POST", "/task", json=body, headers={"Idempotency-Key": idempotency_key})
            except UnreachableError as error:
                never_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
                if never_sent or attempt == _SUBMIT_TRIES:
                    raise
        raise AssertionError("the loop returns or raises")

    def task(self, task_id: str, *, wait_s: int = 0) -> Json:
        return self._json("GET", _task(task_id), params={"wait": wait_s} if wait_s else None, timeout=30 + wait_s)

    def tasks(self, **filters: Any) -> Json:
        return self._json("GET", "/task", params={name: value for name, value in filters.items() if value is not None})

    def cancel(self, task_id: str) -> Json:
        return self._json("POST", f"{_task(task_id)}/cancel")

    def retry(self, task_id: str) -> Json:
        return self._json("POST", f"{_task(task_id)}/retry")

    def move_to_front(self, task_id: str) -> Json:
        return self._json("POST", f"{_task(task_id)}/front")

    def prioritise(self, task_id: str, priority: str) -> Json:
        return self._json("POST", f"{_task(task_id)}/priority", json={"priority": priority})

    @contextmanager
    def events(self, task_id: str, *, after: str | None = None) -> Generator[httpx2.Response]:
        """The open event stream of a task; status 200 or 204 (nothing comes any more)."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        timeout = httpx2.Timeout(30, connect=5, read=_SILENCE_S)
        path = f"{_task(task_id)}/events"
        with self._reachable(), self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.status_code not in {200, 204}:
                response.read()
                raise problem(response)
            yield response

    # Pools ------------------------------------------------------------------------------------------------------

    def pools(self) -> list[Json]:
        return [as_object(pool) for pool in as_list(self._json("GET", "/pools").get("pools"))]

    def pause_pool(self, name: str) -> Json:
        return self._json("POST", f"/pools/{quote(name, safe='')}/pause")

    def resume_pool(self, name: str) -> Json:
        return self._json("POST", f"/pools/{quote(name, safe='')}/resume")

    # Models, files, health --------------------------------------------------------------------------------------

    def models(self) -> list[Json]:
        return [as_object(model) for model in as_list(self._json("GET", "/models").get("models"))]

    def model(self, model_id: str) -> Json:
        return self._json("GET", f"/models/{quote(model_id, safe='/')}")

    def upload(self, path: Path) -> Json:
        """Store a file; the shape of an output."""
        with path.open("rb") as source:
            files = {"file": (path.name, source, "application/octet-stream")}
            return self._json("POST", "/files", files=files, timeout=httpx2.Timeout(300, connect=5))

    def status(self) -> Json:
        """Health; an `unavailable` gateway answers too."""
        with self._reachable():
            response = self._http.get("/status")
        if response.status_code not in {200, 503}:
            raise problem(response)
        return self._parse(response)

    def download(self, url: str, out: BinaryIO, *, most: int) -> str:
        """Stream a signed URL into `out`; its SHA-256. No key is sent: the signature is enough, whoever serves it."""
        if urlsplit(url).scheme not in {"http", "https"}:
            raise CommandError("The gateway named a file URL that is not http(s).", "Check --url.")
        digest, size = hashlib.sha256(), 0
        with self._reachable(), self._plain.stream("GET", url) as response:
            if response.status_code != 200:
                response.read()
                raise problem(response)
            for chunk in response.iter_bytes(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise CommandError("A file is longer than announced.", "Check --url: is that your gateway?")
                digest.update(chunk)
                out.write(chunk)
        return digest.hexdigest()

    # Plumbing ---------------------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, **request: Any) -> Json:
        with self._reachable():
            response = self._http.request(method, path, **request)
        if response.status_code >= 300:
            raise problem(response)
        return self._parse(response)

    def _parse(self, response: httpx2.Response) -> Json:
        value = _decoded(response)
        if value is None:
            message = f"What answers at {self.base_url} is no GenPulse gateway."
            raise CommandError(message, "Check --url or GENPULSE_URL.", code="protocol")
        return value

    @contextmanager
    def _reachable(self) -> Generator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            raise UnreachableError(self.base_url, _reason(error)) from error
        except (httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise UnreachableError(self.base_url, _reason(error)) from error


def problem(response: httpx2.Response) -> CommandError:
    """A problem document as an error, with the help that its code has here."""
    body = _decoded(response) or {}
    inner = as_object(body.get("error"))
    code = str(inner.get("code") or f"http_{response.status_code}")
    title = str(body.get("title") or f"HTTP {response.status_code}")
    entries = [as_object(entry) for entry in as_list(body.get("errors"))]
    details = [Detail(str(entry.get("field", "")), str(entry.get("message", ""))) for entry in entries]
    detail = str(body.get("detail") or "")
    message = title if details or not detail else f"{title}: {detail}"
    help_text = CODES[code].help if code in CODES else "Check --url, or look into the gateway's log."
    advice = _ADVICE.get(code, help_text)
    if response.status_code == 409 and code == "invalid_request":  # nothing to correct: the task has moved on
        advice = "`genpulse show ID` tells where a task is."
    if "Retry-After" in response.headers:
        advice = f"Try again in {response.headers['Retry-After']} s."
    return CommandError(message, advice, code=code, details=details, status=response.status_code)


def _decoded(response: httpx2.Response) -> Json | None:
    try:
        value: Any = response.json()
    except (ValueError, UnicodeDecodeError):
        return None
    return as_object(value) if isinstance(value, dict) else None


def _task(task_id: str) -> str:
    return f"/task/{quote(task_id, safe='')}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
