"""Decodes hostile media within limits: what an image, a sound or a video really is, and thumbnails of them.

Runs in a child process (`decoder_host`) only. Images go through Pillow with an allow-list of formats and at most
40 megapixels; sound and video through PyAV with the one demuxer that the file's first bytes name, from an open file:
no protocol, so neither a playlist nor a reference inside the file reaches the network or another file.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from PIL import Image, ImageOps

from genpulse.core.models import MediaInfo
from genpulse.media.sniff import HEAD_BYTES, Claim, sniff, webm

MAX_PIXELS = 40_000_000
_MAX_VIDEO_SIDE = 16_384
_TURNED = {5, 6, 7, 8}  # values of EXIF orientation that swap width and height
_EXIF_ORIENTATION = 0x0112
_PROBE = {"probesize": str(8 << 20), "analyzeduration": "5000000", "protocol_whitelist": "none"}

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


class UndecodableError(Exception):
    """The file claims to be media, but can't be decoded within the limits; the message says why to a user."""


def probe(path: Path) -> MediaInfo:
    """What the file is, once its decoder agreed with its claim.

    Raises:
        UndecodableError.
    """
    claim = sniff(path)
    if claim.kind == "image":
        return _probe_image(path, claim)
    if claim.kind in {"audio", "video"}:
        return _probe_av(path, claim)
    return MediaInfo(claim.kind, claim.media_type, claim.extension)


def thumbnail(path: Path, target: Path, size: int) -> MediaInfo:
    """Write a WebP of at most `size` pixels a side: the image, or the first frame of the video.

    Raises:
        UndecodableError: also when the file has no picture.
    """
    claim = sniff(path)
    if claim.kind == "image":
        picture = _small_image(path, claim, size)
    elif claim.kind == "video":
        picture = _first_frame(path, claim)
    else:
        raise UndecodableError("The file has no picture.")
    picture = picture if picture.mode in {"RGB", "RGBA"} else picture.convert("RGBA")
    picture.thumbnail((size, size))
    picture.save(target, "WEBP", quality=80)
    return MediaInfo("image", "image/webp", "webp", picture.width, picture.height)


# Images -----------------------------------------------------------------------------------------------------------


def _probe_image(path: Path, claim: Claim) -> MediaInfo:
    image = _open_image(path, claim)
    try:
        width, height = image.size
        image.draft("RGB", (width // 8, height // 8))  # a JPEG is read to its end at an eighth of the work
        turned = _load(image, claim) in _TURNED
    finally:
        image.close()
    if turned:
        width, height = height, width
    return MediaInfo("image", claim.media_type, claim.extension, width, height)


def _small_image(path: Path, claim: Claim, size: int) -> Image.Image:
    image = _open_image(path, claim)
    image.draft("RGB", (size, size))
    _load(image, claim)
    return ImageOps.exif_transpose(image)


def _open_image(path: Path, claim: Claim) -> Image.Image:
    try:
        return Image.open(path, formats=[claim.decoder])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError(f"The image has more than {MAX_PIXELS // 1_000_000} megapixels.") from None
    except Exception as error:
        raise UndecodableError(_broken(claim)) from error


def _load(image: Image.Image, claim: Claim) -> int | None:
    """Decode the first frame; returns its orientation. On damaged files decoders raise all kinds of errors."""
    try:
        image.load()
        return image.getexif().get(_EXIF_ORIENTATION)
    except MemoryError:
        raise UndecodableError("The image needs too much memory.") from None
    except Exception as error:
        raise UndecodableError(_broken(claim)) from error


def _broken(claim: Claim) -> str:
    return f"The file begins like {claim.media_type}, but it can't be decoded."


# Sound and video --------------------------------------------------------------------------------------------------


def _probe_av(path: Path, claim: Claim) -> MediaInfo:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        try:
            with av.open(file, "r", format=claim.decoder, options=_PROBE) as container:
                return _describe(container, claim, head)
        except FFmpegError as error:
            raise UndecodableError(_broken(claim)) from error


def _describe(container: Any, claim: Claim, head: bytes) -> MediaInfo:
    # A cover picture inside a sound file is a video stream too, so a claim of sound is believed.
    has_video = bool(container.streams.video) and (claim.kind == "video" or claim.decoder == "ogg")
    if not has_video and not container.streams.audio:
        raise UndecodableError(_broken(claim))
    stream = container.streams.video[0] if has_video else container.streams.audio[0]
    claim = _refine(claim, head, has_video=has_video)
    if next(iter(container.decode(stream)), None) is None:
        raise UndecodableError(_broken(claim))
    duration_s = _duration_s(container, stream)
    if not has_video:
        return MediaInfo("audio", claim.media_type, claim.extension, duration_s=duration_s)
    if not (0 < stream.width <= _MAX_VIDEO_SIDE and 0 < stream.height <= _MAX_VIDEO_SIDE):
        raise UndecodableError(f"The video is larger than {_MAX_VIDEO_SIDE} pixels.")
    return MediaInfo("video", claim.media_type, claim.extension, stream.width, stream.height, duration_s)


def _refine(claim: Claim, head: bytes, *, has_video: bool) -> Claim:
    """The type that follows from the streams: containers hold either."""
    if claim.decoder == "matroska":
        claim = webm(head) or claim
    if has_video:
        return Claim("video", "video/ogg", "ogv") if claim.decoder == "ogg" else claim
    if claim.media_type in {"video/mp4", "video/quicktime"}:
        return Claim("audio", "audio/mp4", "m4a")
    return Claim("audio", claim.media_type.replace("video/", "audio/"), claim.extension)


def _duration_s(container: Any, stream: Any) -> float | None:
    if container.duration is not None:
        return round(container.duration / av.time_base, 3)
    if stream.duration is not None and stream.time_base is not None:
        return round(float(stream.duration * stream.time_base), 3)
    return None


def _first_frame(path: Path, claim: Claim) -> Image.Image:
    try:
        with path.open("rb") as file, av.open(file, "r", format=claim.decoder, options=_PROBE) as container:
            frame: Any = next(iter(container.decode(video=0)), None)
            if frame is None or frame.width * frame.height > MAX_PIXELS:
                raise UndecodableError(_broken(claim))
            return frame.to_image()
    except (FFmpegError, IndexError) as error:
        raise UndecodableError(_broken(claim)) from error
