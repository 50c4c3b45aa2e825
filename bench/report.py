"""Figures and how they are shown: one Markdown table, a row per figure, a column per database."""

from dataclasses import dataclass

from bench.harness import DATABASES


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value on one database. `reached` is None where there is no target."""

    name: str
    value: str
    target: str = ""
    reached: bool | None = None
    baseline: str = ""


def table(measured: dict[str, list[Figure]]) -> str:
    """A Markdown table of figures by database; rows in the order in which they were first measured."""
    names = list(dict.fromkeys(figure.name for figures in measured.values() for figure in figures))
    lines = [f"| figure | target | {' | '.join(DATABASES)} | baseline: ratio | reached? |", "|---" * 6 + "|"]
    for name in names:
        found = {
            database: next((figure for figure in measured.get(database, []) if figure.name == name), None)
            for database in DATABASES
        }
        some = next(figure for figure in found.values() if figure is not None)
        values = [figure.value if figure else "–" for figure in found.values()]
        baselines = dict.fromkeys(figure.baseline for figure in found.values() if figure and figure.baseline)
        cells = [name, some.target or "–", *values, "; ".join(baselines) or "–", _reached(list(found.values()))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _reached(figures: list[Figure | None]) -> str:
    known = [(database, figure.reached) for database, figure in zip(DATABASES, figures, strict=True) if figure]
    verdicts = [(database, reached) for database, reached in known if reached is not None]
    missed = [database for database, reached in verdicts if not reached]
    if not verdicts:
        return "–"
    if not missed:
        return "yes"
    return "**no**" if len(missed) == len(verdicts) else f"**no**: {', '.join(missed)}"
