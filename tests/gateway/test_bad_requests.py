"""Bad paths, queries, headers and framing, on both databases: refused with a problem, never a 5xx, never an echo."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from genpulse.gateway import protocol
from tests.gateway.hostile import CANARY, Hostile, check, http, send, watched_loop
from tests.gateway.hostile_requests import IDS, MISSING, REQUESTS
from tests.gateway.serving import GatewaySystem, Served, serving


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def served(system: GatewaySystem) -> AsyncIterator[Served]:
    async with serving(system) as made:
        yield made


async def _two_tenants(system: GatewaySystem) -> list[dict[str, str]]:
    return [{"Authorization": f"Bearer {(await system.keys.create(name))[0]}"} for name in ("mine", "theirs")]


@pytest.mark.parametrize("kind", REQUESTS)
async def test_bad_requests_are_refused(served: Served, kind: str) -> None:
    for hostile in REQUESTS[kind]:
        async with watched_loop(hostile.name):
            answer = await send(served.port, hostile)
        check(hostile, answer)
    assert (await served.http.get("/task")).json()["tasks"] == []


@pytest.mark.parametrize("suffix", ["", "/events", "/cancel", "/retry"])
async def test_ids_that_are_none_answer_like_a_missing_task(served: Served, suffix: str) -> None:
    """A foreign task's id does too: see `test_tenants_see_nothing_of_each_other`."""
    method = "POST" if suffix in {"/cancel", "/retry"} else "GET"
    missing = await send(served.port, Hostile("missing", http(method, MISSING + suffix), {404}))
    for odd in IDS:
        hostile = Hostile(odd, http(method, f"/task/{odd}{suffix}"), {404})
        answer = await send(served.port, hostile)
        check(hostile, answer)
        # A path that names no route at all tells no more either.
        assert answer.body == missing.body or b"nothing at this address" in answer.body, odd


RESUMES = ["-1", "0", "1e9", "9e99", "99", "9" * 15, "9" * 10_000, "0x1", "١", "<script>", CANARY.decode(), "1,2", ""]


async def test_a_place_to_resume_that_is_none_replays_all(served: Served) -> None:
    async with served.system.working():
        url = (await served.finished())["urls"]["events"]
    for odd in RESUMES:
        by_header = await served.http.get(url, headers={"Last-Event-ID": odd.encode()})
        by_query = await served.http.get(url, params={"after": odd})
        for answer in (by_header, by_query):
            assert (answer.status_code, answer.text.count("id: 1\n")) == (200, 1), odd
            assert CANARY.decode() not in answer.text
    assert (await served.http.get(url, params={"after": "\0"})).status_code == 422


async def test_a_cursor_shows_nothing_of_others(system: GatewaySystem) -> None:
    mine, theirs = await _two_tenants(system)
    async with serving(system, with_keys=True) as served:
        for _ in range(3):
            await served.http.post("/task", json={"task_type": "paint"}, headers=theirs)
        first = await served.http.get("/task", params={"limit": 1}, headers=theirs)
        page = await served.http.get("/task", params={"cursor": first.json()["next_cursor"]}, headers=mine)
    assert page.json() == {"tasks": [], "next_cursor": None}


async def test_odd_texts_in_filters_and_metadata_are_safe(served: Served) -> None:
    for value in ("'", "$.a", "%", "x' OR '1'='1", "é😀", "{}"):
        task = await served.submit(metadata={value: value})
        answer = await served.http.get("/task", params={f"metadata.{value}": value})
        assert answer.status_code == 200, (value, answer.text)
        assert [found["task_id"] for found in answer.json()["tasks"]] == [task["task_id"]], value
    for query in ({"task_type": "'"}, {"model": "é"}, {"metadata.a": "b" * 5_000}):
        assert (await served.http.get("/task", params=query)).json() == {"tasks": [], "next_cursor": None}


async def test_a_whole_request_is_answered_whatever_comes_behind_it(served: Served) -> None:
    request = http("POST", "/task", body=b'{"task_type": "tick"}') + b"\x16\x03 no HTTP\r\n\r\n"
    answer = await send(served.port, Hostile("", request, {202}))
    assert answer.status == 202
    assert len((await served.http.get("/task")).json()["tasks"]) == 1


async def test_a_refused_connection_is_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_LINGER_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"no HTTP\r\n\r\n" + http("GET", "/models"))
    answers = await asyncio.wait_for(reader.read(), 10)
    assert answers.count(b"HTTP/1.1 ") == 1 and b"\r\nconnection: close\r\n" in answers
    writer.close()
