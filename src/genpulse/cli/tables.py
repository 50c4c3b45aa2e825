"""Tables on stdout: whole lines when piped, fitted to the terminal otherwise. Cells are server text and are cleaned."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genpulse.cli.terminal import clean

_PIPE_WIDTH = 400


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: Sequence[str] = (), folded: Sequence[str] = ()
) -> None:
    """Print rows. Columns in `whole` are never cut (ids), those in `folded` wrap, others end in an ellipsis."""
    cells = [[Text("" if value is None else clean(value)) for value in row] for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        table.add_column(
            name,
            no_wrap=name not in folded,
            overflow="fold" if name in folded else "ellipsis",
            min_width=max([len(name), *(row[index].cell_len for row in cells)]) if name in whole else None,
        )
    for row in cells:
        table.add_row(*row)
    stdout_console().print(table)


def stdout_console() -> Console:
    """stdout; wide when piped, so that `grep` and `awk` see whole lines."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH if piped else None)
