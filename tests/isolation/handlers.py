"""Handlers that run the same in a worker and alone; what they really did is written to files outside of GenPulse."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from genpulse import BaseHandler, Context, Job, TaskError
from genpulse.core.params import MediaInput, Params
from genpulse.errors import RequestError

_LOOK_S = 0.01


class Everything(Params):
    picture: MediaInput
    text: str


class UseEverything(BaseHandler):
    """Uses all of its context."""

    Params = Everything

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        await context.progress(40, "reading")
        await context.log("reads")
        await context.log("x" * 3000)
        source = await context.read(job.params.picture)
        context.warn("loud")
        saved = await asyncio.gather(
            *(context.save(f"{job.params.text} {n}".encode(), f"{n}.txt") for n in range(20)),
        )
        copy = context.work_dir / "copy"
        copy.write_bytes(source.read_bytes() * 2)
        saved.append(await context.save(copy, "copy.txt"))
        logging.getLogger("a.plugin").warning("it logs")
        return {
            "seed": job.seed,
            "attempt": job.attempt,
            "token": bool(job.token),
            "task": bool(job.task_id),
            "params": type(job.params).__name__,
            "inside": source.parent == context.work_dir == job.work_dir,
            "saved": sorted((file["name"], file["bytes"]) for file in saved),
        }


class Plain(BaseHandler):
    """In the scaffold's shape."""

    async def execute(self, task: dict[str, Any], context: dict[str, Any]) -> Any:
        await context["update_status"]("processing", progress=40)
        assert context["task_id"] == task["task_id"]
        return {name: task[name] for name in ("task_type", "model", "params", "priority", "metadata", "seed")}


class Blocking(BaseHandler):
    def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        time.sleep(_LOOK_S)
        return {"params": task["params"]}


class Failing(BaseHandler):
    """Fails as `how` says."""

    async def execute(self, job: Any, context: Any = None) -> Any:
        match job["params"]["how"]:
            case "task-error":
                raise TaskError("content_policy", "Not that.", money_at_risk=True)
            case "request-error":
                raise RequestError("not_found", "no")
            case "bug":
                raise ValueError("secret")
            case "list":
                return [1]
            case "no-json":
                return {"a": object()}
            case "own-cancel":
                await asyncio.wait_for(asyncio.sleep(9), _LOOK_S)
        return None


class FailingFiles(BaseHandler):
    """Tells what it caught."""

    Params = Everything

    async def execute(self, job: Job, context: Context) -> dict[str, Any]:
        caught: list[str] = []
        try:
            await context.save(context.work_dir / "missing", "a")
        except OSError as error:
            caught.append(f"{type(error).__name__} {error.errno}")
        try:
            await context.read("data:text/plain;base64,?")
        except TaskError as error:
            caught.append(f"{error.code} {error.message} {error.retryable}")
        await context.read(job.params.picture)
        return {"caught": caught}


class Dying(BaseHandler):
    """Takes its process along."""

    async def execute(self, task: dict[str, Any]) -> None:
        mark(task["params"], "start")
        match task["params"]["how"]:
            case "exit":
                os._exit(70)
            case "segfault":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "group":
                os.killpg(0, signal.SIGKILL)
            case "garbage":
                for descriptor in range(3, 40):
                    try:
                        os.write(descriptor, b"no message\n")
                    except OSError:
                        continue
                await asyncio.sleep(60)
            case "parent":
                os.kill(os.getppid(), signal.SIGKILL)
                await asyncio.sleep(60)


class Holding(BaseHandler):
    """Holds until the file `open` is there."""

    async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        params = task["params"]
        mark(params, "start")
        if params.get("beside"):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", params["beside"]])
        try:
            while not (Path(params["folder"]) / "open").exists():
                await asyncio.sleep(_LOOK_S)
        except asyncio.CancelledError:
            mark(params, "stop")
            if params.get("stubborn"):
                await asyncio.sleep(60)
            raise
        return {"pid": os.getpid()}


class HoldingThread(BaseHandler):
    """The same, blocking a thread."""

    def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        mark(task["params"], "start")
        while not (Path(task["params"]["folder"]) / "open").exists():
            time.sleep(_LOOK_S)
        return {"pid": os.getpid()}


class HoldingEverything(BaseHandler):
    """Blocks the whole interpreter, as C code may."""

    async def execute(self, task: dict[str, Any]) -> None:
        mark(task["params"], "start")
        ctypes.PyDLL(None).sleep(60)


class Environment(BaseHandler):
    async def execute(self, task: dict[str, Any]) -> dict[str, Any]:
        return {"names": sorted(os.environ)}


HANDLERS = {
    "use-everything": UseEverything,
    "plain": Plain,
    "blocking": Blocking,
    "failing": Failing,
    "failing-files": FailingFiles,
    "dying": Dying,
    "holding": Holding,
    "holding-thread": HoldingThread,
    "holding-everything": HoldingEverything,
    "environment": Environment,
}


def mark(params: dict[str, Any], kind: str) -> None:
    """One line: what and in which process."""
    with (Path(params["folder"]) / "marks").open("a") as marks:
        marks.write(f"{kind} {os.getpid()} {params.get('label', '')}\n")


class Marks:
    """A folder for one test's handlers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "marks").touch()

    def params(self, **fields: Any) -> dict[str, Any]:
        return {"folder": str(self.folder), **fields}

    def open(self) -> None:
        (self.folder / "open").touch()

    def of(self, kind: str) -> list[int]:
        """The processes that made such marks."""
        lines = (self.folder / "marks").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == kind]

    async def until(self, kind: str, count: int = 1, within_s: float = 15) -> list[int]:
        async with asyncio.timeout(within_s):
            while len(found := self.of(kind)) < count:
                await asyncio.sleep(_LOOK_S)
            return found
