"""Object storage on a local disk and in memory (which takes the same way as the cloud stores)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from obstore.store import GCSStore, MemoryStore, S3Store

from genpulse.storage import ObjectStorage
from tests.contracts.storage_contract import KEY, StorageContract, put, read


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> ObjectStorage:
        return ObjectStorage.from_url(None, tmp_path / "data")


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> ObjectStorage:
        return ObjectStorage(MemoryStore())


@pytest.fixture
def local(tmp_path: Path) -> ObjectStorage:
    return ObjectStorage.from_url(None, tmp_path)


async def test_local_files_lie_in_a_private_folder(local: ObjectStorage, tmp_path: Path) -> None:
    await put(local, tmp_path, b"x")
    assert (tmp_path / "files" / KEY).read_bytes() == b"x"
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


async def test_the_last_file_of_a_folder_takes_it_along(local: ObjectStorage, tmp_path: Path) -> None:
    await put(local, tmp_path, b"x")
    await local.delete(KEY)
    assert list((tmp_path / "files").iterdir()) == []


async def test_a_file_and_its_folders_are_on_the_disk_before_put_returns(
    local: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    await put(local, tmp_path, b"x")
    root = tmp_path / "files"
    assert synced == [str(root / part) for part in (KEY, "alice/0192", "alice", "")]


async def test_large_files_are_not_held_in_memory(local: ObjectStorage, tmp_path: Path) -> None:
    """In a process of its own: a file of 200 MB goes in and out within 60 MB more."""
    program = """
import asyncio, resource, sys
from pathlib import Path
from genpulse.storage import ObjectStorage
async def main():
    folder = Path(sys.argv[1])
    storage = ObjectStorage.from_url(None, folder)
    source = folder / "large"
    with source.open("wb") as file:
        file.truncate(200_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await storage.put_file("a/b", source, "video/mp4")
    assert sum([len(chunk) async for chunk in storage.get("a/b")]) == 200_000_000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    grown_kib = int(done.stdout) if sys.platform == "linux" else int(done.stdout) // 1024
    assert grown_kib < 60_000


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits are tried on Linux")
async def test_no_space_is_storage_full_and_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own whose files may have 1 MB: the disk says no in the middle of a file."""
    program = """
import asyncio, resource, signal, sys
from pathlib import Path
from genpulse.errors import RequestError
from genpulse.storage import ObjectStorage
async def main():
    folder = Path(sys.argv[1])
    storage = ObjectStorage.from_url(None, folder)
    source = folder / "large"
    with source.open("wb") as file:
        file.truncate(20_000_000)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        await storage.put_file("a/b", source, "video/mp4")
    except RequestError as error:
        print(error.code, error.status)
    print([path.name for path in (folder / "files").rglob("*") if path.is_file()])
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["storage_full 507", "[]"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to mount a small disk")
async def test_a_full_disk_is_storage_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False).returncode != 0:
        pytest.skip("may not mount here")
    try:
        storage = ObjectStorage.from_url(None, disk)
        await put(storage, tmp_path, b"small")
        with pytest.raises(Exception, match="out of disk space") as failure:
            await put(storage, tmp_path, os.urandom(4_000_000), "b/large")
        assert failure.value.code == "storage_full"
        assert await read(storage) == b"small"
        free = await storage.free_bytes()
        assert free is not None
        assert free < 3_000_000
        assert not (disk / "files" / "b" / "large").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_free_space_is_known_of_disks_only(local: ObjectStorage, tmp_path: Path) -> None:
    free = await local.free_bytes()
    assert free is not None
    assert abs(free - shutil.disk_usage(tmp_path).free) < 1_000_000_000
    assert await ObjectStorage(MemoryStore()).free_bytes() is None


async def test_check_tells_what_is_wrong(local: ObjectStorage, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "files")
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(Exception, match="Not a directory"):
        await local.check()


async def test_content_types_reach_stores_that_keep_them(tmp_path: Path) -> None:
    store = MemoryStore()
    source = tmp_path / "x.png"
    source.write_bytes(b"x")
    await ObjectStorage(store).put_file("a/x", source, "image/png")
    assert (await store.get_async("a/x")).attributes["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("url", "kind", "prefix"),
    [("s3://bucket/pre/fix", S3Store, "pre/fix"), ("s3://bucket", S3Store, None), ("gs://bucket/p", GCSStore, "p")],
)
def test_cloud_urls(url: str, kind: type, prefix: str | None, tmp_path: Path) -> None:
    store = ObjectStorage.from_url(url, tmp_path)._store
    assert isinstance(store, kind)
    assert store.prefix == prefix
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("url", ["http://bucket", "memory://", "/a/path", "ftp://x:secret@y"])
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must start with s3://") as failure:
        ObjectStorage.from_url(url, tmp_path)
    assert "secret" not in str(failure.value)


def test_incomplete_cloud_settings_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=r"GENPULSE_STORAGE_URL.*Account must be specified"):
        ObjectStorage.from_url("az://container/prefix", tmp_path)
