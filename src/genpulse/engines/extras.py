"""Says which packages of the `local` extra an engine misses here."""

from __future__ import annotations

import importlib.util


def missing(*modules: str) -> str | None:
    """Why an engine that imports `modules` can't run, or None. Looks them up without importing them."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f'{", ".join(absent)} not installed: pip install "genpulse[local]"'
