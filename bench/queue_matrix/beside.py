"""What eight engines did in the same probes (the study that ADR 0003 summarises), as numbers to set ours beside.

Only what the study measured has a number. Its machine was another one, also with 2 cores and busier: the tolerances are
wide, and speed is for orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.queue_matrix.probe import Outcome

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Beside:
    """One row: what the number is, how far numbers may differ and still be equal, and the engines'."""

    unit: str
    tolerance: float = 0
    theirs: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: bool = False

    @property
    def best(self) -> tuple[str, float] | None:
        if not self.theirs:
            return None
        number = (max if self.higher_is_better else min)(self.theirs.values())
        names = [name for name, theirs in self.theirs.items() if theirs == number]
        return ", ".join(names), number


def _engines(**numbers: float) -> Mapping[str, float]:
    """By name; those that are absent were not measured, or can't do it at all."""
    return numbers


BESIDE: dict[str, Beside] = {
    "kill": Beside(
        "s until the last runs again",
        1.0,
        # Celery doubled all 20 of them, taskiq-redis waits for a new message, DBOS the same executor id.
        _engines(streaq=4.2, docket=3.1, saq=NEVER, arq=22, taskiq=NEVER, celery=NEVER, dramatiq=8.3, dbos=NEVER),
    ),
    "kill-remote": Beside(""),
    "kill-own-code": Beside(
        "s until the last runs again",
        1.0,
        _engines(streaq=4.2, docket=3.1, saq=NEVER, arq=22, taskiq=NEVER, celery=NEVER, dramatiq=8.3, dbos=NEVER),
    ),
    "poison": Beside("starts", 0, _engines(streaq=5, docket=37)),
    "zombie": Beside(""),
    "live": Beside("starts", 0, _engines(streaq=1, docket=1, saq=1, taskiq=5, celery=3, dramatiq=1)),
    "no-fault": Beside(
        "doubles",
        0,
        # taskiq-redis and Celery as in "live"; saq rarely: 2 in 20,000, when a worker starts.
        _engines(streaq=1, docket=0, arq=0, dramatiq=0, dbos=0),
    ),
    "drain": Beside("doubles", 0, _engines(streaq=0, docket=1, saq=0, arq=0)),
    "sigterm": Beside("s until it runs again", 0.3, _engines(streaq=1.0, saq=0.3, arq=0.2)),  # put back
    "priorities": Beside("last place of a high one", 0, _engines(streaq=4, docket=8, saq=54, celery=4, dramatiq=51)),
    "cancel-queued": Beside("s", 0.2, _engines(streaq=4, docket=0, arq=4)),
    "cancel-running": Beside("s", 0.1, _engines(streaq=0.5, docket=0.1, saq=1, arq=0.5)),
    "same-id": Beside(
        "further runs",
        0,
        _engines(streaq=1, docket=1, saq=1, arq=0, taskiq=3, celery=3, dramatiq=3, dbos=0),
    ),
    "delayed": Beside("s late (theirs: the tick)", 0.2, _engines(streaq=0.5, docket=0.25, saq=1)),
    "repeated-hints": Beside(""),
    "redis-away": Beside(
        "s until a new job starts afterwards",
        1.0,  # saq's "at once" was not timed more finely
        # docket takes new jobs when all those that ran have ended; taskiq-redis restarted and lost hold of its own.
        _engines(streaq=NEVER, saq=0, arq=NEVER, celery=NEVER, dramatiq=1.6),
    ),
    "redis-blip": Beside("doubles", 0, _engines(docket=1)),
    "postgres-away": Beside(""),
    "enqueue": Beside(
        "jobs/s",
        500,
        _engines(streaq=4091, docket=4380, saq=6692, arq=4906, taskiq=4366, celery=2820, dramatiq=11433, dbos=924),
        higher_is_better=True,
    ),
    "drain-rate": Beside(
        "jobs/s",
        200,
        _engines(streaq=1206, docket=1918, saq=2027, arq=1750, taskiq=3448, celery=1606, dramatiq=2016, dbos=438),
        higher_is_better=True,
    ),
    "latency": Beside(
        "ms, p50",
        1.0,
        _engines(streaq=6.7, docket=3.4, saq=2.3, arq=31, taskiq=1.4, celery=3.7, dramatiq=12.8, dbos=73),
    ),
    "many": Beside(
        "s",
        0.3,
        _engines(streaq=5.54, docket=5.8, saq=5.46, arq=5.40, taskiq=5.44, celery=6.27, dramatiq=5.07),
    ),
}


def verdict(name: str, outcome: Outcome) -> str:
    """How ours compares with the best of the eight."""
    row = BESIDE[name]
    if not outcome.sound:
        return "**fails its expectation**"
    if row.best is None or outcome.score is None:
        return "the eight were not measured"
    gain = row.best[1] - outcome.score
    if row.higher_is_better:
        gain = -gain
    if abs(gain) <= row.tolerance:
        return "equal"
    return "better" if gain > 0 else "worse"


def best_of_the_eight(name: str) -> str:
    """Its number and whose it is."""
    row = BESIDE[name]
    return "" if row.best is None else f"{row.best[1]:g} {row.unit} ({row.best[0]})"
