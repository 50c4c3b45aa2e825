"""What is said about the API is true: OpenAPI, the documents of answers, the table of codes, status, models."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from genpulse.core.requests import TaskRequest
from genpulse.errors import CODES, RequestError
from tests.gateway.serving import GatewaySystem, Json, Served

Make = Callable[..., Awaitable[Served]]


@pytest.fixture
async def api(served: Served) -> Json:
    answer = await served.http.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def _validator(api: Json, name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": api["components"]}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _operations(api: Json) -> list[tuple[str, str, Json]]:
    return [(path, method, op) for path, methods in api["paths"].items() for method, op in methods.items()]


def test_the_document_is_whole(api: Json) -> None:
    assert api["openapi"].startswith("3.1") and api["info"]["title"] == "GenPulse"
    found = {(method.upper(), path) for path, method, _ in _operations(api)}
    assert found == {
        ("POST", "/task"),
        ("GET", "/task"),
        ("GET", "/task/{task_id}"),
        ("DELETE", "/task/{task_id}"),
        ("POST", "/task/{task_id}/cancel"),
        ("POST", "/task/{task_id}/retry"),
        ("POST", "/task/{task_id}/front"),
        ("POST", "/task/{task_id}/priority"),
        ("GET", "/task/{task_id}/events"),
        ("GET", "/events"),
        ("POST", "/files"),
        ("GET", "/files/{file_id}/{name}"),
        ("HEAD", "/files/{file_id}/{name}"),
        ("GET", "/models"),
        ("GET", "/models/{provider}/{name}"),
        ("GET", "/pools"),
        ("POST", "/pools/{name}/pause"),
        ("POST", "/pools/{name}/resume"),
        ("GET", "/status"),
        ("GET", "/status/live"),
        ("GET", "/status/ready"),
        ("GET", "/metrics"),
    }
    text = str(api)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in api["components"]["schemas"], name
    assert "HTTPValidationError" not in text
    for path, method, op in _operations(api):
        assert op["tags"] and op["summary"], (method, path)
        for name in re.findall(r"\{(\w+)\}", path):
            assert name in {p["name"] for p in op["parameters"] if p["in"] == "path"}, path
        for status, answer in op["responses"].items():
            if int(status) >= 400 and "application/json" not in answer.get("content", {}):
                assert answer["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    for name, schema in api["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description") or name == "Priority", name
    assert len({op["operationId"] for *_, op in _operations(api)}) == len(_operations(api))


async def test_the_examples_validate_and_are_accepted(served: Served, api: Json) -> None:
    examples = api["components"]["schemas"]["TaskRequest"]["examples"]
    assert len(examples) >= 2
    for example in examples:
        _validator(api, "TaskRequest").validate(example)
        TaskRequest.model_validate(example)
        answer = await served.http.post("/task", json=example)
        assert answer.status_code == 202, answer.text


async def test_answers_have_the_shapes_that_are_told(served: Served, api: Json) -> None:
    task = _validator(api, "TaskDocument")
    async with served.system.working():
        task.validate(await served.submit("paint", metadata={"a": 1}))
        done, failed = await served.finished("paint"), await served.finished("fail")
        assert done["result"]["outputs"] and failed["error"]
        task.validate(done)
        task.validate(failed)
        canceled = await served.submit("paint", run_at="2027-01-01T00:00:00Z")
        task.validate((await served.http.post(f"/task/{canceled['task_id']}/cancel")).json())
    stream = await served.follow(f"/task/{done['task_id']}/events")
    for event in [event async for event in stream.events() if event[1] == "state"]:
        task.validate(event[2])
    _validator(api, "TaskPage").validate((await served.http.get("/task")).json())
    _validator(api, "ModelList").validate((await served.http.get("/models")).json())
    _validator(api, "ModelDocument").validate((await served.http.get("/models/local/paint")).json())
    _validator(api, "StatusDocument").validate((await served.http.get("/status")).json())
    _validator(api, "PoolList").validate((await served.http.get("/pools")).json())
    _validator(api, "PoolDocument").validate((await served.http.post("/pools/local/pause")).json())
    waiting = await served.submit("paint")
    task.validate((await served.http.post(f"/task/{waiting['task_id']}/front")).json())
    uploaded = await served.http.post("/files", files={"file": ("a.txt", b"x")})
    _validator(api, "Output").validate(uploaded.json())


async def test_every_status_that_differs_from_its_codes_is_told(served: Served, api: Json) -> None:
    def told(method: str, path: str, status: int) -> str:
        return api["paths"][path][method]["responses"][str(status)]["description"]

    http, key = served.http, {"Idempotency-Key": "k"}
    async with served.system.working():
        done = await served.finished("paint")
        keyed = (await http.post("/task", json={"task_type": "paint"}, headers={**key, "Prefer": "wait=20"})).json()
    assert (await http.delete(f"/task/{keyed['task_id']}")).status_code == 204
    url = done["result"]["outputs"][0]["url"]
    range_ = await http.get(url, headers={"Range": "bytes=999999-"})
    assert (await http.delete(f"/task/{done['task_id']}")).status_code == 204
    json, form = {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data; boundary=x"}
    priority = f"/task/{(await served.submit('tick'))['task_id']}/priority"
    for answer, method, path, status in (
        (await http.post("/task", json={"task_type": "paint"}, headers=key), "post", "/task", 404),
        (await http.post("/task", content=b"{", headers=json), "post", "/task", 400),
        (await http.post(priority, content=b"{", headers=json), "post", "/task/{task_id}/priority", 400),
        (await http.post("/files", content=b"odd", headers=form), "post", "/files", 400),
        (range_, "get", "/files/{file_id}/{name}", 416),
        (await http.get(url), "get", "/files/{file_id}/{name}", 410),
    ):
        assert answer.status_code == status, (path, answer.text)
        assert f"`{answer.json()['error']['code']}`" in told(method, path, status)


async def test_the_page_needs_nothing_from_elsewhere(served: Served, api: Json) -> None:
    answer = await served.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text and "http://" not in answer.text and "https://" not in answer.text
    for path, _, op in _operations(api):
        assert f"<code>{path}</code>" in answer.text and op["summary"].split(",")[0].split("'")[0] in answer.text
    for code in CODES:
        assert f"<td>{code}</td>" in answer.text
    for name in re.findall(r'href="#(\w+)"', answer.text):
        assert f'id="{name}"' in answer.text, name


async def test_every_code_that_the_gateway_can_produce(make_served: Make, system: GatewaySystem, api: Json) -> None:
    served = await make_served(max_upload_mb=1)
    key, _ = await system.keys.create("acme")
    locked = await make_served(with_keys=True, host="0.0.0.0")
    http, problem = served.http, _validator(api, "Problem")

    async def post(body: Any, **headers: str) -> Any:
        return await http.post("/task", json=body, headers=headers)

    pending = await served.submit("tick", run_at="2027-01-01T00:00:00Z")
    done = f"/task/{pending['task_id']}"
    await post({"task_type": "paint"}, **{"Idempotency-Key": "k"})
    found = {
        "invalid_request": await post({"task_type": "paint", "x": 1}),
        "invalid_params": await post({"task_type": "paint", "params": {"width": 1}}),
        "unknown_task_type": await post({"task_type": "nope"}),
        "unknown_model": await post({"task_type": "paint", "model": "local/nope"}),
        "no_capable_backend": await post({"task_type": "paint", "model": "other/absent"}),
        "idempotency_key_reused": await post({"task_type": "shout"}, **{"Idempotency-Key": "k"}),
        "not_found": await http.get("/nope"),
        "not_retryable": await http.post(f"{done}/retry"),
        "not_finished": await http.delete(done),
        "method_not_allowed": await http.put("/task"),
        "payload_too_large": await http.post("/task", content=b" " * ((1 << 20) + 1)),
        "unsupported_media": await http.post("/task", content=b"{}", headers={"Content-Type": "text/plain"}),
        "unauthorized": await locked.http.get("/task"),
        "forbidden": await http.get("/task", headers={"Host": "evil.example"}),
        "url_expired": await http.get("/files/x/y"),
    }
    system.tasks._limits = type(system.tasks._limits)(max_queued=1)
    found["queue_full"] = await post({"task_type": "paint"})
    system.files._min_free_bytes = 1 << 60
    found["storage_full"] = await post({"task_type": "paint"})

    async def away(*_: object) -> None:
        raise RequestError("unavailable", "The database doesn't answer.")

    system.ledger.get = away
    found["unavailable"] = await http.get(done)
    for code, answer in found.items():
        body = answer.json()
        assert (answer.status_code, body["error"]["code"]) == (CODES[code].status, code), body
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["type"], body["title"]) == (f"urn:genpulse:error:{code}", CODES[code].title)
        problem.validate(body)
        assert ("retry-after" in answer.headers) == (answer.status_code in {429, 503, 507})
    later = {"rate_limited", "quota_exceeded", "budget_exceeded"}
    assert set(found) | later == {code for code, spec in CODES.items() if spec.scope == "request"}
    assert key not in str(found)


OTHER_METHODS = [
    ("PUT", "/task", "GET, POST"),
    ("PATCH", "/task/x", "DELETE, GET"),
    ("GET", "/task/x/cancel", "POST"),
    ("OPTIONS", "/events", "GET"),
    ("TRACE", "/status", "GET"),
    ("POST", "/files/a/b", "GET, HEAD"),
    ("GET", "/files", "POST"),
    ("HEAD", "/task", "GET, POST"),
]


async def test_other_methods_are_told_which_are_allowed(served: Served) -> None:
    for method, path, allow in OTHER_METHODS:
        answer = await served.http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
        assert method == "HEAD" or answer.json()["error"]["code"] == "method_not_allowed"


NOWHERE = ["/task/", "//task", "/v1", "/%2e%2e/task", "/models/", "/models/a/b/c", "/favicon.ico"]


async def test_there_is_nothing_elsewhere(served: Served) -> None:
    for path in NOWHERE:
        status, headers, body = await served.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert b'"not_found"' in body


async def test_models(served: Served) -> None:
    models = {model["id"]: model for model in (await served.http.get("/models")).json()["models"]}
    paint = models["local/paint"]
    assert set(paint) == {"id", "task_types", "params_schema", "provider", "state", "description"}
    assert (paint["provider"], paint["state"], paint["task_types"]) == ("local", "ready", ["paint"])
    assert paint["description"] == "Saves a small picture."
    assert paint["params_schema"]["properties"]["width"]["minimum"] == 64
    assert models["local/hold"]["params_schema"] == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
    }
    absent = models["other/absent"]
    assert absent["state"] == "unavailable" and "its extra is not installed" in absent["description"]
    assert len(absent["params_schema"]["anyOf"]) == 2
    for model in models.values():
        Draft202012Validator.check_schema(model["params_schema"])
    for path in ("/models/local/paint", "/models/local%2Fpaint"):
        assert (await served.http.get(path)).json() == paint
    assert (await served.http.get("/models/local/nope")).status_code == 404


async def test_status_tells_what_is_missing(served: Served) -> None:
    alone = (await served.http.get("/status")).json()
    assert alone["status"] == "degraded" and alone["components"]["workers"]["status"] == "degraded"
    async with served.system.working():
        answer = await served.http.get("/status")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["queue"]) == {"pending", "processing"}
    assert (await served.http.get("/status/live")).json() == {"status": "ok"}
    for method in ("GET", "HEAD"):
        for probe in ("/status/live", "/status/ready"):
            assert (await served.http.request(method, probe)).status_code == 200
    assert (await served.http.get("/")).json()["docs"] == "/docs"


async def test_without_a_database_it_is_unavailable_but_alive(
    served: Served, system: GatewaySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise RequestError("unavailable", "The database doesn't answer.")

    monkeypatch.setattr(system.ledger, "ping", away)
    for path in ("/status", "/status/ready"):
        answer = await served.http.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable"), answer.text
        assert int(answer.headers["retry-after"]) > 0
    assert (await served.http.get("/status/live")).status_code == 200
