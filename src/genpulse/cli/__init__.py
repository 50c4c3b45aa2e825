"""The unified command line: `genpulse …` and `python manager.py …` are the same program.

Apart from `start-*`, `demo`, `doctor` and `settings` it is a pure HTTP client of a gateway. Results go to stdout,
everything for human eyes to stderr.
"""

from genpulse.cli.app import main

__all__ = ["main"]
