"""Progress and previews of running tasks, coalesced: the newest value, at most a few times a second, never a row."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import dataclass

from genpulse.core.models import Snapshot, Task
from genpulse.core.ports import Queue, QueueUnavailableError
from genpulse.core.signals import preview_channel
from genpulse.core.view import progress_notice

MIN_INTERVAL_S = 0.3
_MAX_PREVIEW_BYTES = 256 * 1024
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    task: Task
    progress: float = 0.0
    stage: str | None = None
    preview: tuple[bytes, str] | None = None
    sender: asyncio.Task[None] | None = None
    dirty: bool = False


class ProgressReporter:
    """Passes the newest progress of each running task on to the queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._running: dict[str, _Running] = {}

    def report(self, task: Task, snapshot: Snapshot) -> None:
        """Note a snapshot. Progress never goes back within an attempt."""
        state = self._running.get(task.id)
        if state is None or state.task.fence != task.fence:
            state = self._running[task.id] = _Running(task)
        if snapshot.progress is not None:
            state.progress = max(state.progress, min(100.0, round(snapshot.progress, 1)))
        state.stage = (snapshot.stage or state.stage or "")[:200] or None
        if snapshot.preview is not None and len(snapshot.preview) <= _MAX_PREVIEW_BYTES:
            state.preview = (snapshot.preview, snapshot.preview_media_type or "image/jpeg")
        state.dirty = True
        if state.sender is None or state.sender.done():
            state.sender = asyncio.create_task(self._send(state), name=f"progress {task.id}")

    async def _send(self, state: _Running) -> None:
        task_id = state.task.id
        while state.dirty:
            state.dirty = False
            kept = {"progress": state.progress, "stage": state.stage, "attempt": state.task.attempt}
            notice = progress_notice(task_id, "processing", state.progress, state.stage)
            preview, state.preview = state.preview, None
            try:
                await self._queue.set_progress(task_id, kept, notice)
                if preview is not None:
                    data = base64.b64encode(preview[0]).decode()
                    message = {"task_id": task_id, "media_type": preview[1], "data": data}
                    await self._queue.publish((preview_channel(task_id), message))
            except QueueUnavailableError as error:
                _log.debug("progress lost: %s", error)
            await asyncio.sleep(MIN_INTERVAL_S)

    def forget(self, task_id: str) -> None:
        """The attempt ended: what was not sent yet is of no interest any more."""
        state = self._running.pop(task_id, None)
        if state is not None and state.sender is not None:
            state.sender.cancel()
