"""Who is let in: loopback rules without keys, keys elsewhere; headers of every answer."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from genpulse.core.keys import KeyService
from genpulse.core.metrics import Metrics
from genpulse.gateway import guard
from genpulse.settings import Settings
from tests.gateway.serving import GatewaySystem, Served

Make = Callable[..., Awaitable[Served]]


def _get(path: str, *lines: str, host: str | None = "localhost") -> bytes:
    head = [f"GET {path} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "a.localhost", "box.lan:8000"]
)
async def test_loopback_names_are_answered(make_served: Make, host: str) -> None:
    served = await make_served(allowed_hosts=("box.lan",))
    assert (await served.raw(_get("/models", host=host)))[0] == 200


OTHER_NAMES = [
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "2130706433", "0x7f000001", "0.0.0.0"),
    *("192.168.1.2", "", "localhost@evil.example", "[::2]", "[::1", "localhost:x", "xlocalhost", "a/localhost"),
]


async def test_other_names_are_refused(served: Served) -> None:
    for host in OTHER_NAMES:
        status, headers, body = await served.raw(_get("/models", host=host))
        assert (status, headers["content-type"]) == (403, "application/problem+json")
        assert b'"forbidden"' in body and (not host or host.encode() not in body)


async def test_no_host_and_two_hosts_are_refused(served: Served) -> None:
    assert (await served.raw(b"GET /models HTTP/1.0\r\n\r\n"))[0] == 403
    assert (await served.raw(_get("/models", "Host: evil.example")))[0] == 403
    assert (await served.raw(_get("/models", "Host: localhost", host="evil.example")))[0] == 403


OTHER_SITES = [
    *("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example", "Origin: null"),
    *("Origin: https://localhost", "Origin: http://localhost:1", "Forwarded: for=1.2.3.4"),
    *("X-Forwarded-For: 1.2.3.4", "x-forwarded-host: localhost", "X-Forwarded-Proto: https"),
]


async def test_other_sites_and_proxies_are_refused(served: Served) -> None:
    for line in OTHER_SITES:
        for request in (_get("/status", line), _get("/task", line), _get("/status/live", line)):
            status, _, body = await served.raw(request)
            assert status == 403 and b"keys create" in body
        post = f"POST /task HTTP/1.1\r\nHost: localhost\r\n{line}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        assert (await served.raw(post))[0] == 403


@pytest.mark.parametrize("line", ["Origin: http://localhost", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"])
async def test_ones_own_pages_are_answered(served: Served, line: str) -> None:
    assert (await served.raw(_get("/models", line)))[0] == 200


async def test_signed_files_may_be_embedded_elsewhere(served: Served) -> None:
    async with served.system.working():
        url = (await served.finished())["result"]["outputs"][0]["url"]
    path = url.removeprefix(served.url)
    status, headers, _ = await served.raw(_get(path, "Sec-Fetch-Site: cross-site", host=f"127.0.0.1:{served.port}"))
    assert (status, headers["access-control-allow-origin"]) == (200, "*")
    assert (await served.raw(_get(path, host="evil.example")))[0] == 403
    answer = await served.http.post("/files", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


async def test_an_address_that_others_reach_wants_a_key(make_served: Make, system: GatewaySystem) -> None:
    key, row = await system.keys.create("acme")
    served = await make_served(with_keys=True, host="0.0.0.0")
    for header in (None, "Bearer", f"Basic {key}", "Bearer gp_nope", f"Bearer {key}x", f"Bearer {key[:-1]}", key):
        answer = await served.http.get("/models", headers={"Authorization": header} if header else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["type"] == "authentication_error"
        assert key not in answer.text
    good = {"Authorization": f"bearer {key}", "X-Forwarded-For": "1.2.3.4", "Host": "gp.example"}
    answer = await served.http.post("/task", json={"task_type": "paint"}, headers=good)
    assert answer.status_code == 202
    assert answer.json()["urls"]["self"].startswith("http://gp.example/task/")
    assert (await system.ledger.get("acme", answer.json()["task_id"])) is not None
    await system.keys.revoke(row.id)
    assert (await served.http.get("/models", headers=good)).status_code == 401


async def test_probes_and_signed_files_need_no_key(make_served: Make, system: GatewaySystem) -> None:
    await system.keys.create("acme")
    served = await make_served(with_keys=True, host="0.0.0.0")
    for path, status in (
        ("/status/live", 200),
        ("/status/ready", 200),
        ("/files/x/y?exp=1&sig=x", 403),
        ("/status", 401),
        ("/", 401),
        ("/docs", 401),
        ("/openapi.json", 401),
        ("/events", 401),
        ("/nope", 401),
        ("/files", 401),
    ):
        assert (await served.http.get(path)).status_code == status, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert (await served.http.request(method, "/files/x/y")).status_code == 401, method


async def test_what_needs_no_key_makes_nobody_an_administrator(system: GatewaySystem) -> None:
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["admin"])
        await Response()(scope, receive, send)

    settings = Settings(_env_file=None, host="0.0.0.0", data_dir=system.folder)
    for keys, expected in ((system.keys, False), (None, True)):
        transport = httpx2.ASGITransport(guard.Guard(app, settings, keys, Metrics()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            for path in ("/status/live", "/files/x/y"):
                assert (await http.get(path)).status_code == 200
                assert seen.pop() is expected, path


async def test_tenants_see_nothing_of_each_other(make_served: Make, system: GatewaySystem) -> None:
    mine, _ = await system.keys.create("mine")
    theirs, _ = await system.keys.create("theirs")
    served = await make_served(with_keys=True, host="0.0.0.0")
    own = {"Authorization": f"Bearer {mine}"}
    other = {"Authorization": f"Bearer {theirs}"}
    sent = await served.http.post("/task", json={"task_type": "paint"}, headers={**own, "Idempotency-Key": "k"})
    path = f"/task/{sent.json()['task_id']}"
    missing = await served.http.get("/task/0190f0f0-0000-7000-8000-000000000000", headers=other)
    for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/events")):
        answer = await served.http.request(method, path + suffix, headers=other)
        assert (answer.status_code, answer.content) == (404, missing.content), (method, suffix)
    assert (await served.http.get("/task", headers=other)).json()["tasks"] == []
    again = await served.http.post("/task", json={"task_type": "shout"}, headers={**other, "Idempotency-Key": "k"})
    assert again.status_code == 202 and again.json()["queue_position"] in {None, 1}
    assert (await served.http.get(path, headers=own)).json()["status"] == "pending"


async def test_the_first_key_closes_a_loopback_server(
    make_served: Make, system: GatewaySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_KEYS_CHECK_S", 0.0)
    served = await make_served(with_keys=True)
    assert (await served.http.get("/models")).status_code == 200
    key, _ = await system.keys.create("default")
    assert (await served.http.get("/models")).status_code == 401
    through_proxy = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "1.2.3.4", "Host": "gp.example"}
    assert (await served.http.get("/models", headers=through_proxy)).status_code == 200


async def test_a_database_that_is_away_neither_opens_nor_closes_a_server(
    make_served: Make, system: GatewaySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_KEYS_CHECK_S", 0.0)
    served = await make_served(with_keys=True)
    assert (await served.http.get("/models")).status_code == 200

    async def away(self: KeyService) -> bool:
        raise guard.RequestError("unavailable", "The database doesn't answer.")

    monkeypatch.setattr(KeyService, "any", away)
    assert (await served.http.get("/models")).status_code == 200  # as it was when it was known last
    fresh = await make_served(with_keys=True)
    answer = await fresh.http.get("/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert (await fresh.http.get("/status/live")).status_code == 200


async def test_an_insecure_server_still_refuses_other_sites(make_served: Make) -> None:
    served = await make_served(with_keys=True, host="0.0.0.0", insecure_no_auth=True)
    assert (
        await served.http.get("/models", headers={"Host": "box.lan", "X-Forwarded-For": "1.2.3.4"})
    ).status_code == 200
    assert (await served.http.get("/models", headers={"Origin": "http://evil.example"})).status_code == 403


async def test_every_answer_has_an_id_and_is_not_sniffed(served: Served) -> None:
    for path in ("/models", "/nope", "/task/x", "/docs"):
        answer = await served.http.get(path, headers={"X-Request-Id": "abc-1.2_Z"})
        assert answer.headers["x-request-id"] == "abc-1.2_Z"
        assert answer.headers["x-content-type-options"] == "nosniff"
    minted = {(await served.http.get("/models")).headers["x-request-id"] for _ in range(3)}
    assert len(minted) == 3
    for odd in ("a b", "x" * 65, "<script>", "é"):
        answer = await served.http.get("/models", headers={"X-Request-Id": odd.encode()})
        assert answer.headers["x-request-id"] != odd and len(answer.headers["x-request-id"]) == 16


async def test_a_bug_is_logged_and_not_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("CANARY-secret")

    monkeypatch.setattr(served.system.tasks, "get", broken)
    path = "/task/0190f0f0-0000-7000-8000-000000000000"
    with caplog.at_level(logging.ERROR):
        answer = await served.http.get(path, headers={"X-Request-Id": "find-me"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "find-me")
    problem = answer.json()
    assert (problem["title"], problem["error"]["code"], problem["error"]["type"]) == (
        "Internal error",
        "unavailable",
        "server_error",
    )
    assert "CANARY" not in answer.text
    assert "CANARY-secret" in caplog.text and "find-me" in caplog.text
