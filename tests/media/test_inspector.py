"""What files really are: good ones of every kind, damaged ones, bombs, disguises; in children that can be lost."""

import asyncio
import io
import json
import os
import signal
import struct
import subprocess
import sys
import wave
import zlib
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from genpulse.core.models import MediaInfo
from genpulse.errors import TaskError
from genpulse.media import child_process
from genpulse.media.inspector import MediaInspector


@pytest.fixture
async def inspector() -> AsyncIterator[MediaInspector]:
    made = MediaInspector(file_s=5)
    yield made
    await made.close()


def image(image_format: str, size: tuple[int, int] = (60, 40), **options: Any) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, image_format, **options)
    return buffer.getvalue()


def video(container_format: str, codec: str, *, frames: int = 12, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    output: Any = av.open(buffer, "w", format=container_format)
    with output:
        stream = output.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), number * 15, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 12)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def audio(container_format: str, codec: str, *, seconds: float = 2.0) -> bytes:
    buffer = io.BytesIO()
    output: Any = av.open(buffer, "w", format=container_format)
    with output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        tone = (np.sin(np.arange(int(48_000 * seconds)) / 20) * 9000).astype("<i2")
        frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000, frame_size=960)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return buffer.getvalue()


def wav(seconds: float = 1.5) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(bytes(int(48_000 * seconds)))
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    """A small PNG that says it is enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes((side + 7) // 8 + 1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def glb() -> bytes:
    body = b'{"asset":{"version":"2.0"}}     '
    return b"glTF" + struct.pack("<II", 2, 20 + len(body)) + struct.pack("<I", len(body)) + b"JSON" + body


async def look(inspector: MediaInspector, tmp_path: Path, content: bytes, name: str = "x.bin") -> MediaInfo:
    path = tmp_path / "file"
    path.write_bytes(content)
    return await inspector.inspect(path, name=name)


@pytest.mark.parametrize(
    ("image_format", "media_type", "extension"),
    [
        ("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"), ("AVIF", "image/avif", "avif"), ("BMP", "image/bmp", "bmp"),
        ("TIFF", "image/tiff", "tif"),
    ],
)  # fmt: skip
async def test_images(
    inspector: MediaInspector, tmp_path: Path, image_format: str, media_type: str, extension: str
) -> None:
    info = await look(inspector, tmp_path, image(image_format), name="movie.mp4")
    assert info == MediaInfo("image", media_type, extension, 60, 40, None)


async def test_an_image_is_as_large_as_it_is_shown(inspector: MediaInspector, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    info = await look(inspector, tmp_path, image("JPEG", exif=exif))
    assert (info.width, info.height) == (40, 60)


@pytest.mark.parametrize(
    ("container_format", "codec", "media_type", "extension"),
    [
        ("mp4", "libx264", "video/mp4", "mp4"), ("webm", "libvpx", "video/webm", "webm"),
        ("matroska", "libx264", "video/x-matroska", "mkv"), ("mov", "libx264", "video/quicktime", "mov"),
        ("avi", "mpeg4", "video/x-msvideo", "avi"),
    ],
)  # fmt: skip
async def test_videos(
    inspector: MediaInspector, tmp_path: Path, container_format: str, codec: str, media_type: str, extension: str
) -> None:
    info = await look(inspector, tmp_path, video(container_format, codec))
    assert (info.kind, info.media_type, info.extension) == ("video", media_type, extension)
    assert (info.width, info.height) == (64, 48)
    assert info.duration_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("container_format", "codec", "media_type", "extension"),
    [
        ("mp3", "libmp3lame", "audio/mpeg", "mp3"), ("flac", "flac", "audio/flac", "flac"),
        ("ogg", "libopus", "audio/ogg", "ogg"), ("webm", "libopus", "audio/webm", "webm"),
        ("mp4", "aac", "audio/mp4", "m4a"), ("adts", "aac", "audio/aac", "aac"),
        ("aiff", "pcm_s16be", "audio/aiff", "aiff"),
    ],
)  # fmt: skip
async def test_sounds(
    inspector: MediaInspector, tmp_path: Path, container_format: str, codec: str, media_type: str, extension: str
) -> None:
    info = await look(inspector, tmp_path, audio(container_format, codec))
    assert (info.kind, info.media_type) == ("audio", media_type)
    assert info.extension == extension
    assert info.width is None
    assert info.duration_s == pytest.approx(2.0, abs=0.1)


async def test_wav(inspector: MediaInspector, tmp_path: Path) -> None:
    assert await look(inspector, tmp_path, wav()) == MediaInfo("audio", "audio/wav", "wav", duration_s=1.5)


@pytest.mark.parametrize(
    ("content", "kind", "media_type", "extension"),
    [
        (b"hello\nworld\n", "text", "text/plain", "txt"),
        ("Ünïcode – 富士山\n".encode() * 400, "text", "text/plain", "txt"),
        (json.dumps({"a": [1, 2]}).encode(), "text", "application/json", "json"),
        (b"{not json", "text", "text/plain", "txt"),
        (b"[" * 100_000, "text", "text/plain", "txt"),
        (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "file", "text/html", "html"),
        (b"  \n<script>alert(1)</script>", "file", "text/html", "html"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "file", "image/svg+xml", "svg"),
        (b'<?xml version="1.0"?>\n<!-- x --><svg></svg>', "file", "image/svg+xml", "svg"),
        (b'<?xml version="1.0"?><feed></feed>', "file", "application/xml", "xml"),
        (b"%PDF-1.7\n...", "file", "application/pdf", "pdf"),
        (b"PK\x03\x04....", "file", "application/zip", "zip"),
        (glb(), "model", "model/gltf-binary", "glb"),
        (b"", "file", "application/octet-stream", "bin"),
        (bytes(range(256)) * 8, "file", "application/octet-stream", "bin"),
        (b"#EXTM3U\nhttp://127.0.0.1:1/a.ts\n", "text", "text/plain", "txt"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "text", "text/plain", "txt"),
        (b"\xff\xfe\x00\x00", "file", "application/octet-stream", "bin"),
    ],
)  # fmt: skip
async def test_other_files(
    inspector: MediaInspector, tmp_path: Path, content: bytes, kind: str, media_type: str, extension: str
) -> None:
    assert await look(inspector, tmp_path, content, name="photo.png") == MediaInfo(kind, media_type, extension)


def damaged() -> list[tuple[str, bytes]]:
    return [
        ("truncated png", image("PNG")[:300]),
        ("truncated jpeg", image("JPEG", (300, 200))[:2000]),
        ("png header only", b"\x89PNG\r\n\x1a\n"),
        ("webp header only", b"RIFF\x10\x00\x00\x00WEBPVP8 "),
        ("gif with html", b"GIF89a<script>alert(1)</script>"),
        ("png bomb", png_bomb(30_000)),
        ("barely too large", png_bomb(6400)),
        ("mp4 header only", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(500)),
        ("truncated webm", video("webm", "libvpx")[:200]),
        ("mp3 header only", b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(300)),
        ("flac header only", b"fLaC" + bytes(50)),
        ("ogg header only", b"OggS" + bytes(50)),
    ]


@pytest.mark.parametrize(("_name", "content"), damaged(), ids=[name for name, _ in damaged()])
async def test_what_claims_to_be_media_must_decode(
    inspector: MediaInspector, tmp_path: Path, _name: str, content: bytes
) -> None:
    with pytest.raises(TaskError) as caught:
        await look(inspector, tmp_path, content)
    assert caught.value.code == "input_unreadable"
    assert str(tmp_path) not in caught.value.message
    # ... and the next file is served.
    assert (await look(inspector, tmp_path, image("PNG"))).kind == "image"


async def test_forty_megapixels_are_allowed(inspector: MediaInspector, tmp_path: Path) -> None:
    assert (await look(inspector, tmp_path, png_bomb(6300))).width == 6300


async def test_a_missing_file(inspector: MediaInspector, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        await inspector.inspect(tmp_path / "nothing")
    assert caught.value.code == "input_unreadable"
    assert str(tmp_path) not in caught.value.message


async def test_thumbnails(inspector: MediaInspector, tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "thumb.webp"
    for content in (image("JPEG", (800, 400)), video("webm", "libvpx", size=(640, 320))):
        source.write_bytes(content)
        info = await inspector.thumbnail(source, target, size=100)
        assert (info.media_type, info.width, info.height) == ("image/webp", 100, 50)
        with Image.open(target) as picture:
            assert picture.size == (100, 50)
    source.write_bytes(wav())
    with pytest.raises(TaskError):
        await inspector.thumbnail(source, target)


def child_pids() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"decoder_host" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_child_is_kept_warm_and_replaced_when_it_dies(inspector: MediaInspector, tmp_path: Path) -> None:
    await look(inspector, tmp_path, image("PNG"))
    (first,) = child_pids()
    await look(inspector, tmp_path, image("PNG"))
    assert child_pids() == [first]
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(5):
        while first in child_pids():
            await asyncio.sleep(0.01)
    await look(inspector, tmp_path, image("PNG"))
    assert child_pids() not in ([], [first])
    await inspector.close()
    assert child_pids() == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_child_that_hangs_is_replaced(tmp_path: Path) -> None:
    inspector = MediaInspector(file_s=1)
    await look(inspector, tmp_path, image("PNG"))
    (pid,) = child_pids()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TaskError) as caught:
        await look(inspector, tmp_path, image("PNG"))
    assert caught.value.code == "input_unreadable"
    assert "longer than 1 s" in caught.value.message
    assert (await look(inspector, tmp_path, image("PNG"))).kind == "image"
    assert pid not in child_pids()
    await inspector.close()


async def test_many_files_at_once(inspector: MediaInspector, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).write_bytes(image("PNG", (10 + number, 10)))
    found = await asyncio.gather(*(inspector.inspect(tmp_path / str(number)) for number in range(20)))
    assert [info.width for info in found] == [10 + number for number in range(20)]


async def test_a_caller_that_gives_up_harms_no_other(inspector: MediaInspector, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(png_bomb(6300))
    slow = asyncio.create_task(inspector.inspect(tmp_path / "large"))
    await asyncio.sleep(0)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert (await look(inspector, tmp_path, image("GIF"))).media_type == "image/gif"


async def test_without_decoders_files_are_told_by_their_first_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpulse.media.inspector.can_decode", lambda: False)
    inspector = MediaInspector()
    assert await look(inspector, tmp_path, image("PNG")) == MediaInfo("image", "image/png", "png")
    with pytest.raises(TaskError):
        await inspector.thumbnail(tmp_path / "file", tmp_path / "t")
    await inspector.close()


def test_the_inspector_loads_no_decoder_itself() -> None:
    code = "import sys, genpulse.media.inspector; sys.exit(bool({'PIL', 'av'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPULSE_SECRET_KEY", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    names = child_process._environment().keys()  # pyright: ignore[reportPrivateUsage] # the guarantee is made here
    assert "PATH" in names
    assert not {"GENPULSE_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"} & names
