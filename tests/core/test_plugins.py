"""The plugin door: files come in, and a bad one is refused by name."""

from pathlib import Path

import pytest

from genpulse.core.plugins import PluginError, load_plugins
from genpulse.core.registry import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it, but for the built-ins: their modules are imported only once."""
    load_plugins()
    own = registry.copy()
    monkeypatch.setattr(registry, "_handlers", own._handlers)
    monkeypatch.setattr(registry, "_models", own._models)


def write(folder: Path, text: str) -> str:
    path = folder / "a_plugin.py"
    path.write_text("from genpulse import BaseHandler, register\n" + text)
    return str(path)


def test_built_ins_come_in_through_the_same_door() -> None:
    load_plugins()
    assert {"text-to-image", "text-to-speech"} <= set(registry.task_types)
    assert {"local/sketch", "local/hibari"} <= {model.id for model in registry.models}


def test_a_file_adds_a_task_type(tmp_path: Path) -> None:
    load_plugins(
        [write(tmp_path, '@register("new")\nclass New(BaseHandler):\n    async def execute(self, task): return {}\n')]
    )
    model = registry.model("local/new")
    assert model is not None and model.task_types == ("new",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('@register("idle")\nclass Idle(BaseHandler): pass\n', "Idle.*execute"),
        ('@register("Not OK")\nclass Bad(BaseHandler): pass\n', "lower-case"),
        ("raise RuntimeError('broken')\n", "RuntimeError: broken"),
        ("import sys; sys.exit(3)\n", "SystemExit"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_a_bad_plugin_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        load_plugins([write(tmp_path, text)])


def test_a_missing_plugin_is_named() -> None:
    for name in ("no/such/file.py", "no_such_module"):
        with pytest.raises(PluginError, match=name):
            load_plugins([name])
