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

from genpulse.core.registry import registry

ENTRY_POINT_GROUP = "genpulse.plugins"


class PluginError(Exception):
    """A plugin can't be loaded; the message names it and says why."""


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import all plugins, which fills `core.registry.registry`.

    Raises:
        PluginError: one is missing, raised while it was imported, or left a task type that nothing runs.
    """
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda found: found.name):
        _guarded(entry_point.value, entry_point.load)
    for name in names:
        path = Path(name)
        if path.suffix == ".py":
            _guarded(name, lambda path=path: _load_file(path))
        else:
            _guarded(name, lambda name=name: importlib.import_module(name))
    _require_models()


def _require_models() -> None:
    """A task type that nothing can run is a mistake in its plugin: better said at start than to each client."""
    for task_type in registry.task_types:
        handler = registry.handler(task_type)
        if handler is not None and registry.model(handler.default_model or "") is None:
            where = f"{type(handler).__module__}.{type(handler).__name__}"
            raise PluginError(
                f"Task type {task_type} ({where}) can't run: give the class an `execute`, or register its default "
                f"model {handler.default_model}."
            )


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
