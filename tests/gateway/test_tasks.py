"""`/task` over HTTP: submit, idempotency, waiting, lists, cancel, retry, delete."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable

import pytest

from genpulse.core.models import State
from genpulse.gateway.app import close_streams
from tests.gateway.serving import Served

MISSING = "0190f0f0-0000-7000-8000-000000000000"


async def test_submit_answers_202_with_the_task_and_where_it_is(served: Served) -> None:
    params = {"prompt": "a", "seed": 7}
    answer = await served.http.post(
        "/task", json={"task_type": "paint", "params": params, "metadata": {"a": 1, "b": "x"}, "priority": "high"}
    )
    task = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/task/{task['task_id']}"
    assert (task["message"], task["status"], task["model"]) == ("Task received", "pending", "local/paint")
    assert (task["params"], task["metadata"], task["priority"]) == (params, {"a": 1, "b": "x"}, "high")
    assert task["urls"]["self"] == f"{served.url}/task/{task['task_id']}"
    assert (await served.http.get(answer.headers["location"])).json()["queue_position"] == 1


async def test_urls_follow_the_public_url(make_served: Callable[..., Awaitable[Served]]) -> None:
    served = await make_served(public_url="https://media.example/gp")
    task = (await served.http.post("/task", json={"task_type": "paint"})).json()
    assert task["urls"]["self"].startswith("http://own/")  # the view that it was given


async def test_a_trace_is_kept_when_it_is_well_formed(served: Served) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for given, kept in ((good, good), ("00-" + "0" * 32 + "-b7ad6b7169203331-01", None), ("x", None)):
        answer = await served.http.post("/task", json={"task_type": "paint"}, headers={"traceparent": given})
        task = await served.system.ledger.get("default", answer.json()["task_id"])
        assert task is not None and task.options.get("traceparent") == kept


async def test_the_same_key_and_body_is_the_same_task(served: Served) -> None:
    headers = {"Idempotency-Key": "k~!1"}
    first = await served.http.post("/task", json={"task_type": "paint", "params": {}}, headers=headers)
    again = await served.http.post("/task", json={"params": {}, "task_type": "paint"}, headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["task_id"] == first.json()["task_id"]
    other = await served.http.post("/task", json={"task_type": "shout"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_duplicates_in_flight_make_one_task(served: Served) -> None:
    send = [
        served.http.post("/task", json={"task_type": "paint"}, headers={"Idempotency-Key": "same"}) for _ in range(20)
    ]
    answers = await asyncio.gather(*send)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "é", "a\tb"])
async def test_a_key_that_is_no_key_is_refused(served: Served, key: str) -> None:
    answer = await served.http.post("/task", json={"task_type": "paint"}, headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert (await served.http.get("/task")).json()["tasks"] == []


async def test_a_preferred_wait_answers_200_with_the_end(served: Served) -> None:
    async with served.system.working():
        for preferred, applied in (("wait=20", "wait=20"), ("respond-async, wait=99", "wait=60"), ("Wait", "wait")):
            answer = await served.http.post("/task", json={"task_type": "paint"}, headers={"Prefer": preferred})
            assert (answer.status_code, answer.headers["preference-applied"]) == (200, applied)
            assert answer.json()["status"] == "completed"


async def test_a_replay_waits_like_a_first_call(served: Served) -> None:
    headers = {"Idempotency-Key": "k", "Prefer": "wait=20"}
    async with served.system.working():
        first = await served.http.post("/task", json={"task_type": "paint"}, headers=headers)
        again = await served.http.post("/task", json={"task_type": "paint"}, headers=headers)
        plain = await served.http.post("/task", json={"task_type": "paint"}, headers={"Idempotency-Key": "k"})
    assert [first.status_code, again.status_code, plain.status_code] == [200, 200, 202]


@pytest.mark.parametrize("preferred", ["wait=0", "wait=1"])
async def test_a_preferred_wait_that_is_over_answers_202(served: Served, preferred: str) -> None:
    answer = await served.http.post("/task", json={"task_type": "paint"}, headers={"Prefer": preferred})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, preferred)


NO_PREFERENCES = ["wait=-1", "wait=x", "wait=1.5", "awaits", "wait=", ""]


async def test_a_malformed_preference_is_ignored(served: Served) -> None:
    for preferred in NO_PREFERENCES:
        answer = await served.http.post("/task", json={"task_type": "paint"}, headers={"Prefer": preferred})
        assert answer.status_code == 202 and "preference-applied" not in answer.headers


async def test_get_waits_for_the_end(served: Served) -> None:
    task = await served.submit("tick")
    async with served.system.working():
        waiting = asyncio.create_task(served.http.get(f"/task/{task['task_id']}?wait=20"))
        short = await served.http.get(f"/task/{task['task_id']}?wait=0.05")
        assert short.status_code == 200 and short.json()["status"] in {"pending", "processing"}
        served.system.gate.open.set()
        assert (await waiting).json()["status"] == "completed"


async def test_who_leaves_a_wait_cancels_nothing_and_frees_the_server(served: Served) -> None:
    task = await served.submit("tick")
    loop_tasks = len(asyncio.all_tasks())
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET /task/{task['task_id']}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) == loop_tasks:
            await asyncio.sleep(0.005)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > loop_tasks:
            await asyncio.sleep(0.005)
    assert (await served.http.get(f"/task/{task['task_id']}")).json()["status"] == "pending"
    del reader


async def test_waits_end_when_the_server_stops(served: Served) -> None:
    task = await served.submit("tick")
    waiting = asyncio.create_task(served.http.get(f"/task/{task['task_id']}?wait=60"))
    while not served.server.server_state.tasks:
        await asyncio.sleep(0.005)
    close_streams(served.app)
    answer = await asyncio.wait_for(waiting, 5)
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


BAD_WAITS = ["wait=61", "wait=-1", "wait=x", "wait=nan", "wait=1&wait=2", "wait=", "x=1", "wait=1%00", "wait=٣"]


async def test_get_refuses_what_it_does_not_know(served: Served) -> None:
    for query in BAD_WAITS:
        task = await served.submit()
        answer = await served.http.get(f"/task/{task['task_id']}?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
        assert answer.json()["errors"][0]["field"] in {"wait", "x", "(query)"}


NO_IDS = [MISSING, MISSING.upper(), "x", "a" * 10_000, "' OR 1=1", "..%2f..", MISSING.replace("-", ""), "%00"]


async def test_missing_and_malformed_ids_answer_alike(served: Served) -> None:
    for task_id in NO_IDS:
        answers = [
            await served.http.get(f"/task/{task_id}"),
            await served.http.get(f"/task/{task_id}/events"),
            await served.http.post(f"/task/{task_id}/cancel"),
            await served.http.post(f"/task/{task_id}/retry"),
            await served.http.delete(f"/task/{task_id}"),
        ]
        assert {(a.status_code, a.json()["error"]["code"]) for a in answers} == {(404, "not_found")}


async def test_a_list_pages_through_all_newest_first(served: Served) -> None:
    made = [(await served.submit())["task_id"] for _ in range(5)]
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = (await served.http.get("/task", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [task["task_id"] for task in page["tasks"]]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            break
    assert (seen, pages) == (made[::-1], 3)


async def test_a_list_filters(served: Served) -> None:
    paint = await served.submit("paint", metadata={"project": "a", "n": 3})
    shout = await served.submit("shout", metadata={"project": "b"})
    canceled = (await served.http.post(f"/task/{(await served.submit('hold'))['task_id']}/cancel")).json()

    async def ids(**query: str) -> list[str]:
        answer = await served.http.get("/task", params=query)
        assert answer.status_code == 200, answer.text
        return [task["task_id"] for task in answer.json()["tasks"]]

    assert await ids(task_type="paint") == [paint["task_id"]]
    assert await ids(model="local/shout") == [shout["task_id"]]
    assert await ids(status="canceled") == [canceled["task_id"]]
    assert await ids(status="canceled,pending") == [canceled["task_id"], shout["task_id"], paint["task_id"]]
    assert await ids(**{"metadata.project": "b"}) == [shout["task_id"]]
    assert await ids(**{"metadata.project": "a", "task_type": "shout"}) == []


async def test_a_list_leaves_large_params_out(served: Served) -> None:
    await served.submit("tick", params={"text": "x" * 5000})
    [task] = (await served.http.get("/task")).json()["tasks"]
    assert "params" not in task
    assert (await served.http.get(f"/task/{task['task_id']}")).json()["params"]["text"] == "x" * 5000


BAD_LISTS = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=1e9", "limit"),
    ("limit=1.0", "limit"),
    ("offset=-1", "offset"),
    ("status=queued", "status"),
    ("status=", "status"),
    ("cursor=x", "cursor"),
    ("cursor=é", "cursor"),
    ("cursor=" + "A" * 5000, "cursor"),
    ("model=a&model=b", "model"),
    ("metadata.=x", "metadata"),
    ("metadata." + "k" * 65 + "=x", "metadata"),
    ("metadata.a=%00", "(query)"),
    ("&".join(f"metadata.k{i}=x" for i in range(11)), "metadata"),
    ("a%0d%0ab=1", "(query)"),
]


async def test_a_list_refuses_what_it_does_not_know(served: Served) -> None:
    for query, field in BAD_LISTS:
        answer = await served.http.get(f"/task?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


async def test_cancel_is_idempotent_and_waits_for_the_worker(served: Served) -> None:
    waiting = await served.submit("tick")
    canceled = (await served.http.post(f"/task/{waiting['task_id']}/cancel")).json()
    assert (canceled["status"], canceled["error"]["code"]) == ("canceled", "canceled")
    again = await served.http.post(f"/task/{waiting['task_id']}/cancel", content=b"whatever")
    assert (again.status_code, again.json()) == (200, canceled)
    async with served.system.working():
        running = await served.submit("tick")
        task = await served.system.tasks.get("default", running["task_id"])
        await served.system.until(task, State.RUNNING)
        shown = (await served.http.post(f"/task/{running['task_id']}/cancel")).json()
        assert shown["cancel_requested_at"] is not None
        ended = (await served.http.get(f"/task/{running['task_id']}?wait=20")).json()
    assert ended["status"] == "canceled"


async def test_retry_makes_a_new_task(served: Served) -> None:
    async with served.system.working():
        failed = await served.finished("fail", params={"seed": 5})
        assert (failed["status"], failed["error"]["code"]) == ("failed", "content_policy")
        answer = await served.http.post(f"/task/{failed['task_id']}/retry")
        again = answer.json()
        assert answer.status_code == 202 and answer.headers["location"] == f"/task/{again['task_id']}"
        assert (again["retry_of"], again["params"]) == (failed["task_id"], failed["params"])
        assert again["task_id"] != failed["task_id"] and uuid.UUID(again["task_id"]).version == 7
        done = await served.finished("paint")
        refused = await served.http.post(f"/task/{done['task_id']}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_retryable")


async def test_delete_takes_a_finished_task_and_its_files(served: Served) -> None:
    pending = await served.submit("tick")
    refused = await served.http.delete(f"/task/{pending['task_id']}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_finished")
    async with served.system.working():
        done = await served.finished("paint")
        served.system.gate.open.set()
    url = done["result"]["outputs"][0]["url"]
    assert (await served.http.get(url)).status_code == 200
    answer = await served.http.delete(f"/task/{done['task_id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await served.http.get(f"/task/{done['task_id']}")).status_code == 404
    assert (await served.http.get(url)).status_code in {404, 410}


async def test_more_than_the_limit_waits_outside(make_served: Callable[..., Awaitable[Served]]) -> None:
    served = await make_served()
    served.system.tasks._limits = type(served.system.tasks._limits)(max_queued=1)
    await served.submit("tick")
    refused = await served.http.post("/task", json={"task_type": "tick"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0 and refused.json()["error"]["type"] == "rate_limit_error"


async def test_a_full_queue_still_knows_what_it_accepted(make_served: Callable[..., Awaitable[Served]]) -> None:
    served = await make_served()
    served.system.tasks._limits = type(served.system.tasks._limits)(max_queued=1)
    request = {"json": {"task_type": "tick"}, "headers": {"Idempotency-Key": "k"}}
    first = await served.http.post("/task", **request)
    again = await served.http.post("/task", **request)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["task_id"] == first.json()["task_id"]
    other = await served.http.post("/task", json={"task_type": "paint"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 429


async def test_what_has_run_makes_room_at_once(make_served: Callable[..., Awaitable[Served]]) -> None:
    served = await make_served()
    served.system.tasks._limits = type(served.system.tasks._limits)(max_queued=2)
    async with served.system.working():
        for _ in range(7):
            await served.finished("paint")


async def test_progress_is_shown_while_it_runs(served: Served) -> None:
    async with served.system.working():
        task = await served.submit("tick")
        async with asyncio.timeout(10):
            while True:
                shown = (await served.http.get(f"/task/{task['task_id']}")).json()
                if shown["progress"] == 42:
                    break
                await asyncio.sleep(0.02)
        [listed] = (await served.http.get("/task")).json()["tasks"]
        assert (shown["stage"], listed["progress"], listed["stage"]) == ("styling", 42, "styling")
        served.system.gate.open.set()


async def test_a_body_may_come_in_chunks_and_without_a_type(served: Served) -> None:
    body = json.dumps({"task_type": "paint"}).encode()
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    status, _, _ = await served.raw(
        b"POST /task HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked
    )
    assert status == 202
