"""The load generator: `wrk`, written in C, so that the client is not what is measured.

Baseline and product get the same connections and the same bytes, but for the Idempotency-Key.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench.harness import Json

CONNECTIONS = 64
BODY: Json = {
    "task_type": "bench-no-op",
    "params": {"prompt": "a lighthouse at dawn, oil painting", "width": 512, "height": 512},
    "metadata": {"project": "bench"},
}
_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the load generator found. Every answer was a 2xx."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.duration_s


def post(url: str, seconds: float, *, body: Json = BODY, rate: float | None = None, limit: int = 0) -> Load:
    """POST `body` from all connections, as fast as they are answered, or about `rate` times a second.

    With a `limit` it stops after that many answers, but returns after `seconds` all the same; requests that are under
    way then are accepted too.
    """
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("bench needs the load generator wrk: apt-get install wrk, or brew install wrk")
    pause_ms = 0 if rate is None else CONNECTIONS / rate * 1000
    answer = subprocess.run(
        [
            *(program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(_SCRIPT), url),
            *("--", uuid4().hex, json.dumps(body), f"{pause_ms:.1f}", str(limit)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    [line] = [line for line in answer.stdout.splitlines() if line.startswith("RESULT ")]
    told = json.loads(line.removeprefix("RESULT "))
    if told.pop("failed"):
        raise RuntimeError(f"some requests failed:\n{answer.stdout}")
    if told["requests"] < limit:
        raise RuntimeError(f"only {told['requests']} of {limit} requests were answered in {seconds:g} s")
    return Load(**told)
