"""`local/hibari`: real speech in all formats, and a refusal of everything that it would leave out."""

import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import ValidationError

from genpulse.core.ports import Backend
from genpulse.core.registry import registry
from genpulse.engines.english import readable, unspeakable
from genpulse.engines.hibari import HibariParams
from genpulse.media.inspector import MediaInspector
from tests.contracts import backend_contract as contract
from tests.engines.conftest import MakeJob

TEXT = "The quick brown fox jumps over the lazy dog. It costs $9.99, doesn't it?"


@pytest.fixture
async def hibari() -> AsyncIterator[Backend]:
    model = registry.model("local/hibari")
    assert model is not None
    assert model.backend is not None
    backend = model.backend()
    yield backend
    await backend.close()


async def speak(backend: Backend, make_job: MakeJob, seed: int = 7, **params: object) -> tuple[bytes, float]:
    job = make_job(HibariParams.model_validate({"text": TEXT, **params}), model="local/hibari", seed=seed)
    checkpoint, finished, _ = await contract.run(backend, job)
    (content,) = await contract.check_outputs(backend, job, checkpoint, finished)
    assert finished.data is not None
    return content, finished.data["duration_s"]


def samples(content: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float) / 32768


async def test_speaks(hibari: Backend, make_job: MakeJob) -> None:
    content, duration_s = await speak(hibari, make_job)
    sound = samples(content)
    assert 4 < duration_s < 9, "fifteen words take about six seconds"
    assert len(sound) / 24_000 == pytest.approx(duration_s, abs=0.001)
    assert 0.02 < float(np.sqrt(np.mean(sound**2))) < 0.5
    assert float(np.abs(sound).max()) > 0.1
    loud = np.abs(sound[: len(sound) // 240 * 240]).reshape(-1, 240).max(axis=1) > 0.02
    assert 0.5 < loud.mean() < 0.98, "speech has pauses, noise has none"
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / 24_000)
    assert power[(frequency > 80) & (frequency < 4000)].sum() > 0.8 * power.sum(), "a voice lies between these"


async def test_the_same_seed_gives_the_same_bytes(hibari: Backend, make_job: MakeJob) -> None:
    assert await speak(hibari, make_job) == await speak(hibari, make_job)
    assert await speak(hibari, make_job) != await speak(hibari, make_job, seed=8)


async def test_speed(hibari: Backend, make_job: MakeJob) -> None:
    _, normal = await speak(hibari, make_job)
    _, slow = await speak(hibari, make_job, speed=0.5)
    _, fast = await speak(hibari, make_job, speed=2.0)
    assert slow > 1.5 * normal
    assert fast < 0.7 * normal


@pytest.mark.parametrize(
    ("audio_format", "media_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("flac", "audio/flac")]
)
async def test_formats(hibari: Backend, make_job: MakeJob, tmp_path: Path, audio_format: str, media_type: str) -> None:
    content, duration_s = await speak(hibari, make_job, audio_format=audio_format)
    path = tmp_path / "speech"
    path.write_bytes(content)
    inspector = MediaInspector()
    info = await inspector.inspect(path)
    await inspector.close()
    assert (info.kind, info.media_type, info.extension) == ("audio", media_type, audio_format)
    assert info.duration_s == pytest.approx(duration_s, abs=0.06)
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.audio[0].rate == 24_000
        decoded = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    assert np.abs(decoded.astype(float)).max() > 0


async def test_long_text_without_punctuation(hibari: Backend, make_job: MakeJob) -> None:
    _, duration_s = await speak(hibari, make_job, text="word " * 900)
    assert duration_s > 100


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
