"""`local/hibari` speaks: real speech in all formats."""

import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio

from genpulse.core.ports import Backend
from genpulse.core.registry import registry
from genpulse.engines.hibari import HibariParams
from genpulse.media.inspector import MediaInspector
from tests.contracts import backend_contract as contract
from tests.engines.conftest import MakeJob

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one child serves all tests

TEXT = "The quick brown fox jumps over the lazy dog. It costs $9.99, doesn't it?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
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
