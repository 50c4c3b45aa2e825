"""Commands on tasks and models, against a real gateway and worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from genpulse.cli.api import Api
from tests.cli.conftest import PICTURE, Cli
from tests.cli.fake_gateway import FakeGateway


def test_run_tells_the_result_on_stdout_and_all_else_on_stderr(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "picture", "-o", "out")
    assert done.code == 0, done.err
    assert done.out == "out/picture.png\n"
    assert (tmp_path / "out" / "picture.png").read_bytes() == PICTURE
    for part in ("local/picture: completed", "a line of the log", "image/png, 4×3", "Warning: rounded to 64"):
        assert part in done.err
    assert done.err.splitlines()[-1].startswith("Completed in ")


def test_run_with_json_is_the_final_task_and_its_files(cli: Cli) -> None:
    done = cli("run", "picture", "-p", "width=100", "-o", "out", "--json", "--quiet")
    assert done.json["status"] == "completed"
    assert done.json["params"] == {"width": 100}
    assert done.json["files"] == ["out/picture.png"]
    assert done.err == ""


def test_an_uploaded_file_reaches_the_task(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(PICTURE)
    done = cli("run", "picture", "-p", "image=@in.png", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.json["result"]["data"] == {"image_bytes": len(PICTURE)}


def test_a_failed_task_is_1_with_its_reason_and_the_next_step(cli: Cli) -> None:
    done = cli("run", "broken")
    assert (done.code, done.out) == (1, "")
    assert "Failed (engine_failed): the engine broke" in done.err
    assert "genpulse retry " in done.err.splitlines()[-1]
    failed = cli("run", "broken", "--json")
    assert failed.code == 1
    assert failed.json["error"]["code"] == "engine_failed"
    assert failed.json["files"] == []


def test_a_problem_is_shown_with_title_and_fields(cli: Cli) -> None:
    done = cli("run", "picture", "-p", "width=x")
    assert done.code == 1
    assert done.err.startswith("Error: Invalid params\n  params.width: ")
    assert done.err.splitlines()[-1].startswith("→ Correct what is named above")
    document = cli("run", "picture", "-p", "width=x", "--json").json["error"]
    assert document["status"] == 422
    assert document["code"] == "invalid_params"
    assert [error["field"] for error in document["errors"]] == ["params.width"]
    assert "genpulse models" in cli("run", "nonsense").err.splitlines()[-1]


def test_a_model_picks_its_task_type_and_says_so(cli: Cli) -> None:
    done = cli("run", "local/both", "-o", "out", "--json")
    assert (done.json["task_type"], done.json["model"]) == ("picture", "local/both")
    assert "also serves slow" in done.err
    assert cli("run", "local/both", "--model", "local/picture").code == 2
    assert cli("run", "local/none").code == 1


def test_lists_page_by_page(cli: Cli) -> None:
    with Api(cli.url) as api:
        ids = [api.submit({"task_type": "parked", "params": {}}, f"list-{n}")["task_id"] for n in range(105)]
    assert len(cli("tasks", "--type", "parked", "--json").json["tasks"]) == 20
    assert len(cli("tasks", "--type", "parked", "--limit", "101", "--json").json["tasks"]) == 101
    listed = cli("tasks", "--type", "parked", "--all", "--status", "pending", "--json").json["tasks"]
    assert sorted(task["task_id"] for task in listed) == sorted(ids)
    table = cli("tasks", "--model", "local/parked", "--limit", "3")
    shown = [line.split()[0] for line in table.out.splitlines()[2:]]
    assert len(shown) == 3
    assert set(shown) < set(ids)
    assert "more with --limit" in table.err
    assert len(cli("cancel", *ids).out.splitlines()) == 105


def test_show_has_everything(cli: Cli) -> None:
    task = cli("run", "picture", "--seed", "11", "--metadata", "order=A1", "-o", "out", "--json").json
    shown = cli("show", task["task_id"]).out
    for part in (task["task_id"], "completed", "local/picture", "A1", "picture.png", "image/png, 4×3", "/files/", "11"):
        assert part in shown
    again = cli("show", task["task_id"], "--json").json
    assert again["result"]["seed"] == 11
    assert again.keys() == task.keys() - {"files"}


def test_cancel_several_and_one_that_is_missing(cli: Cli) -> None:
    ids = [cli("run", "waiting", "--no-wait").out.strip() for _ in range(2)]
    done = cli("cancel", ids[0], "missing", ids[1])
    assert done.code == 1
    assert done.out.splitlines() == [f"{task_id} canceled" for task_id in ids]
    assert "missing: Not found" in done.err
    assert cli("cancel", ids[0], "--json").json["status"] == "canceled"


def test_retry_prints_the_new_id(cli: Cli) -> None:
    failed = cli("run", "broken", "--json").json["task_id"]
    again = cli("retry", failed)
    assert again.code == 0
    assert cli("show", again.out.strip(), "--json").json["retry_of"] == failed
    waiting = cli("run", "waiting", "--no-wait").out.strip()
    refused = cli("retry", waiting)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[-1] == "→ Only a failed or canceled task can be retried."
    cli("cancel", waiting)


def test_watch_from_the_beginning_of_a_finished_task(cli: Cli) -> None:
    task_id = cli("run", "picture", "-o", "out", "--json").json["task_id"]
    watched = cli("watch", task_id, "-o", "again", "--json")
    assert watched.code == 0
    assert watched.json["files"] == ["again/picture.png"]
    assert "a line of the log" in watched.err


def test_a_timeout_leaves_the_task_alone_and_says_its_place(cli: Cli) -> None:
    done = cli("run", "waiting", "--timeout", "1.2", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "detached"
    assert "waiting, number 1" in done.err
    task_id = done.err.split("genpulse watch ")[1].split("`")[0]
    assert cli("show", task_id, "--json").json["status"] == "pending"
    cli("cancel", task_id)


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry", "front"])
@pytest.mark.parametrize("task_id", ["0199c2f4", "../models", "x?wait=1", "0199c2f4-7d1e-7c58-9a53-3f2b8e6a1d04"])
def test_a_missing_task_is_not_found(cli: Cli, command: str, task_id: str) -> None:
    done = cli(command, task_id)
    assert done.code == 1
    assert "Not found" in done.err


def test_an_id_is_never_a_path(lying: Cli, gateway: FakeGateway) -> None:
    assert lying("show", "../status").code == 1
    assert lying("show", "x?wait=1").code == 1
    assert [path for _, path, _ in gateway.requests] == ["/task/x?wait=1"]


def test_models_and_the_params_of_one(cli: Cli) -> None:
    listed = cli("models")
    assert "local/picture" in listed.out
    assert "picture, slow" in listed.out
    shown = cli("models", "local/picture").out
    row = next(line.split(maxsplit=3) for line in shown.splitlines() if line.startswith("width"))
    assert row[:3] == ["width", "integer", "1024"]
    assert "64 … 2048" in row[3]
    assert "Pixels." in row[3]
    assert cli("models", "local/picture", "--json").json["id"] == "local/picture"


def test_version_names_the_gateway_that_answers(cli: Cli) -> None:
    answer = cli("version", "--json").json
    assert answer["gateway"] == answer["version"]
    assert f"at {cli.url}" in cli("version").out
