"""Durable accepts a second: POST /task with an Idempotency-Key and a queue limit, on a gateway process alone.

The baseline is a bare FastAPI app in one process too, loaded in turns with the product by the same client. CPU time a
request is steadier than the rate on a shared machine, and tells where the time goes.
"""

import statistics
import sys
from dataclasses import dataclass

import psutil

from bench import load
from bench.harness import CpuMeter, Process, System, free_port, system
from bench.report import Figure

_ROUNDS, _SECONDS = 3, 5.0
_TARGET = 1 / 3


@dataclass(frozen=True, slots=True)
class _Round:
    rate: float
    cpu_us: dict[str, float]
    """CPU microseconds a request, by kind of server."""


def measure(database: str, *, large: bool) -> list[Figure]:
    del large
    with system(database, GENPULSE_MAX_QUEUED="1000000") as made, made.running("start-api") as gateway:
        port = free_port()
        bare = Process([sys.executable, "-m", "bench.bare", str(port)], "Uvicorn running", made.folder)
        try:
            bare.wait_ready()
            return _measure(made, gateway, bare, f"http://127.0.0.1:{port}")
        finally:
            bare.stop()


def _measure(made: System, gateway: Process, bare: Process, bare_url: str) -> list[Figure]:
    for url in (made.url, bare_url):
        load.post(f"{url}/task", 1)  # warms up imports, connections and caches
    ours: list[_Round] = []
    theirs: list[_Round] = []
    for _ in range(_ROUNDS):
        theirs.append(_round(bare_url, CpuMeter(lambda: {"bare": [psutil.Process(bare.popen.pid)]})))
        ours.append(_round(made.url, CpuMeter(lambda: made.servers(gateway))))
    rate, bare_rate = (statistics.median(found.rate for found in rounds) for rounds in (ours, theirs))
    cpu = {name: statistics.median(found.cpu_us[name] for found in ours) for name in ours[0].cpu_us}
    bare_cpu = statistics.median(found.cpu_us["bare"] for found in theirs)
    half, bare_half = (load.post(f"{url}/task", _SECONDS, rate=rate / 2) for url in (made.url, bare_url))
    return [
        Figure(
            "durable accepts, one gateway process",
            f"{rate:,.0f}/s ({rate / bare_rate:.2f})",
            "≥ 1/3 of bare FastAPI",
            rate / bare_rate >= _TARGET,
            f"bare FastAPI {bare_rate:,.0f}/s: {rate / bare_rate:.2f}",
        ),
        Figure(
            "CPU an accept",
            " + ".join(f"{name} {used:,.0f}" for name, used in cpu.items()) + " µs",
            baseline=f"bare FastAPI {bare_cpu:,.0f} µs: {cpu['genpulse'] / bare_cpu:.1f} (gateway)",
        ),
        Figure(
            "accept at half that rate, p50 / p99",
            f"{half.p50_ms:.1f} / {half.p99_ms:.1f} ms at {half.rate:,.0f}/s",
            baseline=f"bare FastAPI {bare_half.p50_ms:.1f} / {bare_half.p99_ms:.1f} ms",
        ),
    ]


def _round(url: str, meter: CpuMeter) -> _Round:
    found = load.post(f"{url}/task", _SECONDS)
    return _Round(found.rate, {name: used / found.requests * 1e6 for name, used in meter.used().items()})
