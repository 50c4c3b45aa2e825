"""Log lines: fields of what is bound, short ids for people, nothing from outside that breaks a line."""

import asyncio
import json
import logging
import sys

from genpulse import logs


def record(message: str, *, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("a.logger", logging.INFO, "", 0, message, (), info)


def test_fields_are_bound_for_a_block() -> None:
    json_line = logs.JsonFormatter().format
    with logs.bound(request_id="r", task_id=None):
        with logs.bound(task_id="t"):
            inner = json.loads(json_line(record("x")))
        outer = json.loads(json_line(record("x")))
    after = json.loads(json_line(record("x")))
    assert (inner["request_id"], inner["task_id"]) == ("r", "t")
    assert outer["request_id"] == "r" and "task_id" not in outer
    assert set(after) == {"at", "level", "logger", "message"}


async def test_tasks_and_threads_that_start_within_have_them() -> None:
    def line() -> str:
        return logs.JsonFormatter().format(record("x"))

    async def one(task_id: str) -> list[str]:
        with logs.bound(task_id=task_id):
            await asyncio.sleep(0)
            return [line(), await asyncio.to_thread(line)]

    for task_id, found in zip("ab", await asyncio.gather(one("a"), one("b")), strict=True):
        assert [json.loads(text)["task_id"] for text in found] == [task_id] * 2


def test_people_see_the_end_of_the_task_id() -> None:
    with logs.bound(task_id="01991111-2222-7333-8444-55556d3f0a17"):
        line = logs.TextFormatter().format(record("started"))
    assert line.endswith("a.logger [6d3f0a17]: started")


def test_nothing_from_outside_makes_a_line_of_its_own() -> None:
    forged = "x\r\n12:00:00 info forged \x1b[31mred\u2028y\x9b"
    try:
        raise ValueError(forged)  # noqa: TRY301 - its traceback is wanted
    except ValueError as error:
        text = logs.TextFormatter().format(record(forged, error=error))
        as_json = logs.JsonFormatter().format(record(forged, error=error))
    first, *rest = text.split("\n")
    assert "forged" in first and all(line.startswith("  ") for line in rest) and rest
    assert not set("\r\x1b\u2028\x9b") & set(text)
    assert "\n" not in as_json and "\x1b" not in as_json and "\r" not in as_json
    assert json.loads(as_json)["message"] == forged
    assert sys.exc_info() == (None, None, None)
