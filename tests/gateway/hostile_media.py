"""Files that lie, explode or break off, and file names that attack whoever saves or shows them."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from PIL import Image

from tests.gateway.hostile import CANARY, Hostile, http

BOUNDARY = b"xYzZy"
SCRIPT = b"<script>alert('%s')</script>" % CANARY


@dataclass(frozen=True)
class HostileFile:
    """`media_type`: what it may be stored as; None when it must be refused."""

    name: str
    content: bytes
    media_type: str | None


def form(
    content: bytes, disposition: bytes = b'form-data; name="file"; filename="a.png"', kind: bytes = b"image/png"
) -> bytes:
    """A multipart body, byte by byte."""
    head = b"--%s\r\nContent-Disposition: %s\r\nContent-Type: %s\r\n\r\n" % (BOUNDARY, disposition, kind)
    return head + content + b"\r\n--%s--\r\n" % BOUNDARY


def png(width: int, height: int, data: bytes | None = None, *extra: bytes) -> bytes:
    """A black PNG of one bit a pixel, whatever `data` says."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    if data is None:
        packer, row = zlib.compressobj(9), bytes((width + 7) // 8 + 1)
        data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = [_chunk(b"IHDR", header), *extra, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(image_format: str, size: tuple[int, int] = (60, 40), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, image_format, **options)
    return buffer.getvalue()


def _gif(frames: int, screen: int = 1) -> bytes:
    """Frames of one pixel each on a screen of any size."""
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(name, bytes(1 << 20))
    return buffer.getvalue()


def _wav(claimed: int) -> bytes:
    format_chunk = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return b"RIFF" + struct.pack("<I", claimed) + b"WAVE" + format_chunk + b"data" + struct.pack("<I", claimed)


DISGUISES = [
    HostileFile("HTML", b"<!doctype html><html>" + SCRIPT, "text/html"),
    HostileFile("HTML behind white space", b"\r\n\t  <html>" + SCRIPT, "text/html"),
    HostileFile("a script", b"alert('%s')" % CANARY, "text/plain"),
    HostileFile("SVG with a script", b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>", "image/svg+xml"),
    HostileFile(
        "SVG with an entity",
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
        "image/svg+xml",
    ),
    HostileFile(
        "XML with a bomb", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa">]><x>&a;&a;</x>', "application/xml"
    ),
    HostileFile("PDF", b"%PDF-1.7\n/JS (app.alert)\n", "application/pdf"),
    HostileFile("a playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "text/plain"),
    HostileFile("a list of files", b"ffconcat version 1.0\nfile /etc/passwd\n", "text/plain"),
    HostileFile("a program", b"\x7fELF\x02\x01\x01" + bytes(100), "application/octet-stream"),
    HostileFile("a pickle", b"\x80\x04cos\nsystem\n(S'id'\ntR.", "application/octet-stream"),
    HostileFile("a script of the shell", b"#!/bin/sh\nid\n", "text/plain"),
    HostileFile("an archive that leaves its folder", _zip("../../etc/x", "/etc/y"), "application/zip"),
    HostileFile("an archive that explodes", _zip(*(str(n) for n in range(20))), "application/zip"),
    HostileFile("nothing", b"", "application/octet-stream"),
]

POLYGLOTS = [
    HostileFile("a GIF that is a script too", b"GIF89a=1;/*" + SCRIPT + b"*/", None),
    HostileFile("a picture with a page in its text", png(4, 4, None, _chunk(b"tEXt", b"x\0" + SCRIPT)), "image/png"),
    HostileFile("a picture with an archive behind it", saved("PNG") + _zip("x"), "image/png"),
    HostileFile("a JPEG with a page in its comment", saved("JPEG", comment=SCRIPT), "image/jpeg"),
    HostileFile("a PNG that is a page", b"\x89PNG\r\n\x1a\n<html>" + SCRIPT, None),
    HostileFile("a JPEG that is a page", b"\xff\xd8\xff\xe0<html>" + SCRIPT, None),
    HostileFile("an MP3 that is a page", b"ID3\x04\0\0\0\0\0\0<html>" + SCRIPT, None),
    HostileFile("a video that is a page", b"\0\0\0\x18ftypmp42<html>" + SCRIPT, None),
    HostileFile("a PDF that is a page", b"%PDF-1.7\n<html>" + SCRIPT, "application/pdf"),
]

BOMBS = [
    HostileFile("169 megapixels in 20 KiB", png(13_000, 13_000), None),
    HostileFile("81 megapixels in 10 KiB", png(9_000, 9_000), None),
    HostileFile("10^14 pixels in 100 bytes", png(10_000_000, 10_000_000, b"x"), None),
    HostileFile("no pixels", png(0, 0, b"x"), None),
    HostileFile("a GIF of 50,000 frames", _gif(50_000), "image/gif"),
    HostileFile("a GIF with a screen of 65,535 a side", _gif(1, 65_535), None),
    HostileFile(
        "64 KiB of text that unpack to 64 MiB",
        png(4, 4, None, _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1 << 26), 9))),
        None,
    ),
    HostileFile("a WAV that claims 4 GiB", _wav(0xFFFFFFF0) + bytes(8000), "audio/wav"),
]

BROKEN = [
    *(
        HostileFile(f"half a {kind}", saved(kind)[: len(saved(kind)) // 2], None)
        for kind in ("PNG", "JPEG", "WEBP", "TIFF")
    ),
    HostileFile("a PNG with a wrong checksum", saved("PNG")[:-20] + bytes(20), None),
    HostileFile("the head of a PNG", saved("PNG")[:8], None),
    HostileFile("the head of a GIF", b"GIF89a", None),
    HostileFile("a WAV without sound", _wav(0), None),
    HostileFile("the head of a video", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", None),
    HostileFile("the head of a Matroska", b"\x1aE\xdf\xa3" + bytes(100), None),
    HostileFile("the head of an Ogg", b"OggS" + bytes(100), None),
]

FORM = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY
FILES = {"disguises": DISGUISES, "polyglots": POLYGLOTS, "bombs": BOMBS, "broken": BROKEN}


def upload(name: str, body: bytes, *statuses: int) -> Hostile:
    return Hostile(name, http("POST", "/files", FORM, body=body), statuses)


UPLOADS = [upload(f.name, form(f.content), 201 if f.media_type else 415) for kind in FILES.values() for f in kind]

NAMES = [
    *(b"../a", b"../../../../etc/passwd", b"..%2f..%2fa", b"%252e%252e%252fa", b"a\\b", b"..\\..\\a", b"C:\\x", b"C:x"),
    *(
        b"/etc/passwd",
        b"//server/share",
        b"\\\\server\\share",
        b"CON",
        b"con.png",
        b"LPT1.txt",
        b"nul",
        b"aux.",
        b"COM9 ",
    ),
    *(b".", b"..", b"...", b"", b" ", b".htaccess", b"-rf", b"--help", b"~", b"~root", b"a:stream", b"$(id)", b"`id`"),
    *(
        b"a\0b.png",
        b"a\rb",
        b"a\nb",
        b"a\tb",
        b"\x1b[31mred",
        b"\x7f",
        b"a\xffb",
        b"\xed\xa0\x80",
        b"\xc0\xae\xc0\xae/",
    ),
    *(
        text.encode()
        for text in ("a\u202egnp.exe", "\ufeffa", "a\u2028b", "ａ／ｂ", "é" * 300, "😀" * 100, "a\u0300" * 90)
    ),
    *(
        b"x" * 300,
        b"x" * 3_000,
        b"a.png; filename=b.html",
        b"a%0d%0aX-Injected: 1",
        b"<script>.png",
        b"a'b",
        b"a|b",
        b"*?",
    ),
]
