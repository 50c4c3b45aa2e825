"""From submit to start on an idle worker: one task after the other over HTTP, in `start-all`.

The handler says when it started; the clock is the one that the client reads before it sends the request.
"""

import statistics
import time

from bench.harness import Client, system
from bench.report import Figure

_TASKS = 300
_P50_MS, _P99_MS = 10.0, 50.0


def measure(database: str, *, large: bool) -> list[Figure]:
    del large
    with system(database) as made, made.running("start-all"), made.client() as client:
        for _ in range(10):
            _submit_to_start_ms(client)  # warms up
        found = [_submit_to_start_ms(client) for _ in range(_TASKS)]
    percentiles = statistics.quantiles(found, n=100)
    p50, p99 = percentiles[49], percentiles[98]
    return [
        Figure("submit → start on an idle worker, p50", f"{p50:.1f} ms", f"≤ {_P50_MS:g} ms", p50 <= _P50_MS),
        Figure("submit → start on an idle worker, p99", f"{p99:.1f} ms", f"≤ {_P99_MS:g} ms", p99 <= _P99_MS),
    ]


def _submit_to_start_ms(client: Client) -> float:
    sent_ns = time.time_ns()
    task = client.end(client.submit("bench-no-op"))
    return (task["result"]["data"]["started_ns"] - sent_ns) / 1e6
