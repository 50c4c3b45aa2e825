"""What every `core.ports.Backend` must do. Assertions to call from the tests of each backend, on a real job."""

import json
from collections.abc import Sequence

from genpulse.core.models import Checkpoint, Finished, Job, Prepared, Recovery, Snapshot
from genpulse.core.ports import Backend

MAX_CHECKPOINT_BYTES = 16_384


async def check_prepare(backend: Backend, job: Job, *, secrets: Sequence[str] = ()) -> Prepared:
    """`prepare` is repeatable, and its data is JSON without secrets: it is stored."""
    prepared = await backend.prepare(job)
    again = await backend.prepare(job)
    text = json.dumps(prepared.data)
    assert json.loads(text) == prepared.data
    assert prepared == again, "prepare must be repeatable"
    assert not any(secret in text for secret in secrets)
    assert isinstance(backend.recovery, Recovery)
    assert isinstance(backend.paid, bool)
    return prepared


async def run(backend: Backend, job: Job) -> tuple[Checkpoint | None, Finished, list[Snapshot]]:
    """Run a job to its end; raises what ended it."""
    started = await backend.submit(job, await backend.prepare(job))
    if isinstance(started, Finished):
        return None, started, []
    check_checkpoint(started)
    return started, *await follow(backend, job, started)


async def follow(backend: Backend, job: Job, checkpoint: Checkpoint) -> tuple[Finished, list[Snapshot]]:
    """Watch a job to its end; raises what ended it."""
    snapshots: list[Snapshot] = []
    async for snapshot in backend.watch(job, checkpoint):
        snapshots.append(snapshot)
        if snapshot.error is not None:
            raise snapshot.error
    assert snapshots, "a watch reports at least the end"
    finished = snapshots[-1].finished
    assert finished is not None, "a watch ends with `finished` or `error`"
    assert all(snapshot.finished is None for snapshot in snapshots[:-1])
    check_progress(snapshots)
    return finished, snapshots


def check_checkpoint(checkpoint: Checkpoint, *, secrets: Sequence[str] = ()) -> None:
    """JSON of a few KB without secrets."""
    text = json.dumps(checkpoint.data)
    assert json.loads(text) == checkpoint.data
    assert checkpoint.remote_id
    assert len(text) < MAX_CHECKPOINT_BYTES
    assert not any(secret in text for secret in secrets)


def check_progress(snapshots: Sequence[Snapshot]) -> None:
    """0–100, never backwards; previews say what they are."""
    values = [snapshot.progress for snapshot in snapshots if snapshot.progress is not None]
    assert all(0 <= value <= 100 for value in values)
    assert values == sorted(values), "progress never goes backwards"
    assert all(snapshot.preview_media_type for snapshot in snapshots if snapshot.preview)


async def check_outputs(backend: Backend, job: Job, checkpoint: Checkpoint | None, finished: Finished) -> list[bytes]:
    """Every output can be read, twice, in chunks, with the same bytes; its data is JSON."""
    contents: list[bytes] = []
    for output in finished.outputs:
        assert json.loads(json.dumps(output.data)) == output.data
        assert "/" not in output.name
        first = b"".join([chunk async for chunk in backend.open(job, checkpoint, output)])
        second = b"".join([chunk async for chunk in backend.open(job, checkpoint, output)])
        assert first == second
        contents.append(first)
    return contents


async def check_watch_again(backend: Backend, job: Job, checkpoint: Checkpoint, finished: Finished) -> None:
    """A watch after the end reports the same end."""
    again, _ = await follow(backend, job, checkpoint)
    assert again == finished
