"""`traceparent` from the request to the handler, and log lines that tell whose they are."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from genpulse.core.context import Context
from genpulse.core.models import Job
from genpulse.handlers.base import BaseHandler
from genpulse.logs import JsonFormatter
from tests.gateway.serving import GatewaySystem, Served

TRACE_ID, OTHER_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT, OTHER = f"00-{TRACE_ID}-00f067aa0ba902b7-01", f"00-{OTHER_ID}-b7ad6b7169203331-00"
SECRET = "a purple secret"
_log = logging.getLogger("a.handler")


class Words(BaseModel):
    prompt: str = ""
    fail: bool = False


@pytest.fixture
def seen(system: GatewaySystem) -> list[Any]:
    """What handlers of both shapes are given."""
    found: list[Any] = []

    @system.registry.register("typed")
    class Typed(BaseHandler):
        Params = Words

        async def execute(self, job: Job, context: Context) -> dict[str, Any]:
            found.append(job.traceparent)
            _log.info("at work")
            if job.params.fail:
                raise RuntimeError("a bug")
            return {}

    @system.registry.register("traced-plain")
    class Plain(BaseHandler):
        def execute(self, task: dict[str, Any]) -> dict[str, Any]:
            found.append(task["traceparent"])
            _log.info("at work in a thread")
            return {}

    return found


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """All log records as JSON lines, from debug on."""
    written: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(self.format(record)))

    handler, logger = Keep(), logging.getLogger()
    handler.setFormatter(JsonFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


async def submit(served: Served, task_type: str, headers: dict[str, str], **params: Any) -> dict[str, Any]:
    answer = await served.http.post(
        "/task", json={"task_type": task_type, "params": params}, headers={"Prefer": "wait=10", **headers}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_handlers_of_both_shapes_get_it(served: Served, seen: list[Any]) -> None:
    async with served.system.working():
        await submit(served, "typed", {"traceparent": TRACEPARENT})
        await submit(served, "traced-plain", {"traceparent": TRACEPARENT})
        await submit(served, "typed", {})
        for wrong in (
            TRACE_ID,
            TRACEPARENT.upper(),
            f"{TRACEPARENT} ",
            f"00-{'0' * 32}-00f067aa0ba902b7-01",
            "x" * 999,
        ):
            await submit(served, "traced-plain", {"traceparent": wrong.strip() + "x"})
    assert seen == [TRACEPARENT, TRACEPARENT, None, *[None] * 5]


async def test_a_retry_belongs_to_its_own_request(served: Served, seen: list[Any]) -> None:
    async with served.system.working():
        failed = await submit(served, "typed", {"traceparent": TRACEPARENT}, fail=True)
        for headers in ({}, {"traceparent": OTHER}):
            answer = await served.http.post(f"/task/{failed['task_id']}/retry", headers=headers)
            await served.http.get(f"/task/{answer.json()['task_id']}", params={"wait": 10})
    assert seen == [TRACEPARENT, None, OTHER]


async def test_log_lines_of_a_task_can_be_found(served: Served, seen: list[Any], lines: list[dict[str, Any]]) -> None:
    async with served.system.working() as worker:
        headers = {"traceparent": TRACEPARENT, "X-Request-Id": "r-1"}
        task = await submit(served, "typed", headers, prompt=SECRET)
        plain = await submit(served, "traced-plain", {"traceparent": OTHER})
        failed = await submit(served, "typed", {}, prompt=SECRET, fail=True)

    def story(task: dict[str, Any]) -> list[tuple[str, str]]:
        own = [line for line in lines if line.get("task_id") == task["task_id"]]
        return [(line["level"], line["message"].replace(task["task_id"], "ID")) for line in own]

    told = story(task)
    assert told[:3] == [
        ("debug", "task ID accepted: typed on local/typed, pool handlers"),
        ("info", "task ID started: attempt 1 on local/typed"),
        ("info", "at work"),
    ]
    assert told[3][0] == "info" and told[3][1].startswith("task ID completed after 0.")
    assert story(failed)[-1][1].endswith("s: internal")
    own = [line for line in lines if line.get("task_id") == task["task_id"]]
    assert {line["trace_id"] for line in own} == {TRACE_ID}
    assert own[0]["request_id"] == "r-1" and "request_id" not in own[1]
    assert own[2]["worker_id"] == worker.id and own[2]["attempt"] == 1
    [threaded] = [line for line in lines if line["message"] == "at work in a thread"]
    assert (threaded["task_id"], threaded["trace_id"]) == (plain["task_id"], OTHER_ID)
    assert SECRET not in json.dumps(lines)


async def test_what_serves_all_is_not_logged_as_one_requests(
    served: Served, seen: list[Any], lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender of hints is started by the first request and goes on for others."""
    push = served.system.queue.push_task

    async def tell(*hints: Any) -> int:
        _log.info("sending")
        return await push(*hints)

    monkeypatch.setattr(served.system.queue, "push_task", tell)
    await served.submit("typed")
    await served.system.signals.close()
    [sending] = [line for line in lines if line["message"] == "sending"]
    assert not {"request_id", "task_id", "trace_id"} & set(sending)
