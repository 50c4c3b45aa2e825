"""`pools`, `front` and `prioritise` against a real gateway; what a real one never says, from the one that lies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


@pytest.fixture
def waiting(cli: Cli) -> Iterator[list[str]]:
    """Three tasks that wait for ever."""
    task_ids = [cli("run", "waiting", "--no-wait").out.strip() for _ in range(3)]
    yield task_ids
    cli("cancel", *task_ids)


@pytest.fixture
def paused(cli: Cli) -> Iterator[Cli]:
    """A paused pool `handlers`, resumed afterwards."""
    assert cli("pools", "pause", "handlers").code == 0
    yield cli
    cli("pools", "resume", "handlers")


def _row(table: str, pool: str) -> list[str]:
    return next(line.split() for line in table.splitlines() if line.startswith(pool))


def test_pools_are_listed(cli: Cli, waiting: list[str]) -> None:
    listed = cli("pools")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.splitlines()[0].split() == ["POOL", "STATE", "QUEUED", "RUNNING", "SLOTS", "WORKERS"]
    assert _row(listed.out, "handlers") == ["handlers", "active", "0", "0", "20", "1"]
    assert _row(listed.out, "nowhere")[:3] == ["nowhere", "no", "worker"]
    for arguments in (("pools", "--json"), ("--json", "pools")):
        documents = {pool["name"]: pool for pool in cli(*arguments).json["pools"]}
        assert (documents["handlers"]["slots"], documents["handlers"]["paused"]) == (20, False)


def test_a_paused_pool_starts_nothing_until_it_is_resumed(paused: Cli) -> None:
    assert _row(paused("pools").out, "handlers")[1] == "paused"
    again = paused("pools", "pause", "handlers", "--json").json
    assert (again["name"], again["paused"]) == ("handlers", True)
    task_id = paused("run", "picture", "--no-wait").out.strip()
    assert paused("watch", task_id, "--timeout", "1").code == 1
    resumed = paused("pools", "resume", "handlers")
    assert (resumed.code, resumed.out) == (0, "handlers active\n")
    assert paused("watch", task_id, "-o", "out").code == 0


def test_a_pause_says_how_to_undo_it(paused: Cli) -> None:
    done = paused("pools", "pause", "handlers")
    assert done.out == "handlers paused\n"
    assert done.err.splitlines()[-1] == "→ genpulse pools resume handlers"
    assert "No worker serves it" in paused("pools", "resume", "nowhere").err


@pytest.mark.parametrize("act", ["pause", "resume"])
@pytest.mark.parametrize("name", ["nope", "../task", "a/b", "é"])
def test_an_unknown_pool_is_not_found(cli: Cli, act: str, name: str) -> None:
    done = cli("pools", act, name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: Not found")


def test_the_first_that_is_named_runs_first(cli: Cli, waiting: list[str]) -> None:
    first, second, third = waiting
    done = cli("front", third, second)
    assert done.code == 0
    assert done.out.splitlines() == [f"{third} waiting, number 1", f"{second} waiting"]
    assert [cli("show", task_id, "--json").json["queue_position"] for task_id in (third, second, first)] == [1, 2, 3]
    assert cli("front", first, "--json").json["queue_position"] == 1


def test_the_others_move_though_one_is_missing(cli: Cli, waiting: list[str]) -> None:
    done = cli("front", waiting[2], "missing", waiting[1], "--json")
    assert done.code == 1
    assert [answer["task_id"] for answer in done.json["tasks"]] == [waiting[2], "missing", waiting[1]]
    assert done.json["tasks"][1]["error"]["code"] == "not_found"


def test_a_priority_is_changed(cli: Cli, waiting: list[str]) -> None:
    assert cli("prioritise", waiting[2], "high").out == f"{waiting[2]} waiting, number 1\n"
    assert cli("prioritise", waiting[0], "low", "--json").json["priority"] == "low"
    assert cli("show", waiting[0], "--json").json["queue_position"] == 3
    assert cli("prioritise", "missing", "low").code == 1
    wrong = cli("prioritise", waiting[0], "urgent")
    assert wrong.code == 2
    assert "low" in wrong.err


@pytest.mark.parametrize("arguments", [("front", "ID"), ("prioritise", "ID", "high")])
def test_a_task_that_is_not_waiting_has_no_place(cli: Cli, arguments: tuple[str, ...]) -> None:
    task_id = cli("run", "picture", "-o", "out", "--json").json["task_id"]
    done = cli(*(task_id if word == "ID" else word for word in arguments))
    assert (done.code, done.out) == (1, "")
    assert "is completed" in done.err
    assert done.err.splitlines()[-1].startswith("→ `genpulse show")


@pytest.mark.parametrize("arguments", [("pools",), ("pools", "pause", "local")])
def test_a_key_that_may_not_is_told_so(lying: Cli, arguments: tuple[str, ...]) -> None:
    done = lying(*arguments)
    assert done.code == 1
    assert "may not manage the queue" in done.err
    assert "--key" in done.err.splitlines()[-1]


def test_names_of_pools_can_not_act_on_the_terminal(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.pools = [{"name": "a\x1b[2Jb", "paused": "\x1b]0;x", "queued": "\r1"}, {}]
    shown = lying("pools")
    assert shown.code == 0
    assert "\x1b" not in shown.out and "\r" not in shown.out
    assert json.loads(lying("pools", "--json").out)["pools"][0]["name"] == "a\x1b[2Jb"


def test_a_name_is_never_a_path(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("pools", "pause", "../task/x/cancel?").code == 1
    assert lying("front", "../pools/local/pause?").code == 1
    assert lying("pools", "resume", "local/pause?").code == 1
    assert gateway.requests == []
