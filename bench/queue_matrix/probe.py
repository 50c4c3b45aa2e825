"""What a probe is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bench.queue_matrix.system import Bench


class ProbeError(Exception):
    """The system under test didn't do in time what the probe waits for; the message says what."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found."""

    measured: str
    score: float | None = None
    """In the unit of the probe's row in `beside.py`; None where there is no number to compare."""
    sound: bool = True
    """Was the expectation met?"""


Run: TypeAlias = "Callable[[Bench], Outcome]"


@dataclass(frozen=True, slots=True)
class Probe:
    name: str
    title: str
    expectation: str
    run: Run
    databases: tuple[str, ...]


PROBES: dict[str, Probe] = {}
BOTH = ("sqlite", "postgresql")


def probe(name: str, title: str, expectation: str, databases: tuple[str, ...] = BOTH) -> Callable[[Run], Run]:
    """Add a function to the list, in the order of definition."""

    def add(run: Run) -> Run:
        PROBES[name] = Probe(name, title, expectation, run, databases)
        return run

    return add
