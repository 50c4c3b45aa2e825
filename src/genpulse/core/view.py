"""How a task and its files look to clients (design §7). The only place that knows the public JSON of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from genpulse.core.models import Json, Micros, StoredFile, Task
from genpulse.core.states import snapshot

PARAMS_IN_LISTS = 4096
"""Bytes of params up to which lists and notices include them."""

SignFile = Callable[[str], str]
"""The query string that opens a file id for a while."""

_FILE_FIELDS = ("name", "kind", "media_type", "bytes", "sha256", "width", "height", "duration_s")


@lru_cache(4096)  # a batch of tasks shares its times, and each is shown several times
def rfc3339(at: Micros | None) -> str | None:
    """A time as clients see it: UTC, milliseconds."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def output_of(file: StoredFile) -> Json:
    """What `result.outputs` keeps of a file; the URL is added when it is rendered."""
    return {"file_id": file.id, **{name: getattr(file, name) for name in _FILE_FIELDS}}


class TaskView:
    """Renders tasks for one base URL, e.g. `http://127.0.0.1:8000`."""

    def __init__(self, base_url: str, sign: SignFile) -> None:
        self.base_url = base_url
        self._sign = sign

    def at(self, base_url: str) -> TaskView:
        """The same view for another base URL."""
        return self if base_url == self.base_url else TaskView(base_url, self._sign)

    def file(self, output: Mapping[str, Any]) -> Json:
        """An output with a freshly signed URL."""
        file_id, name = str(output["file_id"]), str(output["name"])
        url = f"{self.base_url}/files/{file_id}/{quote(name)}?{self._sign(file_id)}"
        return {"file_id": file_id, "url": url, **{key: output.get(key) for key in _FILE_FIELDS}}

    def task(
        self, task: Task, *, position: int | None = None, progress: Json | None = None, brief: bool = False
    ) -> Json:
        """The public JSON of a task.

        Args:
            position: its place among the tenant's own waiting tasks.
            progress: newer progress than the row has, from the queue.
            brief: leave `params` out when they are large.
        """
        shown = self._merge(task, self.mutable(snapshot(task)), progress)
        params = task.params
        if brief and len(orjson.dumps(params)) > PARAMS_IN_LISTS:
            params = None
        urls = f"{self.base_url}/task/{task.id}"
        return {
            "task_id": task.id,
            "task_type": task.task_type,
            "model": task.model,
            "status": shown["status"],
            "priority": task.priority,
            "progress": shown["progress"],
            "stage": shown["stage"],
            "queue_position": position,
            "attempt": shown["attempt"],
            "retry_of": task.retry_of,
            "created_at": rfc3339(task.created_at),
            "started_at": shown["started_at"],
            "finished_at": shown["finished_at"],
            "cancel_requested_at": shown["cancel_requested_at"],
            **({} if params is None else {"params": params}),
            "metadata": task.metadata,
            "warnings": shown["warnings"],
            "result": shown["result"],
            "error": shown["error"],
            "cost": shown["cost"],
            "urls": {"self": urls, "events": f"{urls}/events", "cancel": f"{urls}/cancel"},
        }

    def state_event(self, task: Task, data: Json) -> Json:
        """The data of a `state` event: the task as it was then, without params."""
        shown = self.task(task)
        del shown["params"]
        shown["queue_position"] = None
        return shown | self.mutable(data)

    def mutable(self, data: Json) -> Json:
        """The changing part of a task (`states.snapshot`) as clients see it."""
        shown = dict(data)
        for name in ("started_at", "finished_at", "cancel_requested_at"):
            shown[name] = rfc3339(shown.get(name))
        result = shown.get("result")
        if result is not None:
            shown["result"] = {**result, "outputs": [self.file(output) for output in result["outputs"]]}
        return shown

    @staticmethod
    def _merge(task: Task, shown: Json, progress: Json | None) -> Json:
        if progress is not None and shown["status"] == "processing" and progress.get("attempt") == task.attempt:
            shown["progress"] = max(shown["progress"] or 0.0, progress.get("progress") or 0.0)
            shown["stage"] = shown["stage"] or progress.get("stage")  # the row names a stage once it ingests
        return shown


def progress_notice(task_id: str, status: str, progress: float | None, stage: str | None) -> Json:
    """The progress message of `task_updates:<task_id>`."""
    return {"task_id": task_id, "status": status, "progress": progress, "stage": stage}


def is_progress(message: Json) -> bool:
    """Tells a progress notice from a task's JSON on the same channel."""
    return "task_type" not in message
