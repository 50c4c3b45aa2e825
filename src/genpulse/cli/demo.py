"""`demo`: starts the whole system beside everything else, really generates, shows the files, and cleans up.

Fails loudly: a missing file, a fake file, or a process left behind is an error.
"""

from __future__ import annotations

import struct
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import click

from genpulse.cli.answers import Json, outputs_of
from genpulse.cli.api import Api, UnreachableError
from genpulse.cli.attend import attend
from genpulse.cli.child_server import ChildServer
from genpulse.cli.failure import CommandError, Exit
from genpulse.cli.follow import Ticked, Update
from genpulse.cli.outputs import prepare_folder, save_outputs
from genpulse.cli.progress import View, make_view
from genpulse.cli.report import describe, seconds_between
from genpulse.cli.session import Session, command, pass_session
from genpulse.cli.terminal import clean, document, result, say

_SIDE = 1024
_IMAGE: Json = {
    "task_type": "text-to-image",
    "params": {"prompt": "a lighthouse by the sea at sunset, oil painting", "width": _SIDE, "height": _SIDE, "seed": 7},
}
_SPEECH: Json = {
    "task_type": "text-to-speech",
    "params": {"text": "Hello from GenPulse. Nothing accepted is lost, and nothing is paid twice."},
}
_CANCELED: Json = {
    "task_type": "text-to-image",
    "params": {"prompt": "snowy mountains under the stars", "width": 2048, "height": 2048, "seed": 8},
}
_LABELS = ("image", "speech", "image, to be canceled")
_READY_S = 10.0
_LEAST_BYTES = 1000

_NEXT = """
Now start it for good:   {program} start-all
and in another terminal: {program} run text-to-image -p prompt="a lighthouse at dawn" -o out
or with curl:
  curl -s http://127.0.0.1:8000/task -H 'Content-Type: application/json' -H 'Prefer: wait=60' \\
    -d '{{"task_type": "text-to-image", "params": {{"prompt": "a lighthouse at dawn", "width": 512, "height": 512}}}}'
"""


@command("demo", examples="genpulse demo\ngenpulse demo -o /tmp/demo")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), default="out")
@pass_session
def demo(session: Session, /, folder: Path) -> None:
    """Start everything, generate an image and speech, cancel a third task, stop everything.

    Uses a temporary data directory and a free port; a server that runs already isn't touched.
    """
    prepare_folder(folder)
    began = time.monotonic()
    with ChildServer("--pools", "local=3,handlers=50") as server:
        say("Starting a GenPulse of its own: gateway, queue, database and worker …")
        with Api(server.start()) as api:
            _wait_until_ready(api)
            say(f"It serves {clean(api.base_url)} after {time.monotonic() - began:.1f} s. Three tasks at once:")
            finals = _generate(api, server)
            made = [(final, _save_and_check(api, final, folder)) for final in finals[:2]]
        left = server.stop()
    if left:
        raise CommandError(f"The server left behind: {', '.join(left)}.", "Please report this.", code="leftovers")
    _print(session, made, finals[2])
    say(f"Everything is stopped again, nothing is left running. {time.monotonic() - began:.1f} s in all.")
    say(_NEXT.format(program=_program()))


def _program() -> str:
    """How this program was called, so that the next command can be copied: `genpulse` or `python manager.py`."""
    script = Path(sys.argv[0])
    if script.suffix != ".py":
        return "genpulse"
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{shown} {script}"


def _wait_until_ready(api: Api) -> None:
    end = time.monotonic() + _READY_S
    while True:
        try:
            status = api.status()
        except UnreachableError:
            status = {}  # it has told its address before it listens
        if status.get("status") == "ok":
            return
        if time.monotonic() > end:
            raise CommandError(f"The server isn't healthy: {status or 'no answer'}.", "Run `genpulse doctor`.")
        time.sleep(0.05)


def _generate(api: Api, server: ChildServer) -> list[Json]:
    """The final tasks, in the order of the labels."""
    tasks = [api.submit(body, str(uuid.uuid4())) for body in (_IMAGE, _SPEECH, _CANCELED)]
    ids = [str(task["task_id"]) for task in tasks]
    with make_view(quiet=False) as view:
        for task_id, label in zip(ids, _LABELS, strict=True):
            view.add(task_id, label)
        try:
            ended = attend(
                api, dict(zip(ids, tasks, strict=True)), view, on_update=_Canceler(api, ids[2], view), timeout_s=300
            )
        except CommandError as error:
            if error.code != "detached":
                raise
            advice = "Run `genpulse demo` again."
            if error.exit_code == Exit.INTERRUPTED:
                raise CommandError("The demo was stopped.", advice, exit_code=Exit.INTERRUPTED) from None
            raise CommandError("The tasks took longer than 300 s.", advice, excerpt=server.log_tail()) from None
    return [ended[task_id] for task_id in ids]


class _Canceler:
    """Cancels one task as soon as it is seen to make progress."""

    def __init__(self, api: Api, task_id: str, view: View) -> None:
        self._api = api
        self._task_id = task_id
        self._view = view
        self._done = False

    def __call__(self, update: Update) -> None:
        if self._done or update.task_id != self._task_id:
            return
        if isinstance(update, Ticked) and (update.progress or 0) > 0:
            self._done = True
            self._view.note(f"Canceling the third one at {update.progress:.0f} % …")
            self._api.cancel(self._task_id)


def _save_and_check(api: Api, final: Json, folder: Path) -> Path:
    if final.get("status") != "completed":
        error: Any = final.get("error") or {}
        message = f"{final.get('task_type')} {final.get('status')}: {error.get('message')}"
        raise CommandError(message, "Run `genpulse doctor`: it tests each part and says what to do.")
    paths = save_outputs(api, final, folder)
    if len(paths) != 1:
        raise CommandError(f"{final.get('task_type')} made {len(paths)} files instead of one.", "Please report this.")
    problem = check_file(paths[0], str(outputs_of(final)[0].get("media_type")))
    if problem is not None:
        raise CommandError(f"{paths[0]} is not what it should be: {problem}.", "Please report this.")
    return paths[0]


def check_file(path: Path, media_type: str) -> str | None:
    """What is wrong with a file of the demo, by its own bytes; None when it is real."""
    content = path.read_bytes()
    if len(content) < _LEAST_BYTES:
        return f"it has only {len(content)} bytes"
    if media_type == "image/png":
        if content[:8] != b"\x89PNG\r\n\x1a\n" or content[-8:-4] != b"IEND":
            return "it is no whole PNG"
        size = struct.unpack(">II", content[16:24])
        return None if size == (_SIDE, _SIDE) else f"it measures {size[0]}×{size[1]}"
    if media_type in {"audio/wav", "audio/x-wav", "audio/vnd.wave"}:
        return None if content[:4] == b"RIFF" and content[8:12] == b"WAVE" else "it is no WAV"
    return f"its type is {media_type}"


def _print(session: Session, made: list[tuple[Json, Path]], third: Json) -> None:
    entries = [
        {
            "task_type": final.get("task_type"),
            "file": str(path),
            "took_s": seconds_between(final.get("started_at"), final.get("finished_at")),
        }
        for final, path in made
    ]
    if session.json:
        document({"files": entries, "third": third.get("status")})
        return
    for (final, path), entry in zip(made, entries, strict=True):
        result(str(path))
        say(f"  {describe(outputs_of(final)[0])}; {clean(final.get('model'))} took {entry['took_s'] or 0:.1f} s")
    if third.get("status") == "canceled":
        say("  The third task was canceled midway and has stopped.")
    else:
        say(f"  The third task was faster than its cancellation: {clean(third.get('status'))}.")
