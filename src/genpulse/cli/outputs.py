"""Saves the outputs of a finished task: whole, verified, under safe names that overwrite nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from genpulse.cli.answers import Json, outputs_of
from genpulse.cli.api import Api, UnreachableError
from genpulse.cli.failure import CommandError
from genpulse.core.files import safe_name

_TRIES = 3


def prepare_folder(folder: Path) -> Path:
    """Create the folder before anything is paid for."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".genpulse-{id(folder)}"
        probe.touch()
        probe.unlink()
    return folder


def save_outputs(api: Api, task: Json, folder: Path) -> list[Path]:
    """Download every output of a completed task; the paths in the same order.

    Raises:
        CommandError: a file can't be fetched or written, or isn't what the gateway said.
    """
    return [_save(api, str(task["task_id"]), output, folder) for output in outputs_of(task)]


def _save(api: Api, task_id: str, output: Mapping[str, Any], folder: Path) -> Path:
    for attempt in itertools.count(1):
        with _writing(folder):
            target = _reserve(folder, safe_name(str(output.get("name") or "file")))
        part = target.with_name(f".{target.name}.part")
        try:
            _fetch(api, output, part)
            with _writing(folder):
                part.replace(target)
        except BaseException as error:
            part.unlink(missing_ok=True)
            target.unlink(missing_ok=True)
            if attempt == _TRIES or not _worth_another_try(error):
                raise
            output = _fresh(api, task_id, output)  # a signed URL lives an hour only
        else:
            return target
    raise AssertionError("the loop returns or raises")


def _fetch(api: Api, output: Mapping[str, Any], part: Path) -> None:
    size = int(output.get("bytes") or 0)
    with _writing(part.parent), part.open("wb") as out:
        digest = api.download(str(output["url"]), out, most=size)
    if digest != output.get("sha256") or part.stat().st_size != size:
        advice = "Try `genpulse watch TASK_ID -o DIR` again; if it stays so, the gateway's storage is damaged."
        raise CommandError("A downloaded file is not the one that was announced.", advice, code="damaged")


def _reserve(folder: Path, name: str) -> Path:
    """Create an empty file under the first free name: `name`, `name-2`, …; exclusive, so two runs never share one."""
    stem, suffix = Path(name).stem, Path(name).suffix
    for number in itertools.count(1):
        path = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        with contextlib.suppress(FileExistsError):
            path.open("xb").close()
            return path
    raise AssertionError("the loop returns")


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, UnreachableError) or (isinstance(error, CommandError) and error.code == "url_expired")


def _fresh(api: Api, task_id: str, output: Mapping[str, Any]) -> Mapping[str, Any]:
    found = outputs_of(api.task(task_id))
    return next((other for other in found if other.get("file_id") == output.get("file_id")), output)


@contextlib.contextmanager
def _writing(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        message = f"Can't write to {folder}: {error.strerror or error}."
        raise CommandError(message, "Name another folder with -o.", code="not_writable") from error
