"""The behaviour matrix can be run: one quick probe, through the program; and its verdicts are right."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.queue_matrix import __main__ as program
from bench.queue_matrix.beside import BESIDE, verdict
from bench.queue_matrix.probe import PROBES, Outcome

ROOT = Path(__file__).parents[2]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.queue_matrix", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_probe_runs_real_processes_and_prints_its_row(tmp_path: Path) -> None:
    done = _run("priorities", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.startswith("| 50 low")]
    assert "high at 0,1,2,3,4" in row and row.endswith("| equal |")
    assert (tmp_path / "table.md").read_text() == done.stdout


def test_an_unknown_probe_is_refused() -> None:
    done = _run("no-such-probe")
    assert done.returncode == 2 and "--list" in done.stderr


def test_every_probe_has_a_row_to_stand_beside() -> None:
    assert program.PROBES.keys() == BESIDE.keys() and len(PROBES) > 20


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("kill", Outcome("", 2.0), "better"),  # docket's 3.1 s, within 1 s
        ("kill", Outcome("", 4.0), "equal"),
        ("kill", Outcome("", 4.2), "worse"),
        ("kill", Outcome("", 2.0, sound=False), "**fails its expectation**"),
        ("enqueue", Outcome("", 20_000), "better"),  # more is better here
        ("enqueue", Outcome("", 300), "worse"),
        ("zombie", Outcome("", None), "the eight were not measured"),
    ],
)
def test_verdicts(name: str, outcome: Outcome, said: str) -> None:
    assert verdict(name, outcome) == said
