"""What every `core.ports.Storage` must do. A subclass gives the fixture `storage`: an empty one."""

import asyncio
import os
from pathlib import Path

import pytest

from genpulse.core.ports import Storage

KEY = "alice/0192/output.bin"


async def put(storage: Storage, folder: Path, content: bytes, key: str = KEY) -> None:
    source = folder / "source.bin"
    source.write_bytes(content)
    await storage.put_file(key, source, "application/octet-stream")
    source.unlink()


async def read(storage: Storage, key: str = KEY, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.get(key, start, end)])


class StorageContract:
    @pytest.mark.parametrize("size", [0, 1, 300_000, 12_000_000])
    async def test_gives_back_what_was_put(self, storage: Storage, tmp_path: Path, size: int) -> None:
        content = os.urandom(size)
        await put(storage, tmp_path, content)
        assert await read(storage) == content

    async def test_chunks_are_bytes_of_a_bounded_size(self, storage: Storage, tmp_path: Path) -> None:
        await put(storage, tmp_path, os.urandom(3_000_000))
        chunks = [chunk async for chunk in storage.get(KEY)]
        assert {type(chunk) for chunk in chunks} == {bytes}
        assert sum(map(len, chunks)) == 3_000_000

    async def test_ranges(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(1000)
        await put(storage, tmp_path, content)
        assert await read(storage, start=10, end=20) == content[10:20]
        assert await read(storage, start=990) == content[990:]
        assert await read(storage, start=990, end=5000) == content[990:]
        assert await read(storage, start=0, end=1) == content[:1]
        assert await read(storage, start=5, end=5) == b""
        assert await read(storage, start=1000) == b""
        assert await read(storage, start=2000, end=3000) == b""

    async def test_a_put_replaces(self, storage: Storage, tmp_path: Path) -> None:
        await put(storage, tmp_path, b"old and longer")
        await put(storage, tmp_path, b"new")
        assert await read(storage) == b"new"

    async def test_a_missing_key(self, storage: Storage) -> None:
        for start, end in ((0, None), (5, 10), (3, 3)):
            with pytest.raises(FileNotFoundError):
                await read(storage, "no/such", start, end)

    async def test_a_missing_source(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            await storage.put_file(KEY, tmp_path / "nothing", "image/png")

    async def test_delete_ignores_what_is_missing(self, storage: Storage, tmp_path: Path) -> None:
        for key in ("a/1", "a/2", "b/1"):
            await put(storage, tmp_path, b"x", key)
        await storage.delete("a/1", "no/such", "b/1")
        await storage.delete("a/1")
        await storage.delete()
        with pytest.raises(FileNotFoundError):
            await read(storage, "a/1")
        assert await read(storage, "a/2") == b"x"

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a/./b", "a//b"])
    async def test_keys_stay_inside(self, storage: Storage, tmp_path: Path, key: str) -> None:
        with pytest.raises(ValueError, match="path"):
            await put(storage, tmp_path, b"x", key)
        with pytest.raises(ValueError, match="path"):
            await read(storage, key)

    async def test_many_at_once(self, storage: Storage, tmp_path: Path) -> None:
        async def one(n: int) -> None:
            folder = tmp_path / f"from-{n}"
            folder.mkdir()
            await put(storage, folder, b"%d" % n * 1000, f"many/{n}/x")
            assert await read(storage, f"many/{n}/x") == b"%d" % n * 1000
            await storage.delete(f"many/{n}/x")

        await asyncio.gather(*(one(n) for n in range(50)))

    async def test_check(self, storage: Storage) -> None:
        await storage.check()
