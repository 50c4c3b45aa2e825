"""Commands on tasks and models."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_gateway import FakeGateway


def test_run_tells_the_result_on_stdout_and_all_else_on_stderr(lying: Cli, gateway: FakeGateway) -> None:
    gateway.twists.warnings = ["rounded to 64"]
    done = lying("run", "picture", "-o", "out")
    assert done.code == 0
    assert done.out == "out/picture.png\n"
    assert "local/picture: styling (42 %)" in done.err
    assert "Warning: rounded to 64" in done.err
    assert "Completed in " in done.err


def test_run_with_json_is_the_final_task_and_its_files(lying: Cli) -> None:
    done = lying("run", "picture", "-o", "out", "--json", "--quiet")
    assert done.json["status"] == "completed"
    assert done.json["params"] == {}
    assert done.json["files"] == ["out/picture.png"]
    assert done.err == ""


def test_a_failed_task_is_1_with_its_reason_and_the_next_step(lying: Cli, gateway: FakeGateway) -> None:
    done = lying("run", "broken")
    assert (done.code, done.out) == (1, "")
    assert "Failed (engine_failed): the engine broke" in done.err
    assert done.err.splitlines()[-1].endswith(f"genpulse retry {next(iter(gateway.tasks))}")
    assert lying("run", "broken", "--json").json["error"]["code"] == "engine_failed"


def test_a_problem_is_shown_with_title_and_fields(lying: Cli) -> None:
    done = lying("run", "picture", "-p", "width=x")
    assert done.code == 1
    assert done.err.splitlines()[:2] == ["Error: Invalid params", "  params.width: must be a whole number"]
    assert done.err.splitlines()[2].startswith("→ ")
    document = lying("run", "picture", "-p", "width=x", "--json").json["error"]
    assert document["status"] == 422
    assert document["errors"] == [{"field": "params.width", "message": "must be a whole number"}]


def test_a_model_picks_its_task_type_and_says_so(lying: Cli, gateway: FakeGateway) -> None:
    done = lying("run", "local/both", "--no-wait")
    assert done.out.strip() in gateway.tasks
    assert gateway.tasks[done.out.strip()]["task_type"] == "picture"
    assert gateway.tasks[done.out.strip()]["model"] == "local/both"
    assert "also serves slow" in done.err
    assert lying("run", "local/both", "--model", "local/picture").code == 2
    assert lying("run", "local/none").code == 1


def test_lists_page_by_page(lying: Cli, gateway: FakeGateway) -> None:
    for _ in range(105):
        gateway.create({"task_type": "waiting", "params": {}})
    gateway.create({"task_type": "slow", "params": {}})
    assert len(lying("tasks", "--json").json["tasks"]) == 20
    assert len(lying("tasks", "--limit", "101", "--json").json["tasks"]) == 101
    assert len(lying("tasks", "--all", "--json").json["tasks"]) == 106
    assert len(lying("tasks", "--type", "slow", "--json").json["tasks"]) == 1
    table = lying("tasks", "--limit", "3")
    ids = list(gateway.tasks)[-3:]
    assert [task_id in table.out for task_id in ids] == [True, True, True]
    assert "more with --limit" in table.err


def test_show_has_everything(lying: Cli, gateway: FakeGateway) -> None:
    lying("run", "picture", "--seed", "11", "--metadata", "order=A1")
    task_id = next(iter(gateway.tasks))
    shown = lying("show", task_id).out
    for part in (task_id, "completed", "local/picture", "A1", "picture.png", "image/png, 4×3", "/files/", "11"):
        assert part in shown
    assert lying("show", task_id, "--json").json == gateway.tasks[task_id]


def test_cancel_several_and_one_that_is_missing(lying: Cli, gateway: FakeGateway) -> None:
    ids = [gateway.create({"task_type": "waiting", "params": {}})["task_id"] for _ in range(2)]
    done = lying("cancel", ids[0], "missing", ids[1])
    assert done.code == 1
    assert done.out.splitlines() == [f"{task_id} canceled" for task_id in ids]
    assert "missing: Not found" in done.err
    assert lying("cancel", ids[0], "--json").json["status"] == "canceled"


def test_retry_prints_the_new_id(lying: Cli, gateway: FakeGateway) -> None:
    lying("run", "broken")
    failed = next(iter(gateway.tasks))
    done = lying("retry", failed)
    assert gateway.tasks[done.out.strip()]["retry_of"] == failed
    waiting = lying("run", "waiting", "--no-wait").out.strip()
    refused = lying("retry", waiting)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[-1] == "→ Only a failed or canceled task can be retried."


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
def test_a_missing_task_is_not_found(lying: Cli, command: str) -> None:
    done = lying(command, "0199c2f4")
    assert done.code == 1
    assert "Not found" in done.err


def test_an_id_is_never_a_path(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("show", "../status").code == 1
    assert lying("show", "x?wait=1").code == 1
    assert [path for _, path, _ in gateway.requests] == ["/task/x?wait=1"]


def test_models_and_the_params_of_one(lying: Cli) -> None:
    listed = lying("models")
    assert "local/picture" in listed.out
    assert "picture, slow" in listed.out
    shown = lying("models", "local/picture").out
    rows = [line.split(maxsplit=3) for line in shown.splitlines() if line.startswith(("prompt", "width"))]
    assert [row[0] for row in rows] == ["prompt*", "width"]
    assert rows[1][:3] == ["width", "integer", "1024"]
    assert "64 … 2048" in rows[1][3]
    assert lying("models", "local/picture", "--json").json["id"] == "local/picture"


def test_version_names_the_gateway_that_answers(lying: Cli) -> None:
    assert "gateway 9.9 at" in lying("version").out
    assert lying("version", "--json").json["gateway"] == "9.9"
