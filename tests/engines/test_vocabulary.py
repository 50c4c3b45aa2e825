"""What `local/sketch` understands, and what it admits not to draw."""

import json

import pytest
from pydantic import ValidationError

from genpulse.core.params import TextToImageParams
from genpulse.engines.sketch import SketchParams, warnings
from genpulse.engines.sketching.vocabulary import read, unknown


def test_params_are_bounded() -> None:
    for wrong in ({"width": 63}, {"height": 2049}, {"style": "vaporwave"}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            SketchParams.model_validate({"prompt": "a lake", **wrong})
    schema = json.dumps(SketchParams.model_json_schema())
    assert "van-gogh" in schema
    assert issubclass(SketchParams, TextToImageParams)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a lighthouse at dawn, oil painting", []),
        ("A misty mountain lake at sunrise, highly detailed, 4k, masterpiece", []),
        ("a fox in the snow", ["fox"]),
        ("two dogs and a car on the beach", ["dogs", "car"]),
        ("portrait of a woman with an umbrella", ["portrait", "woman", "umbrella"]),
        ("a b c d dragon unicorn robot spaceship cat horse", ["dragon", "unicorn", "robot", "spaceship", "cat"]),
        ("<script>alert(1)</script>", ["alert"]),
        ("x" * 500, []),
    ],
)
def test_admits_what_it_cannot_draw(prompt: str, words: list[str]) -> None:
    assert [word for word in unknown(prompt) if word != "script"] == words


def test_warnings_name_words_only() -> None:
    assert list(warnings(SketchParams(prompt="a lake at sunset"))) == []
    (fox,) = warnings(SketchParams(prompt="a fox in the snow"))
    assert fox == "local/sketch is not a diffusion model and can't draw: fox"
    (foreign,) = warnings(SketchParams(prompt="富士山"))
    assert "English" in foreign
    (negative,) = warnings(SketchParams(prompt="a lake", negative_prompt="people"))
    assert "negative_prompt" in negative


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a starry night, van gogh", {"hour": "night", "style": "van-gogh"}),
        ("sunrise in the fog", {"hour": "dawn", "weather": "fog"}),
        ("oil painting of an autumn river", {"season": "autumn", "water": "river", "style": "oil"}),
        ("blue sky", {"hour": "day", "colours": ()}),
        ("", {"hour": None, "water": None, "style": None}),
    ],
)
def test_reads_prompts(prompt: str, expected: dict[str, object]) -> None:
    wish = read(prompt)
    assert {name: getattr(wish, name) for name in expected} == expected
