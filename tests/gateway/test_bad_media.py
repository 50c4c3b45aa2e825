"""Hostile files and names on both databases: refused, or stored under our keys and served as what they are."""

import base64
import json
import re
from collections.abc import AsyncIterator

import pytest

from tests.gateway.hostile import CANARY, Hostile, check, http, send, watched_loop
from tests.gateway.hostile_media import FILES, NAMES, HostileFile, form, saved, upload
from tests.gateway.serving import GatewaySystem, Json, Served, serving

KEY = re.compile(r"default/uploads/[0-9a-f-]{36}\.[a-z0-9]{2,5}")
SHOWN = ("image/png", "image/jpeg", "image/gif", "audio/", "video/")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def served(system: GatewaySystem) -> AsyncIterator[Served]:
    async with serving(system) as made:
        yield made


async def _safely_served(served: Served, output: Json, media_type: str) -> None:
    """Stored under a key of ours, its type is ours, and browsers run nothing of it."""
    assert output["media_type"] == media_type
    name: str = output["name"]
    assert 0 < len(name.encode()) <= 120 and name.isprintable() and not re.search(r'[/\\:*?"<>|%]|^[.\s-]|\s$', name), (
        name
    )
    file = await served.system.ledger.file(output["file_id"])
    assert file is not None and KEY.fullmatch(file.key), file
    got = await served.http.get(output["url"].removeprefix("http://localhost"))
    assert got.headers["content-type"].partition(";")[0] == media_type
    shown = got.headers["content-disposition"]
    assert shown.startswith("inline; " if media_type.startswith(SHOWN) else "attachment; "), shown
    assert re.fullmatch(
        r"(inline|attachment); filename=\"[\w.-]+\"(; filename\*=UTF-8''[\w.%~-]+)?", shown, re.ASCII
    ), shown
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("kind", FILES)
async def test_hostile_files_are_refused_or_told_by_their_real_type(served: Served, kind: str) -> None:
    for file in FILES[kind]:
        hostile = upload(file.name, form(file.content), 415 if file.media_type is None else 201)
        async with watched_loop(file.name):
            answer = await send(served.port, hostile)
        check(hostile, answer)
        if file.media_type is not None:
            await _safely_served(served, answer.json(), file.media_type)
    assert list((served.system.folder / "incoming").iterdir()) == []


async def test_hostile_names_are_made_safe(served: Served) -> None:
    content = saved("PNG")
    for name in NAMES:
        for disposition in (b'form-data; name="file"; filename="%s"', b"form-data; name=file; filename*=UTF-8''%s"):
            hostile = upload(repr(name), form(content, disposition % name), 201, 400, 422)
            answer = await send(served.port, hostile)
            check(hostile, answer)
            if answer.status == 201:
                await _safely_served(served, answer.json(), "image/png")
                assert answer.json()["name"].endswith(".png")


def _data(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_hostile_files_inside_a_request_reach_no_handler(served: Served) -> None:
    small = [file for files in FILES.values() for file in files if len(file.content) < 500_000]
    sent: list[tuple[HostileFile, Json]] = []
    for number, file in enumerate(small):
        data = _data(file.content)
        shapes = [f"data:image/png;base64,{data}", {"data": data, "media_type": "image/png"}]
        sent.append((file, await served.submit("measure", params={"file": shapes[number % 2]})))
    async with served.system.working():
        for file, task in sent:
            ended = (await served.http.get(f"/task/{task['task_id']}", params={"wait": 30})).json()
            if (file.media_type or "").startswith(SHOWN):
                assert ended["result"]["data"] == {"bytes": len(file.content)}, (file.name, ended["error"])
            else:
                assert ended["error"]["code"] == "input_unreadable", (file.name, ended)
            assert CANARY.decode() not in str({**ended, "params": None})


UNREADABLE = [
    *("data:", f"data:,{CANARY.decode()}", f"data:image/png;base64,{CANARY.decode()}!", "data:image/png;base64,"),
    *("http://169.254.169.254/latest/meta-data", "http://127.0.0.1:6379/"),
    *({"file_id": "0190f0f0-0000-7000-8000-000000000000"}, {"url": "http://[::1]/"}, {"data": "%", "media_type": "x"}),
]
REFUSED = [
    *("/etc/passwd", "file:///etc/passwd", "../x", f"javascript:{CANARY.decode()}", 1, [], {}, {"path": "/etc/passwd"}),
    *({"file_id": "../../etc/passwd"}, {"url": "file:///etc/passwd"}, {"url": "gopher://x"}, {"data": "AA=="}),
    *({"file_id": "0190f0f0-0000-7000-8000-000000000000", "url": "http://x"}, {"url": f"http://{'x' * 2_050}"}),
]


async def test_inputs_that_are_none_are_refused_or_fail(served: Served) -> None:
    for odd in REFUSED:
        body = json.dumps({"task_type": "measure", "params": {"file": odd}}).encode()
        hostile = Hostile(str(odd), http("POST", "/task", body=body), {422})
        answer = await send(served.port, hostile)
        check(hostile, answer)
        assert all(error["field"].startswith("params.file") for error in answer.json()["errors"]), odd
    sent = [(odd, await served.submit("measure", params={"file": odd})) for odd in UNREADABLE]
    async with served.system.working():
        for odd, task in sent:
            ended = (await served.http.get(f"/task/{task['task_id']}", params={"wait": 30})).json()
            assert ended["status"] == "failed" and ended["error"]["code"] == "input_unreadable", (odd, ended)
            assert CANARY.decode() not in str({**ended, "params": None})
