"""`python -m bench [FIGURE …]`: measures, and prints one Markdown table. `--write` keeps it in bench/RESULTS.md."""

import argparse
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import accepts, backlog, cold_start, idle, latency, throughput, waiting
from bench.harness import DATABASES, POSTGRESQL, ROOT, SQLITE
from bench.report import Figure, table

FIGURES: dict[str, Callable[..., list[Figure]]] = {
    "accepts": accepts.measure,
    "latency": latency.measure,
    "throughput": throughput.measure,
    "waiting": waiting.measure,
    "idle": idle.measure,
    "backlog": backlog.measure,
    "cold-start": cold_start.measure,
}
_RESULTS = Path(__file__).with_name("RESULTS.md")
_SHORT = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; absent: all")
    parser.add_argument("--database", choices=_SHORT, help="only on this database")
    parser.add_argument("--large", action="store_true", help="a backlog of 1,000,000 tasks too")
    parser.add_argument("--write", action="store_true", help=f"all figures, large ones too, to {_RESULTS.name}")
    options = parser.parse_args()
    if unknown := set(options.figures) - FIGURES.keys():
        parser.error(f"there is no figure {', '.join(sorted(unknown))}")
    if options.write and (options.figures or options.database):
        parser.error("--write keeps a whole run: name no figures and no database")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is stopped
    before = _conditions()
    databases = [_SHORT[options.database]] if options.database else list(DATABASES)
    text = table(_measure(options.figures or list(FIGURES), databases, large=options.large or options.write))
    print(f"{before}\n\n{text}")
    if options.write:
        _RESULTS.write_text(f"# What was measured\n\n{before}\n\n{text}\n")
    return 0


def _measure(names: list[str], databases: list[str], *, large: bool) -> dict[str, list[Figure]]:
    measured: dict[str, list[Figure]] = {database: [] for database in databases}
    for name in names:
        for database in databases:
            started = time.monotonic()
            try:
                found = FIGURES[name](database, large=large)
            except Exception as error:  # noqa: BLE001 - one figure that breaks must not lose the others
                traceback.print_exc()
                found = [Figure(f"{name} (as a whole)", f"broke: {type(error).__name__}", reached=False)]
            measured[database] += found
            print(f"{name} on {database} ({time.monotonic() - started:.0f} s)", file=sys.stderr)
            for figure in found:
                print(f"    {figure.name}: {figure.value}", file=sys.stderr)
    return measured


def _conditions() -> str:
    commit = _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain", "src") else "")
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, commit {commit}. "
        f"A shared {os.cpu_count()}-core machine; load average before the run {load}; an fdatasync takes "
        f"{_fdatasync_ms():.2f} ms (median). Client, servers and databases share these cores."
    )


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _fdatasync_ms() -> float:
    """What makes something durable here: it bounds every commit."""
    found: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            before = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - before) * 1000)
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
