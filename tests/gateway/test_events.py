"""Event streams over HTTP: replay, resume, live events, pings, ends."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from genpulse.core.models import State
from genpulse.gateway import sse
from genpulse.gateway.app import close_streams
from tests.gateway.serving import Served, Stream


async def _all(stream: Stream) -> list[tuple[int | None, str, Any]]:
    return [event async for event in stream.events()]


async def test_a_finished_task_is_replayed_without_gaps(served: Served) -> None:
    async with served.system.working():
        task = await served.finished("paint", params={"prompt": "p"})
    stream = await served.follow(task["urls"]["events"].removeprefix(served.url))
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
    assert await stream.frame() == "retry: 2000"
    events = await _all(stream)
    numbers = [number for number, _, _ in events if number is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    states = [data["status"] for _, kind, data in events if kind == "state"]
    assert (states[0], states[-1]) == ("pending", "completed")
    last = events[-1][2]
    assert "params" not in last and last["result"]["outputs"][0]["url"].startswith(served.url)
    assert last["task_id"] == task["task_id"]
    assert {"message": "a line\nand another"} in [data for _, kind, data in events if kind == "log"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_stream_resumes_after_any_event(served: Served, how: str) -> None:
    async with served.system.working():
        task = await served.finished("paint")
    path = f"/task/{task['task_id']}/events"
    whole = await _all(await served.follow(path))
    numbered = [event for event in whole if event[0] is not None]
    for after in range(len(numbered)):
        stream = await (
            served.follow(path, Last_Event_ID=str(after)) if how == "header" else served.follow(f"{path}?after={after}")
        )
        got = [event for event in await _all(stream) if event[0] is not None]
        assert [event[0] for event in got] == [event[0] for event in numbered[after:]]
    past = await (
        served.follow(path, Last_Event_ID=str(len(numbered)))
        if how == "header"
        else served.follow(f"{path}?after={len(numbered)}")
    )
    assert past.status == 204


NO_EVENTS = ["-1", "9e99", "text", "99999", "9" * 30, "1.5", "", "٣", "0x1"]


async def test_an_unknown_event_replays_all(served: Served) -> None:
    for last in NO_EVENTS:
        async with served.system.working():
            task = await served.finished("paint")
        answer = await served.http.get(f"/task/{task['task_id']}/events", headers={"Last-Event-ID": last.encode()})
        assert answer.status_code == 200 and "id: 1\n" in answer.text and '"status":"completed"' in answer.text


async def test_live_events_come_as_they_happen_and_the_stream_ends(served: Served) -> None:
    task = await served.submit("tick")
    stream = await served.follow(f"/task/{task['task_id']}/events")
    events = stream.events()
    assert (await anext(events))[2]["status"] == "pending"
    async with served.system.working():
        async for number, kind, data in events:
            if kind == "progress":
                assert number is None
                assert (data["progress"], data["stage"], data["status"]) == (42, "styling", "processing")
                served.system.gate.open.set()
            last = data
    assert last["status"] == "completed"


async def test_the_feed_shows_ones_own_tasks_without_ids(served: Served) -> None:
    stream = await served.follow("/events")
    assert await stream.frame() == "retry: 2000"
    events = stream.events()
    coming = asyncio.ensure_future(anext(events))
    async with asyncio.timeout(10):  # the stream may be open a moment before it listens
        while not coming.done():
            task = await served.submit("tick")
            await asyncio.wait({coming}, timeout=0.2)
    number, kind, data = coming.result()
    assert (number, kind, data["status"]) == (None, "state", "pending")
    assert "params" not in data and data["task_type"] == "tick"
    await served.system.tasks.cancel("default", task["task_id"])
    async for number, _, data in events:
        assert number is None
        if data["task_id"] == task["task_id"] and data["status"] == "canceled":
            break
    await stream.close()


async def test_a_silent_stream_is_pinged(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sse.PING_S == 15
    monkeypatch.setattr(sse, "PING_S", 0.02)
    task = await served.submit("tick")
    stream = await served.follow(f"/task/{task['task_id']}/events")
    frames = [await stream.frame() for _ in range(5)]
    assert frames[0] == "retry: 2000" and frames[-2:] == [": ping", ": ping"]
    await stream.close()


async def test_streams_end_when_the_server_stops(served: Served) -> None:
    task = await served.submit("tick")
    streams = [await served.follow(path) for path in ("/events", f"/task/{task['task_id']}/events")]
    for stream in streams:
        await stream.frame()
    close_streams(served.app)
    for stream in streams:
        async with asyncio.timeout(5):
            while await stream.frame() is not None:
                pass
    ready = await served.http.get("/status/ready")
    assert ready.status_code == 503 and int(ready.headers["retry-after"]) > 0


async def test_who_leaves_a_stream_frees_the_server(served: Served) -> None:
    task = await served.submit("tick")
    before = len(asyncio.all_tasks())
    streams = [await served.follow(path) for path in ("/events", f"/task/{task['task_id']}/events")]
    for stream in streams:
        await stream.frame()
    assert len(asyncio.all_tasks()) > before
    for stream in streams:
        await stream.close()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.005)
    shown = await served.system.tasks.get("default", task["task_id"])
    assert shown.state == State.QUEUED


async def test_a_client_that_does_not_read_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sse, "STALL_S", 0.05)
    made = 0

    async def frames() -> Any:
        nonlocal made
        while True:
            made += 1
            yield sse.frame("state", {"text": "x" * 1000})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 3:
            await asyncio.Event().wait()  # the connection's buffer is full for ever

    async def receive() -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await sse.EventStream(frames(), asyncio.Event())({"type": "http"}, receive, send)
    assert made < 100 and "reads too slowly" in caplog.text


async def test_a_stream_that_breaks_ends_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def frames() -> Any:
        yield sse.frame("state", {})
        raise OSError("gone")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await sse.EventStream(frames(), asyncio.Event())({"type": "http"}, receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert "broke" in caplog.text


async def test_events_go_on_without_the_queue(served: Served, valkey_server: Any) -> None:
    task = await served.submit("tick")
    stream = await served.follow(f"/task/{task['task_id']}/events")
    events = stream.events()
    assert (await anext(events))[0] == 1
    with contextlib.suppress(Exception):
        valkey_server.command("CLIENT KILL TYPE pubsub")
    await served.http.post(f"/task/{task['task_id']}/cancel")
    async with asyncio.timeout(15):
        assert [event[2]["status"] async for event in events][-1] == "canceled"


def test_a_frame_is_one_line_of_data() -> None:
    made = sse.frame("log", {"message": "a\nb\r\nc\u2028"}, 7).decode()
    assert made.startswith("id: 7\nevent: log\ndata: ") and made.endswith("\n\n")
    assert json.loads(made.split("data: ")[1]) == {"message": "a\nb\r\nc\u2028"}
    assert made.count("\n") == 4
