"""Loads what registers task types and models: built-ins and installed plugins by the entry point group
`genpulse.plugins`, and the modules or files that `GENPULSE_PLUGINS` names. All come in through the same door.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path

ENTRY_POINT_GROUP = "genpulse.plugins"


class PluginError(Exception):
    """A plugin can't be loaded; the message names it and says why."""


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import all plugins, which fills `core.registry.registry`.

    Raises:
        PluginError: one is missing, or raised while it was imported.
    """
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda found: found.name):
        _guarded(entry_point.value, entry_point.load)
    for name in names:
        path = Path(name)
        if path.suffix == ".py":
            _guarded(name, lambda path=path: _load_file(path))
        else:
            _guarded(name, lambda name=name: importlib.import_module(name))


def _guarded(name: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"Plugin {name} can't be loaded: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    module_name = f"genpulse_plugin_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and Pydantic look their annotations up there
    spec.loader.exec_module(module)
