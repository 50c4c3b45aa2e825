"""Tells what a file claims to be by its first bytes. Pure, no libraries, decodes nothing.

SVG, HTML and PDF are told by their honest type but never called images: browsers run scripts in them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096
_MAX_JSON = 4 << 20


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file says it is. `decoder`: who must agree, a Pillow format or an FFmpeg demuxer."""

    kind: str
    media_type: str
    extension: str
    decoder: str = ""


UNKNOWN = Claim("file", "application/octet-stream", "bin")
TEXT = Claim("text", "text/plain", "txt")
JSON = Claim("text", "application/json", "json")

_MAGIC: tuple[tuple[int, bytes, Claim], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", Claim("image", "image/png", "png", "PNG")),
    (0, b"\xff\xd8\xff", Claim("image", "image/jpeg", "jpg", "JPEG")),
    (0, b"GIF87a", Claim("image", "image/gif", "gif", "GIF")),
    (0, b"GIF89a", Claim("image", "image/gif", "gif", "GIF")),
    (0, b"II*\x00", Claim("image", "image/tiff", "tif", "TIFF")),
    (0, b"MM\x00*", Claim("image", "image/tiff", "tif", "TIFF")),
    (0, b"fLaC", Claim("audio", "audio/flac", "flac", "flac")),
    (0, b"OggS", Claim("audio", "audio/ogg", "ogg", "ogg")),
    (0, b"ID3", Claim("audio", "audio/mpeg", "mp3", "mp3")),
    (0, b"\x1aE\xdf\xa3", Claim("video", "video/x-matroska", "mkv", "matroska")),
    (0, b"glTF\x02\x00\x00\x00", Claim("model", "model/gltf-binary", "glb")),
    (0, b"%PDF-", Claim("file", "application/pdf", "pdf")),
    (0, b"PK\x03\x04", Claim("file", "application/zip", "zip")),
    (0, b"\x1f\x8b", Claim("file", "application/gzip", "gz")),
)
_RIFF = {
    b"WEBP": Claim("image", "image/webp", "webp", "WEBP"),
    b"WAVE": Claim("audio", "audio/wav", "wav", "wav"),
    b"AVI ": Claim("video", "video/x-msvideo", "avi", "avi"),
}
_AIFF = Claim("audio", "audio/aiff", "aiff", "aiff")
_BMP = Claim("image", "image/bmp", "bmp", "BMP")
_HEIC = Claim("file", "image/heic", "heic")
_MP4 = Claim("video", "video/mp4", "mp4", "mov")
_MOV = Claim("video", "video/quicktime", "mov", "mov")
_M4A = Claim("audio", "audio/mp4", "m4a", "mov")
_AVIF = Claim("image", "image/avif", "avif", "AVIF")
_MP3 = Claim("audio", "audio/mpeg", "mp3", "mp3")
_AAC = Claim("audio", "audio/aac", "aac", "aac")
_WEBM = Claim("video", "video/webm", "webm", "matroska")
_BRANDS = {
    b"avif": _AVIF, b"avis": _AVIF, b"qt  ": _MOV, b"M4A ": _M4A, b"M4B ": _M4A,
    b"heic": _HEIC, b"heix": _HEIC, b"mif1": _HEIC, b"msf1": _HEIC,
}  # fmt: skip
_HTML = Claim("file", "text/html", "html")
_SVG = Claim("file", "image/svg+xml", "svg")
_XML = Claim("file", "application/xml", "xml")
# The tags by which browsers take a file for HTML (WHATWG MIME Sniffing, 7.1).
_HTML_START = re.compile(
    rb"<(!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>-]", re.IGNORECASE
)
_SVG_TAG = re.compile(rb"<(\w+:)?svg[\s>]", re.IGNORECASE)


def sniff(path: Path) -> Claim:
    """What the file claims to be.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for recognise in (_by_magic, _by_container, _by_frame_sync):
        claim = recognise(head)
        if claim is not None:
            return claim
    return _text(path, head)


def _by_magic(head: bytes) -> Claim | None:
    return next((claim for offset, magic, claim in _MAGIC if head.startswith(magic, offset)), None)


def _by_container(head: bytes) -> Claim | None:
    """Formats that say further on what they are."""
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return _AIFF
    if head.startswith(b"BM") and len(head) > 26 and head[6:10] == bytes(4):
        return _BMP
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _MP4)
    return None


def _by_frame_sync(head: bytes) -> Claim | None:
    """Raw MPEG audio begins with eleven set bits and has no other mark."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return _AAC
    layer, bitrate, rate = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return _MP3 if layer == 1 and bitrate not in {0, 15} and rate != 3 else None


def webm(head: bytes) -> Claim | None:
    """Matroska that says it is WebM."""
    return _WEBM if b"webm" in head[:64] else None


def _text(path: Path, head: bytes) -> Claim:
    if not head or not _is_text(head, whole=len(head) < HEAD_BYTES):
        return UNKNOWN
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<?xml", b"<!DOCTYPE svg", b"<svg")) or _SVG_TAG.match(start):
        return _SVG if _SVG_TAG.search(head) else _XML
    if _HTML_START.match(start):
        # A comment or doctype may stand before an SVG as well.
        return _SVG if start.startswith(b"<!--") and _SVG_TAG.search(head) else _HTML
    if start[:1] in {b"{", b"["} and path.stat().st_size <= _MAX_JSON and _parses(path.read_bytes()):
        return JSON
    return TEXT


def _is_text(head: bytes, *, whole: bool) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return not whole and error.start > len(head) - 4  # a character cut in two by our own reading
    return True


def _parses(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
