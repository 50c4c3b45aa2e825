"""What `local/hibari` takes, and its refusal of everything that it would leave out."""

import pytest
from pydantic import ValidationError

from genpulse.engines.english import readable, unspeakable
from genpulse.engines.hibari import HibariParams

TEXT = "The quick brown fox jumps over the lazy dog. It costs $9.99, doesn't it?"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("你好", "Chinese"), ("Hello 你好 world", "Chinese"), ("こんにちは", "Japanese"), ("안녕", "Korean"),
        ("Привет", "Cyrillic"), ("Say γεια", "Greek"), ("مرحبا", "Arabic"), ("😀", "emoji"), ("Nice 👍🏽", "emoji"),
        ("... !", "nothing to speak"), ("- – — ()", "nothing to speak"), ("१२३", "digits"), ("a ∑ b", "symbols"),
        ("ＡＢＣ", "Chinese"),
    ],
)  # fmt: skip
def test_refuses_what_it_would_leave_out(text: str, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HibariParams(text=text)
    (error,) = caught.value.errors()
    assert error["loc"] == ("text",)
    assert kind in error["msg"]
    assert text not in error["msg"]


@pytest.mark.parametrize(
    "text",
    [
        TEXT, "Café naïve, Łódź & Dvořák.", "It's 5 °C – “cold”…", "x² + y = 5 €", "100% of #1 @ home", "1,250.50",
        "Line one.\nLine two.\tTab.", "a\u200bb soft\u00adhyphen", "Müller-Lüdenscheidt",
    ],
)  # fmt: skip
def test_takes_what_it_can_speak(text: str) -> None:
    assert unspeakable(text) is None


def test_writes_text_so_that_nothing_is_lost() -> None:
    assert readable("It costs 5 € or 7.50£.") == "It costs €5 or £7.50."
    assert readable("Łódź, Čapek, œuvre") == "Lódz, Capek, oeuvre"
    assert readable("−5") == "-5"


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"voice": "emma"}, "voice"), ({"language": "de"}, "language"), ({"language": "eng-secret"}, "language"),
        ({"speed": 3}, "speed"), ({"audio_format": "ogg"}, "audio_format"), ({"text": "x" * 5001}, "text"),
    ],
)  # fmt: skip
def test_params(params: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HibariParams.model_validate({"text": "Hello.", **params})
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    assert "emma" not in error["msg"]
    assert "secret" not in error["msg"]


@pytest.mark.parametrize("params", [{"voice": "heart"}, {"language": "en-GB"}, {"language": "EN"}, {"voice": None}])
def test_good_params(params: dict[str, object]) -> None:
    HibariParams.model_validate({"text": "Hello.", **params})
