"""`demo`: really generates, and fails loudly where a file isn't what it should be."""

from __future__ import annotations

import json
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from genpulse.cli.app import run
from genpulse.cli.demo import check_file


def png(width: int, height: int) -> bytes:
    """A real image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), level=0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "media_type", "problem"),
    [
        (png(1024, 1024), "image/png", None),
        (b"RIFF\0\0\0\0WAVE" + bytes(1000), "audio/wav", None),
        (png(1024, 1024)[:-4], "image/png", "no whole PNG"),
        (png(1024, 512), "image/png", "1024×512"),
        (b"\x89PNG", "image/png", "4 bytes"),
        (bytes(2000), "image/png", "no whole PNG"),
        (bytes(2000), "audio/wav", "no WAV"),
        (bytes(2000), "text/html", "text/html"),
    ],
)
def test_fake_files_are_found_out(tmp_path: Path, content: bytes, media_type: str, problem: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    found = check_file(path, media_type)
    assert found is None if problem is None else problem in (found or "")


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("genpulse.engines.sketch") is None or find_spec("onnxruntime") is None, reason="no local engines here"
)
def test_the_whole_system_generates_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = run(["demo", "-o", "out", "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    files = json.loads(captured.out)["files"]
    assert [file["task_type"] for file in files] == ["text-to-image", "text-to-speech"]
    assert sorted(tmp_path / file["file"] for file in files) == sorted((tmp_path / "out").iterdir())
    assert "nothing is left running" in captured.err
    assert "curl -s http://" in captured.err
