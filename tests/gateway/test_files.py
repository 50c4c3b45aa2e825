"""`/files` over HTTP: upload, signed download, ranges, validators, hostile names and contents."""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from genpulse.gateway.upload import FIELD
from tests.gateway.serving import PICTURE, GatewaySystem, Json, Served

CONTENT = os.urandom(1000)


async def _upload(served: Served, content: bytes = CONTENT, name: str = "data.bin") -> Json:
    answer = await served.http.post("/files", files={FIELD: (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_upload_has_the_shape_of_an_output(served: Served) -> None:
    answer = await served.http.post("/files", files={FIELD: ("../my pic.jpg", PICTURE, "text/html")})
    output = answer.json()
    assert answer.status_code == 201 and answer.headers["location"] == output["url"]
    assert (output["kind"], output["media_type"], output["width"], output["height"]) == ("image", "image/png", 4, 3)
    assert (output["name"], output["bytes"]) == ("my pic.png", len(PICTURE))
    assert output["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    got = await served.http.get(output["url"])
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, PICTURE, "image/png")
    assert got.headers["content-disposition"].startswith('inline; filename="my_pic.png"; filename*=UTF-8')


async def test_an_upload_leaves_no_copy(served: Served) -> None:
    await _upload(served)
    await served.http.post("/files", files={FIELD: ("x.png", PICTURE[:40])})
    assert list((served.system.folder / "incoming").iterdir()) == []


NAMES = [
    ("../../etc/passwd", "passwd"),
    ("a\\b\\c.txt", "c"),
    ("日本.bin", "日本.bin"),
    ("CON", "file"),
    ("-rf", "rf"),
    ("a\u202etxt.exe", "atxt"),
    ("x" * 300, "x" * 116 + ".bin"),
]


async def test_hostile_names_are_made_safe(served: Served) -> None:
    for name, kept in NAMES:
        output = await _upload(served, name=name)
        assert output["name"].removesuffix(".bin") == kept.removesuffix(".bin")
        got = await served.http.get(output["url"])
        assert got.content == CONTENT
        disposition = got.headers["content-disposition"]
        assert disposition.startswith("attachment; ") and disposition.isascii()
        assert re.search(r'filename="[A-Za-z0-9._-]+"', disposition)


@pytest.mark.parametrize("content", [PICTURE[:40], b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"\xff\xd8\xff\xe0" + b"x" * 50])
async def test_fake_pictures_are_refused(served: Served, content: bytes) -> None:
    answer = await served.http.post("/files", files={FIELD: ("a.png", content)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media")


@pytest.mark.parametrize("content", [b"<html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
async def test_what_a_browser_would_run_is_never_shown(served: Served, content: bytes) -> None:
    output = await _upload(served, content, "page.png")
    got = await served.http.get(output["url"])
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert got.headers["x-content-type-options"] == "nosniff"


def _multipart(*parts: str, end: str = "--b--\r\n") -> bytes:
    return ("".join(f"--b\r\n{part}\r\n" for part in parts) + end).encode()


_FILE = 'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nx'


UPLOADS = [
    (_multipart(_FILE), 201),
    (_multipart(_FILE, _FILE), 422),
    (_multipart('Content-Disposition: form-data; name="other"\r\n\r\nx', _FILE), 422),
    (_multipart(_FILE, 'Content-Disposition: form-data; name="other"\r\n\r\nx'), 422),
    (_multipart('Content-Disposition: form-data; name="file"\r\n\r\nx'), 422),
    (_multipart('Content-Disposition: form-data; name="image"; filename="a"\r\n\r\nx'), 422),
    (_multipart("X: y\r\n\r\nx"), 422),
    (_multipart(), 422),
    (_multipart(_FILE, end=""), 422),
    (_multipart(_FILE)[:-12], 422),
    (b"", 422),
    (b"garbage", 400),
    (_multipart("a: b\r\n" * 100 + _FILE), 400),
    (_multipart("a: " + "b" * 5000 + "\r\n" + _FILE), 400),
]


async def test_malformed_uploads_are_refused(served: Served) -> None:
    for body, status in UPLOADS:
        answer = await served.http.post(
            "/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code == status, answer.text


NO_MULTIPART = [
    "application/json",
    "multipart/form-data",
    "multipart/mixed; boundary=b",
    "",
    "multipart/form-data; boundary=",
]


async def test_only_multipart_is_taken(served: Served) -> None:
    for media_type in NO_MULTIPART:
        answer = await served.http.post("/files", content=_multipart(_FILE), headers={"Content-Type": media_type})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media")


async def test_uploads_over_the_limit_are_cut_off(make_served: Callable[..., Awaitable[Served]]) -> None:
    served = await make_served(max_upload_mb=1)
    await _upload(served, b"x" * (1 << 20))
    head = b"POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    status, _, _ = await served.raw(head + b"Content-Length: 99999999\r\n\r\n")
    assert status == 413
    large = _multipart(_FILE + "x" * (1 << 20))
    status, _, body = await served.raw(
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    )
    assert status == 413 and b"payload_too_large" in body
    assert list((served.system.folder / "incoming").iterdir()) == []


async def test_an_upload_that_breaks_off_leaves_nothing(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 5000\r\n\r\n" + _multipart(_FILE, end="")
    )
    folder = served.system.folder / "incoming"
    async with asyncio.timeout(5):
        while not (folder.is_dir() and list(folder.iterdir())):
            await asyncio.sleep(0.005)
        writer.close()
        while list(folder.iterdir()):
            await asyncio.sleep(0.005)


async def test_what_a_killed_server_left_is_swept(
    make_served: Callable[..., Awaitable[Served]], tmp_path: Path
) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    old, new = folder / "upload-old", folder / "upload-new"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    await make_served()
    assert (old.exists(), new.exists()) == (False, True)


async def test_a_full_disk_is_told_before_the_upload(served: Served) -> None:
    served.system.files._min_free_bytes = 1 << 60
    answer = await served.http.post("/files", files={FIELD: ("a", b"x")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert int(answer.headers["retry-after"]) > 0
    submitted = await served.http.post("/task", json={"task_type": "paint"})
    assert (submitted.status_code, submitted.json()["error"]["code"]) == (507, "storage_full")
    status = await served.http.get("/status")
    assert (status.status_code, status.json()["status"]) == (503, "unavailable")


RANGES = [
    ("bytes=0-9", 206, slice(0, 10), "bytes 0-9/1000"),
    ("bytes=990-", 206, slice(990, 1000), "bytes 990-999/1000"),
    ("bytes=-5", 206, slice(995, 1000), "bytes 995-999/1000"),
    ("bytes=-5000", 206, slice(0, 1000), "bytes 0-999/1000"),
    ("bytes=500-99999999999", 206, slice(500, 1000), "bytes 500-999/1000"),
    ("Bytes=0-0", 206, slice(0, 1), "bytes 0-0/1000"),
    ("bytes=1000-", 416, None, "bytes */1000"),
    ("bytes=-0", 416, None, "bytes */1000"),
    ("bytes=0-1,5-6", 200, slice(0, 1000), None),
    ("bytes=9-1", 200, slice(0, 1000), None),
    ("bytes=-", 200, slice(0, 1000), None),
    ("bytes=a-b", 200, slice(0, 1000), None),
    ("items=0-1", 200, slice(0, 1000), None),
]


async def test_ranges(served: Served) -> None:
    url = (await _upload(served))["url"]
    for asked, status, part, told in RANGES:
        got = await served.http.get(url, headers={"Range": asked})
        assert (got.status_code, got.headers.get("content-range")) == (status, told), asked
        if part is None:
            assert got.headers["content-type"] == "application/problem+json"
            continue
        assert got.content == CONTENT[part], asked
        assert int(got.headers["content-length"]) == len(CONTENT[part])
        assert got.headers["accept-ranges"] == "bytes"


async def test_validators(served: Served) -> None:
    output = await _upload(served)
    url, etag = output["url"], f'"{output["sha256"]}"'
    first = await served.http.get(url)
    assert first.headers["etag"] == etag
    assert re.fullmatch(r"private, immutable, max-age=\d+", first.headers["cache-control"])
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        for method in ("GET", "HEAD"):
            same = await served.http.request(method, url, headers={"If-None-Match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (await served.http.get(url, headers={"If-None-Match": '"x"'})).status_code == 200
    fresh = await served.http.get(url, headers={"Range": "bytes=0-9", "If-Range": etag})
    stale = await served.http.get(url, headers={"Range": "bytes=0-9", "If-Range": '"x"'})
    weak = await served.http.get(url, headers={"Range": "bytes=0-9", "If-Range": f"W/{etag}"})
    assert [fresh.status_code, stale.status_code, weak.status_code] == [206, 200, 200]


async def test_head_shows_the_headers_only(served: Served) -> None:
    url = (await _upload(served))["url"]
    head = await served.http.head(url, headers={"Range": "bytes=0-9"})
    got = await served.http.get(url)
    assert (head.status_code, head.content) == (200, b"")
    different = {"date", "x-request-id", "cache-control"}
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in got.headers.items() if k not in different
    }


async def test_an_empty_file(served: Served) -> None:
    url = (await _upload(served, b""))["url"]
    got = await served.http.get(url)
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")
    assert (await served.http.get(url, headers={"Range": "bytes=0-"})).status_code == 416


async def test_bad_and_expired_urls(served: Served) -> None:
    output = await _upload(served)
    file_id, signer = output["file_id"], served.system.signer
    path, query = output["url"].removeprefix(served.url).split("?")
    other = (await _upload(served))["file_id"]
    now = int(time.time())
    for bad in (
        path,
        f"{path}?{query}x",
        f"{path}?{query.replace('exp=', 'exp=9')}",
        f"{path}?{signer.query(file_id, now - 1)}",
        f"{path}?{signer.query(other, now + 60)}",
        f"{path}?exp=&sig=",
        f"{path}?exp=9e9&sig=é",
        f"/files/nope/x?{query}",
        f"/files/{file_id.upper()}/x?{query}",
    ):
        for method in ("GET", "HEAD"):
            answer = await served.http.request(method, bad)
            assert answer.status_code == 403, bad
            assert method == "HEAD" or answer.json()["error"]["code"] == "url_expired"
    assert (await served.http.get(f"/files/{file_id}/other-name?{query}")).content == CONTENT
    unknown = f"/files/nope/x?{signer.query('nope', now + 60)}"
    assert (await served.http.get(unknown)).status_code == 404


async def test_a_deleted_file_is_gone(served: Served, system: GatewaySystem) -> None:
    output = await _upload(served)
    file = await system.files.find(output["file_id"])
    assert file is not None
    await system.storage.delete(file.key)  # lost bytes: noticed before the answer begins
    lost = await served.http.get(output["url"])
    assert (lost.status_code, lost.json()["error"]["code"]) == (410, "not_found")
    await system.files.delete(file)
    for method in ("GET", "HEAD"):
        answer = await served.http.request(method, output["url"])
        assert answer.status_code == 410
        assert method == "HEAD" or answer.json()["error"]["code"] == "not_found"


async def test_a_large_file_streams(served: Served) -> None:
    content = os.urandom(1 << 20) * 5
    output = await _upload(served, content)
    got = await served.http.get(output["url"])
    assert hashlib.sha256(got.content).hexdigest() == output["sha256"]
    part = await served.http.get(output["url"], headers={"Range": "bytes=1048570-3145730"})
    assert part.content == content[1048570:3145731]


async def test_a_download_that_breaks_is_seen_to_be_broken(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = (await _upload(served))["url"]

    async def breaking(*_: object) -> AsyncIterator[bytes]:
        yield CONTENT[:10]
        raise OSError("the disk is broken")

    monkeypatch.setattr(served.system.storage, "get", breaking)
    with pytest.raises(httpx2.RemoteProtocolError):
        await served.http.get(url)
    assert "the disk is broken" in caplog.text


async def test_an_upload_is_an_input(served: Served) -> None:
    output = await _upload(served, PICTURE, "in.png")
    async with served.system.working():
        task = await served.finished("measure", params={"file": {"file_id": output["file_id"]}})
    assert task["result"]["data"] == {"bytes": len(PICTURE)}
