"""What the handlers really did, read from the file they append to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.queue_matrix.probe import ProbeError

_LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Mark:
    kind: str
    """start, end, stop (cancelled from outside) or watch (of a job that runs elsewhere)."""
    label: str
    pid: int
    at: float
    """Seconds of `time.monotonic`, which is one clock for all processes of a machine."""


class Marks:
    """The file of one system; reads on from where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._file = path.open()
        self._all: list[Mark] = []

    def read(self) -> list[Mark]:
        """All marks so far, oldest first."""
        while line := self._file.readline():
            if not line.endswith("\n"):  # caught in the middle of a write
                self._file.seek(self._file.tell() - len(line))
                break
            kind, label, pid, at = line.split()
            self._all.append(Mark(kind, label, int(pid), int(at) / 1e9))
        return self._all

    def of(self, kind: str, label: str | None = None, *, pid: int | None = None) -> list[Mark]:
        return [
            mark
            for mark in self.read()
            if mark.kind == kind and label in {None, mark.label} and pid in {None, mark.pid}
        ]

    def wait(
        self, kind: str, label: str | None = None, *, count: int = 1, within_s: float = 30, pid: int | None = None
    ) -> list[Mark]:
        """The first `count` such marks.

        Raises:
            ProbeError: there are fewer after `within_s`.
        """
        until(lambda: len(self.of(kind, label, pid=pid)) >= count, within_s, f"{count} x {kind} of {label or 'any'}")
        return self.of(kind, label, pid=pid)[:count]

    def repeated(self) -> list[str]:
        """Labels that were started more than once."""
        return sorted(label for label, n in Counter(mark.label for mark in self.of("start")).items() if n > 1)

    def close(self) -> None:
        self._file.close()


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Look until it is so.

    Raises:
        ProbeError: it is not after `within_s`.
    """
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise ProbeError(f"not within {within_s:g} s: {what}")
        time.sleep(_LOOK_S)
