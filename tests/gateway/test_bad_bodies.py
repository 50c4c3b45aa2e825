"""Bad bodies on both databases: each is refused with a problem, nothing of it is kept, the loop stays free."""

import json
from collections.abc import AsyncIterator

import pytest

from genpulse.core.strict_json import MAX_BYTES
from tests.gateway.hostile import check, send, watched_loop
from tests.gateway.hostile_bodies import BODIES
from tests.gateway.serving import GatewaySystem, Served, serving


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def served(system: GatewaySystem) -> AsyncIterator[Served]:
    async with serving(system) as made:
        yield made


@pytest.mark.parametrize("kind", BODIES)
async def test_bad_bodies_are_refused_and_leave_nothing(served: Served, kind: str) -> None:
    for hostile in BODIES[kind]:
        async with watched_loop(hostile.name):
            answer = await send(served.port, hostile)
        check(hostile, answer)
    assert (await served.http.get("/task")).json()["tasks"] == []


async def test_errors_name_the_params(served: Served) -> None:
    answer = await served.http.post("/task", json={"task_type": "paint", "params": {"width": 1, "heigth": 2}})
    problem = answer.json()
    assert [error["field"] for error in problem["errors"]] == ["params.width", "params.heigth"]
    assert (problem["error"]["code"], problem["error"]["param"]) == ("invalid_params", "params.width")


async def test_bodies_over_the_limit_are_refused_before_they_are_read(served: Served) -> None:
    head = b"POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    # The announced body never comes: the answer must.
    status, _, body = await served.raw(head + b"Content-Length: %d\r\n\r\n" % (MAX_BYTES + 1))
    assert (status, json.loads(body)["error"]["code"]) == (413, "payload_too_large")
    status, _, _ = await served.raw(head + b"Content-Length: %s\r\n\r\n" % (b"9" * 18))
    assert status == 413
    chunk = b"%x\r\n%s\r\n" % (MAX_BYTES + 1, b"x" * (MAX_BYTES + 1))
    status, _, _ = await served.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert status == 413


@pytest.mark.parametrize(
    "media_type",
    [
        *("application/json", "application/json; charset=UTF-8", 'application/json;charset="utf-8"'),
        "application/vnd.x+json",
    ],
)
async def test_json_under_its_other_names_is_taken(served: Served, media_type: str) -> None:
    answer = await served.http.post("/task", content=b'{"task_type": "tick"}', headers={"Content-Type": media_type})
    assert answer.status_code == 202


async def test_what_is_allowed_survives(served: Served) -> None:
    params = {"workflow": {"3": {"seed": 2**64 - 1}}, "n": 2**53, "f": 1.5e300, "text": "é😀", "": {"\x7f": "\u2028"}}
    task = await served.submit("tick", params=params, callback_url="https://example.com:8443/a?b=c")
    assert (await served.http.get(f"/task/{task['task_id']}")).json()["params"] == params
