"""The bad-input list over HTTP, on both databases: each is refused with a problem, and nothing of it is kept."""

import json
from collections.abc import AsyncIterator

import pytest

from genpulse.core.strict_json import MAX_BYTES
from tests.gateway.serving import GatewaySystem, Served, serving

SECRET = "CANARY-7f3a"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def served(system: GatewaySystem) -> AsyncIterator[Served]:
    async with serving(system) as made:
        yield made


def _paint(params: str) -> bytes:
    return b'{"task_type": "tick", "params": {%s}}' % params.encode()


POISON: list[tuple[bytes, int]] = [
    (_paint('"a": NaN'), 422),
    (_paint('"a": Infinity'), 422),
    (_paint('"a": 1e999'), 422),
    (_paint('"a": "\\u0000"'), 422),
    (_paint('"\\u0000": 1'), 422),
    (_paint('"a": "\\ud800"'), 422),
    (_paint('"\\ud800": 1'), 422),
    (_paint(f'"a": {2**63}'), 422),
    (_paint('"a": ' + "9" * 4000), 422),
    (_paint('"seed": 1, "seed": 2'), 400),
    (_paint('"a": ' + '{"a":' * 990 + "1" + "}" * 990), 400),
    (b"[" * 100_000, 400),
    (_paint(",".join(f'"{i}": 1' for i in range(20_000))), 422),
    (json.dumps({"task_type": "tick", **{f"x{i}": 1 for i in range(9_000)}}).encode(), 422),
    (b'{"task_type": "tick", "state": "succeeded"}', 422),
    (b'{"task_type": "tick", "tenant": "other"}', 422),
    (b'{"task_type": "tick", "priority": 1e9}', 422),
    (b'{"task_type": "tick", "priority": "urgent"}', 422),
    (b'{"task_type": "tick", "params": []}', 422),
    (b'{"task_type": "tick", "metadata": {"a": {}}}', 422),
    (b'{"task_type": "tick", "metadata": {"a": "\\u0000"}}', 422),
    (b'{"task_type": "tick", "run_at": "9999-12-31T23:59:59+00:00"}', 422),
    (b'{"task_type": "tick", "run_at": "2026-01-01T00:00:00"}', 422),
    (b'{"task_type": "tick", "deadline_s": -1}', 422),
    (b'{"task_type": "tick", "callback_url": "ftp://x"}', 422),
    (b'{"task_type": "tick", "callback_url": "http://%s"}' % (b"x" * 2050), 422),
    (b'{"task_type": "Tick"}', 422),
    (b'{"task_type": "nope"}', 422),
    (b'{"task_type": "tick", "model": "local/nope"}', 422),
    (b'{"task_type": "tick", "model": "a\\r\\nb"}', 422),
    (b'{"params": {}}', 422),
    (b"null", 422),
    (b"", 422),
    ('{"task_type": "tick"}'.encode("utf-16"), 400),
]


async def test_poison_is_refused_and_leaves_nothing(served: Served) -> None:
    for body, status in POISON:
        answer = await served.http.post("/task", content=body, headers={"Content-Type": "application/json"})
        shown = body[:80]
        assert answer.status_code == status, (shown, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", shown
        problem = answer.json()
        assert problem["status"] == status and problem["error"]["type"] == "invalid_request_error", shown
        assert 0 < len(problem.get("errors", [{}])) <= 20, shown
    assert (await served.http.get("/task")).json()["tasks"] == []


async def test_input_is_never_echoed(served: Served) -> None:
    for body in (
        {"task_type": "paint", "params": {"width": SECRET, "prompt": SECRET}},
        {"task_type": "paint", "params": {SECRET * 9: 1}},
        {"task_type": SECRET},
        {"task_type": "paint", "model": SECRET},
        {"task_type": "paint", "priority": SECRET},
        {"task_type": "paint", "callback_url": SECRET},
    ):
        answer = await served.http.post("/task", json=body)
        assert answer.status_code == 422 and SECRET not in answer.text
    answer = await served.http.post("/task", content=b'{"task_type": "paint", "params": ' + SECRET.encode())
    assert answer.status_code == 400 and SECRET not in answer.text


async def test_validation_names_the_params(served: Served) -> None:
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


MEDIA_TYPES = [
    ({"Content-Type": "application/json"}, 202),
    ({"Content-Type": "application/json; charset=UTF-8"}, 202),
    ({"Content-Type": 'application/json;charset="utf-8"'}, 202),
    ({"Content-Type": "application/vnd.x+json"}, 202),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/json; charset=utf-16"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "application/jsonx"}, 415),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
]


async def test_only_json_is_taken(served: Served) -> None:
    for headers, status in MEDIA_TYPES:
        answer = await served.http.post("/task", content=b'{"task_type": "paint"}', headers=headers)
        assert answer.status_code == status
        assert status == 202 or answer.json()["error"]["code"] == "unsupported_media"


async def test_odd_texts_in_filters_and_metadata_are_safe(served: Served) -> None:
    for value in ("'", "$.a", "%", "x' OR '1'='1", "é😀", "{}"):
        task = await served.submit(metadata={value: value})
        answer = await served.http.get("/task", params={f"metadata.{value}": value})
        assert answer.status_code == 200, (value, answer.text)
        assert [found["task_id"] for found in answer.json()["tasks"]] == [task["task_id"]], value
    for query in ({"task_type": "'"}, {"model": "é"}, {"metadata.a": "b" * 5_000}):
        assert (await served.http.get("/task", params=query)).json() == {"tasks": [], "next_cursor": None}


async def test_large_numbers_that_are_allowed_survive(served: Served) -> None:
    params = {"workflow": {"3": {"seed": 2**64 - 1}}, "n": 2**53, "f": 1.5e300, "text": "é😀"}
    task = await served.submit("tick", params=params)
    assert (await served.http.get(f"/task/{task['task_id']}")).json()["params"] == params
