"""The operator's routes: administrators only, any tenant's tasks, bad input refused by name."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from genpulse.core import operations
from genpulse.core.models import State
from tests.gateway.serving import GatewaySystem, Json, Served

Make = Callable[..., Awaitable[Served]]
MISSING = "0190f0f0-0000-7000-8000-000000000000"


def _calls(task_id: str = MISSING) -> list[tuple[str, str, Json | None]]:
    return [
        ("GET", "/pools", None),
        ("POST", "/pools/handlers/pause", None),
        ("POST", "/pools/handlers/resume", None),
        ("POST", f"/task/{task_id}/front", None),
        ("POST", f"/task/{task_id}/priority", {"priority": "high"}),
    ]


async def _code(served: Served, method: str, path: str, **request: Any) -> tuple[int, str]:
    answer = await served.http.request(method, path, **request)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["error"]["code"]


async def test_only_administrators_reach_the_queue(make_served: Make, system: GatewaySystem) -> None:
    served = await make_served(with_keys=True, host="0.0.0.0")
    plain, _ = await system.keys.create("acme")
    admin, _ = await system.keys.create("boss", admin=True)
    owner, other = {"Authorization": f"Bearer {plain}"}, {"Authorization": f"Bearer {admin}"}
    task = (await served.http.post("/task", json={"task_type": "hold"}, headers=owner)).json()
    for method, path, body in _calls(task["task_id"]):
        answer = await served.http.request(method, path, json=body, headers=owner)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
        assert "keys create --admin" in answer.json()["detail"]
        assert await _code(served, method, f"{path}?x=1", headers=owner) == (403, "forbidden"), "before anything else"
        assert await _code(served, method, path) == (401, "unauthorized")
    assert await system.ledger.pools() == {}
    kept = await system.ledger.get("acme", task["task_id"])
    assert kept is not None and (kept.priority, kept.rank) == ("normal", 2)
    for method, path, body in _calls(task["task_id"]):
        assert (await served.http.request(method, path, json=body, headers=other)).status_code == 200, path
    # Administrators look after the queue: to tasks of others they have no other access.
    assert await _code(served, "GET", f"/task/{task['task_id']}", headers=other) == (404, "not_found")


async def test_whoever_needs_no_key_is_an_administrator(make_served: Make, system: GatewaySystem) -> None:
    await system.keys.create("acme")
    insecure = await make_served(with_keys=True, host="0.0.0.0", insecure_no_auth=True)
    for served in (await make_served(), insecure):
        assert (await served.http.get("/pools")).status_code == 200


async def test_a_pool_is_paused_and_resumed(
    served: Served, system: GatewaySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_COUNT_CACHE_S", 0.0)
    system.gate.open.set()
    idle = {"name": "handlers", "paused": False, "queued": 0, "running": 0, "slots": 10, "workers": 1}
    async with system.working():
        assert (await served.http.get("/pools")).json() == {
            "pools": [idle, {**idle, "name": "local", "slots": 0, "workers": 0}]
        }
        paused = await served.http.post("/pools/handlers/pause")
        assert (paused.status_code, paused.json()) == (200, {**idle, "paused": True})
        task = await served.submit("hold")
        again = await served.http.post("/pools/handlers/pause")
        assert again.json() == {**idle, "paused": True, "queued": 1}
        waited = await served.http.get(f"/task/{task['task_id']}", params={"wait": 0.3})
        assert waited.json()["status"] == "pending"
        for _ in range(2):
            assert not (await served.http.post("/pools/handlers/resume")).json()["paused"]
        done = await served.http.get(f"/task/{task['task_id']}", params={"wait": 10})
        assert done.json()["status"] == "completed"


async def test_the_answers_have_the_shape_of_a_task_and_its_new_place(served: Served) -> None:
    first, second = await served.submit("tick"), await served.submit("tick")
    moved = await served.http.post(f"/task/{second['task_id']}/front")
    assert (moved.status_code, moved.json()["queue_position"]) == (200, 1)
    assert {**moved.json(), "queue_position": None, "message": "Task received"} == second
    lowered = await served.http.post(f"/task/{second['task_id']}/priority", json={"priority": "low"})
    assert (lowered.json()["priority"], lowered.json()["queue_position"]) == ("low", 2)
    assert (await served.http.get(f"/task/{first['task_id']}")).json()["queue_position"] == 1


async def test_what_is_not_there_is_not_found(served: Served) -> None:
    for task_id in (MISSING, "x", MISSING.upper(), "%00", "é"):
        assert await _code(served, "POST", f"/task/{task_id}/front") == (404, "not_found"), task_id
        body = {"priority": "high"}
        assert await _code(served, "POST", f"/task/{task_id}/priority", json=body) == (404, "not_found"), task_id
    for name in ("nope", "%00", "é", "x" * 500, "%F0%9F%98%80"):
        for act in ("pause", "resume"):
            assert await _code(served, "POST", f"/pools/{name}/{act}") == (404, "not_found"), name
    assert await served.system.ledger.pools() == {}


async def test_a_task_that_is_not_waiting_is_a_conflict_that_names_its_state(served: Served) -> None:
    task = await served.submit("hold")
    async with served.system.working():
        async with asyncio.timeout(5):
            while not served.system.gate.started:
                await asyncio.sleep(0.01)
        for _, path, body in _calls(task["task_id"])[3:]:
            answer = await served.http.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "invalid_request")
            assert "is processing" in answer.json()["detail"]
        served.system.gate.open.set()
    ended = await served.system.ledger.get_any(task["task_id"])
    assert ended is not None and (ended.state, ended.priority) == (State.SUCCEEDED, "normal")


BODIES: list[tuple[bytes, int, str]] = [
    (b"", 422, "body"),
    (b"{}", 422, "priority"),
    (b"[]", 422, "body"),
    (b'{"priority": "urgent"}', 422, "priority"),
    (b'{"priority": "HIGH"}', 422, "priority"),
    (b'{"priority": null}', 422, "priority"),
    (b'{"priority": 1}', 422, "priority"),
    (b'{"priority": ["high"]}', 422, "priority"),
    (b'{"priority": "high", "rank": 0}', 422, "rank"),
    (b'{"priority": "high", "priority": "low"}', 400, "priority"),
]


async def test_a_bad_priority_is_refused_by_name_and_changes_nothing(served: Served) -> None:
    task = await served.submit("tick")
    path, headers = f"/task/{task['task_id']}/priority", {"Content-Type": "application/json"}
    for content, status, field in BODIES:
        answer = await served.http.post(path, content=content, headers=headers)
        found = (answer.status_code, answer.json()["error"]["code"], answer.json()["errors"][0]["field"])
        assert found == (status, "invalid_request", field), content
    assert await _code(served, "POST", path, content=b"{", headers=headers) == (400, "invalid_request")
    typed = {"Content-Type": "text/plain"}
    assert await _code(served, "POST", path, content=b"{}", headers=typed) == (415, "unsupported_media")
    kept = await served.system.ledger.get_any(task["task_id"])
    assert kept is not None and (kept.priority, kept.rank) == ("normal", 2)


async def test_unknown_query_parameters_are_refused_everywhere(served: Served) -> None:
    task = await served.submit("tick")
    path = f"/task/{task['task_id']}"
    calls = [
        *_calls(task["task_id"]),
        ("GET", "/models", None),
        ("GET", "/models/local/paint", None),
        ("GET", "/status", None),
        ("GET", "/task", None),
        ("GET", path, None),
        ("GET", f"{path}/events", None),
        ("GET", "/events", None),
        ("POST", "/task", {"task_type": "tick"}),
        ("POST", f"{path}/cancel", None),
        ("POST", f"{path}/retry", None),
        ("DELETE", path, None),
    ]
    for method, address, body in calls:
        answer = await served.http.request(method, address, params={"odd": "1"}, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "odd"), (method, address)
    assert [found["task_id"] for found in (await served.http.get("/task")).json()["tasks"]] == [task["task_id"]]
    kept = await served.system.ledger.get_any(task["task_id"])
    assert kept is not None and (kept.state, kept.rank) == (State.QUEUED, 2)
