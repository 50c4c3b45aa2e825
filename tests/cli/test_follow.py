"""Following survives cut streams, proxies without streams, lost answers and expired URLs."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


def streams(gateway: FakeGateway) -> list[dict[str, str]]:
    return [headers for _, path, headers in gateway.requests if path.endswith("/events")]


def test_a_cut_stream_is_resumed_after_the_last_event(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.cut_streams = 2
    done = lying("run", "picture")
    assert done.code == 0, done.err
    resumed = [headers.get("last-event-id") for headers in streams(gateway)]
    assert resumed == [None, "1", "2"]


def test_where_streams_are_not_to_be_had_the_task_is_asked_for(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.no_streams = True
    done = lying("run", "picture")
    assert done.code == 0, done.err
    assert len(streams(gateway)) == 1


def test_a_lost_answer_to_a_submit_is_asked_for_again_with_the_same_key(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.drop_submits = 1
    done = lying("run", "picture")
    assert done.code == 0, done.err
    submits = [headers for method, path, headers in gateway.requests if (method, path) == ("POST", "/task")]
    assert len(submits) == 2
    assert submits[0]["idempotency-key"] == submits[1]["idempotency-key"]
    assert len(gateway.tasks) == 1
