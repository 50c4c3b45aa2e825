"""Files by key on a local disk, S3, Google Cloud Storage or Azure, through obstore.

Promises that a file which `put_file` returned for is whole and, on a local disk, survives a power cut; that no file is
ever held in memory as a whole; and that a full disk is told as `storage_full`. Refuses keys that leave its folder.

Credentials and endpoints of cloud stores come from where their own tools read them (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import shutil
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store, from_url

from genpulse.errors import RequestError

CHUNK = 256 * 1024
_SCHEMES = ("s3", "gs", "az")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

Store: TypeAlias = LocalStore | S3Store | GCSStore | AzureStore | MemoryStore


class ObjectStorage:
    """Implements `core.ports.Storage`."""

    def __init__(self, store: Store, *, root: Path | None = None) -> None:
        """`root` is the folder of a local store."""
        self._store = store
        self._root = root

    @classmethod
    def from_url(cls, url: str | None, data_dir: Path) -> ObjectStorage:
        """The storage of GENPULSE_STORAGE_URL: s3://bucket/prefix, gs://bucket/…, az://container/…; else local.

        Raises:
            ValueError: the address is not one of these, or incomplete; never shows secrets in it.
        """
        if url is None:
            root = (data_dir / "files").absolute()
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(LocalStore(root, automatic_cleanup=True), root=root)
        scheme = url.partition("://")[0]
        if scheme not in _SCHEMES:
            raise ValueError("GENPULSE_STORAGE_URL must start with s3://, gs:// or az://")
        limits: dict[str, Any] = {
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
            # `timeout` would limit a whole upload or download, however large.
            "client_options": {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(minutes=30)},
        }
        make: Any = from_url  # typed by one overload per provider
        try:
            return cls(make(url, **limits))
        except BaseError as error:
            raise ValueError(f"GENPULSE_STORAGE_URL: {_first_line(error)}") from error

    async def put_file(self, key: str, path: Path, media_type: str) -> None:
        """Store a local file durably, replacing what was there.

        Raises:
            RequestError: `storage_full`.
            FileNotFoundError: there is no such local file.
        """
        # LocalStore knows no content types; the ledger has them.
        attributes = None if self._root else {"Content-Type": media_type}
        try:
            await obstore.put_async(self._store, key, path, attributes=attributes, max_concurrency=4)
            if self._root:
                await asyncio.to_thread(_sync, self._root, self._root / key)
        except (BaseError, OSError) as error:
            if _errno(error) in _FULL:
                raise RequestError("storage_full", "The server is out of disk space.", retry_after_s=60) from error
            raise

    async def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """Bytes `start`…`end` (exclusive; what lies past the end of the file is left out) in chunks of 256 KiB.

        Raises:
            FileNotFoundError: at the first chunk, when there is no such key.
        """
        if start == 0 and end is None:
            found = await obstore.get_async(self._store, key)
        else:  # a range that lies outside or is empty is an error for most stores, so the size must be known
            size = (await obstore.head_async(self._store, key))["size"]
            end = size if end is None else min(end, size)
            if start >= end:
                return
            found = await obstore.get_async(self._store, key, options={"range": (start, end)})
        async for chunk in found.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    async def delete(self, *keys: str) -> None:
        """Delete; a missing key is no error."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue

    async def check(self) -> None:
        """Write, read and delete a probe; raises what went wrong."""
        key, content = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
        await obstore.put_async(self._store, key, content)
        found = bytes(await (await obstore.get_async(self._store, key)).bytes_async())
        await obstore.delete_async(self._store, key)
        if found != content:
            raise OSError("the storage gave back other bytes than were written")

    async def free_bytes(self) -> int | None:
        """Free space of a local disk, else None."""
        if self._root is None:
            return None
        return (await asyncio.to_thread(shutil.disk_usage, self._root)).free


def _sync(root: Path, path: Path) -> None:
    """Put a file and its directory entries on the disk; obstore renames into place without any fsync."""
    _fsync(path)
    for folder in path.parents:
        _fsync(folder)
        if folder == root:
            return


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _errno(error: BaseError | OSError) -> int | None:
    """Obstore tells the number in its message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _OS_ERROR.search(str(error))
    return int(match[1]) if match else None


def _first_line(error: BaseError) -> str:
    """Obstore adds its configuration, credentials included, after the first line."""
    return str(error).partition("\n")[0]
