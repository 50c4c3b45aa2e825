"""Runs the probes and prints their table."""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench.queue_matrix import crashes, leases, order, outages, speed
from bench.queue_matrix.beside import best_of_the_eight, verdict
from bench.queue_matrix.probe import PROBES, Outcome, Probe, ProbeError
from bench.queue_matrix.system import Bench

_GROUPS = (crashes, leases, order, outages, speed)  # imported for the probes they add
_HEAD = "| probe | expected | measured | best of the eight | verdict |\n|---|---|---|---|---|"


def main() -> int:
    asked = _arguments()
    if asked.list:
        for probe in PROBES.values():
            print(f"{probe.name:18}{probe.title}")
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    table = [_heading(asked.database), "", _HEAD]
    print("\n".join(table), flush=True)
    sound = True
    with Bench(asked.database) as bench:
        for name in asked.probes or PROBES:
            probe = PROBES[name]
            if asked.database not in probe.databases:
                continue
            outcome = _run(probe, bench)
            sound &= outcome.sound
            cells = (probe.title, probe.expectation, outcome.measured, best_of_the_eight(name), verdict(name, outcome))
            table.append(f"| {' | '.join(cells)} |")
            print(table[-1], flush=True)
    if asked.out is not None:
        asked.out.write_text("\n".join(table) + "\n")
    return 0 if sound else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_matrix", description=__doc__)
    parser.add_argument("probes", nargs="*", metavar="probe", help="only these; default: all")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--list", action="store_true", help="list the probes and end")
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    asked = parser.parse_args()
    unknown = [name for name in asked.probes if name not in PROBES]
    if unknown:
        parser.error(f"there is no probe {unknown[0]}; --list lists them")
    return asked


def _stop(number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + number)  # so that everything started is ended on the way out


def _heading(database: str) -> str:
    today = datetime.now(UTC).date()
    return f"GenPulse on {database}, {today}, Python {platform.python_version()}, {platform.machine()}"


def _run(probe: Probe, bench: Bench) -> Outcome:
    started = time.monotonic()
    try:
        outcome = probe.run(bench)
    except ProbeError as error:
        outcome = Outcome(" ".join(str(error).split()).replace("|", "/")[:300], sound=False)
    sys.stderr.write(f"{probe.name}: {time.monotonic() - started:.1f} s\n")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
