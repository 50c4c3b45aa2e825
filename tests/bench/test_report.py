from bench.harness import POSTGRESQL, SQLITE
from bench.report import Figure, table


def test_a_row_has_both_databases_and_says_which_one_misses_the_target() -> None:
    measured = {
        SQLITE: [Figure("rate", "90/s", "≥ 100/s", False, "bare 300/s: 0.30"), Figure("memory", "5 MB")],
        POSTGRESQL: [
            Figure("rate", "120/s", "≥ 100/s", True, "bare 300/s: 0.40"),
            Figure("start", "9 s", "≤ 3 s", False),
        ],
    }
    assert table(measured).splitlines()[2:] == [
        f"| rate | ≥ 100/s | 90/s | 120/s | bare 300/s: 0.30; bare 300/s: 0.40 | **no**: {SQLITE} |",
        "| memory | – | 5 MB | – | – | – |",
        "| start | ≤ 3 s | – | 9 s | – | **no** |",
    ]
