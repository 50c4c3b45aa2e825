"""The engine of `local/hibari`: speaks sentence by sentence, writes WAV, FLAC or MP3 at 24 kHz."""

from __future__ import annotations

import importlib
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from genpulse.engines.engine import EngineJob, EngineOutput, EngineResult, Report
from genpulse.engines.english import readable
from genpulse.errors import TaskError

_PAUSE_S = 0.1
_MAX_PHONEMES = 400
"""The network sees so many at once: a long run without punctuation would need gigabytes (measured: 1.8 GB at 5,400)."""
_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}

Samples = NDArray[np.float32]


class HibariEngine:
    """Implements `engine.Engine`."""

    def __init__(self) -> None:
        hibari: Any = importlib.import_module("hibari")  # it has no type hints
        self._voice = hibari.Hibari(voice="heart", threads=1)
        self._rate = int(hibari.SAMPLE_RATE)

    def run(self, job: EngineJob, report: Report) -> EngineResult:
        report.progress(2, "reading")
        chunks = [part for chunk in self._voice.phonemize(readable(job.params["text"])) for part in _split(chunk)]
        noise = np.random.default_rng(job.seed)
        pause = np.zeros(int(_PAUSE_S * self._rate), np.float32)
        parts: list[Samples] = []
        for number, chunk in enumerate(chunks):
            report.progress(5 + 90 * number / len(chunks), "speaking")
            parts += [self._voice.from_ids(self._voice.ids(chunk), job.params["speed"], noise), pause]
        samples = np.concatenate(parts[:-1]) if parts else pause[:0]
        if not samples.size or float(np.abs(samples).max()) < 1e-3:
            raise TaskError("engine_failed", "The voice stayed silent.", retryable=False)
        report.progress(96, "encoding")
        audio_format = job.params["audio_format"]
        name = f"speech.{audio_format}"
        _write(job.folder / name, samples, self._rate, audio_format)
        data = {"duration_s": round(samples.size / self._rate, 3), "sample_rate_hz": self._rate}
        return EngineResult((EngineOutput(name, _TYPES[audio_format]),), data=data)


def _split(phonemes: str) -> Iterator[str]:
    """Pieces that the network takes, cut between words."""
    while len(phonemes) > _MAX_PHONEMES:
        cut = phonemes.rfind(" ", 1, _MAX_PHONEMES)
        cut = cut if cut > 0 else _MAX_PHONEMES
        yield phonemes[:cut]
        phonemes = phonemes[cut:].lstrip()
    if phonemes:
        yield phonemes


def _write(path: Path, samples: Samples, rate: int, audio_format: str) -> None:
    whole = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    if audio_format == "wav":
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(whole.tobytes())
        return
    container: Any = av.open(str(path), "w", format=audio_format)  # its types are partly unknown to checkers
    with container:
        stream = container.add_stream("libmp3lame" if audio_format == "mp3" else "flac", rate=rate)
        stream.layout = "mono"
        if audio_format == "mp3":
            stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for part in [*resampler.resample(frame), None]:
            container.mux(stream.encode(part))
