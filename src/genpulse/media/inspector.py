"""`MediaInspector`: tells what a local file really is by decoding it in a child process within limits.

The content decides, never the name: kind, media type, extension, size, duration. A file that begins like a picture, a
sound or a video but can't be decoded is refused. Without the `local` extra (Pillow, PyAV) files are told by their
first bytes only: no sizes, no durations, nothing refused, no thumbnails.
"""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

from genpulse.core.models import MediaInfo
from genpulse.errors import TaskError
from genpulse.media.child_process import ChildDiedError, ChildPool, ChildProcess, Message
from genpulse.media.sniff import sniff

_MEMORY_MB = 1024
_FILE_S = 20
_CHILDREN = 2
_IDLE_S = 120.0


class MediaInspector:
    """Implements `core.ports.Inspector`, and makes thumbnails. Children are started when first needed."""

    def __init__(self, *, file_s: int = _FILE_S) -> None:
        """Args:
        file_s: a file that takes longer is `input_unreadable`.
        """
        self._file_s = file_s
        self._slots = asyncio.Semaphore(_CHILDREN)
        self._pool = ChildPool(_launch, idle_s=_IDLE_S)

    async def inspect(self, path: Path, *, name: str = "") -> MediaInfo:
        """What the file is.

        Raises:
            TaskError: `input_unreadable` when it claims to be media but can't be decoded within the limits.
        """
        del name  # a name may say anything
        if not can_decode():
            claim = await asyncio.to_thread(sniff, path)
            return MediaInfo(claim.kind, claim.media_type, claim.extension)
        return await self._ask({"path": str(path)})

    async def thumbnail(self, path: Path, target: Path, *, size: int = 320) -> MediaInfo:
        """Write a WebP of at most `size` pixels a side of an image, or of a video's first frame.

        Raises:
            TaskError: `input_unreadable` when there is no picture in it, or no decoder installed.
        """
        if not can_decode():
            raise TaskError("input_unreadable", 'Thumbnails need more packages: pip install "genpulse[local]".')
        return await self._ask({"path": str(path), "thumbnail": str(target), "size": size})

    async def close(self) -> None:
        """End the child processes."""
        await self._pool.close()

    async def _ask(self, request: Message) -> MediaInfo:
        try:
            try:
                answer = await self._ask_child(request)
            except ChildDiedError:
                # A warm child may have died idle: only a file that ends a second one is to blame.
                answer = await self._ask_child(request)
        except TimeoutError as error:
            message = f"Decoding the file took longer than {self._file_s} s."
            raise TaskError("input_unreadable", message) from error
        except ChildDiedError as error:
            raise TaskError("input_unreadable", "Decoding the file broke its decoder.") from error
        if "undecodable" in answer:
            raise TaskError("input_unreadable", str(answer["undecodable"]))
        if "unreadable" in answer:
            raise TaskError("input_unreadable", f"The file can't be read ({answer['unreadable']}).")
        return MediaInfo(**answer["info"])

    async def _ask_child(self, request: Message) -> Message:
        async with self._slots, self._pool.lease() as child:
            return await child.ask({**request, "cpu_s": self._file_s}, timeout_s=self._file_s)


async def _launch() -> ChildProcess:
    return await ChildProcess.start(
        "genpulse.media.decoder_host", label="media decoder", hello={"memory_mb": _MEMORY_MB}
    )


def can_decode() -> bool:
    """Are the decoders installed?"""
    return all(importlib.util.find_spec(name) is not None for name in ("PIL", "av"))
