"""Runs one handler alone under uvloop until it is killed: `worker_program.py TASK_TYPE FOLDER`."""

import sys
import tempfile
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from genpulse.core import states
from genpulse.core.ids import new_id
from genpulse.core.models import NewTask, Priority, Snapshot
from genpulse.isolation import ProcessIsolation


class Calls:
    def report(self, snapshot: Snapshot) -> None:
        del snapshot


async def main(task_type: str, folder: str) -> None:
    fields = {"id": new_id(), "tenant": "t", "task_type": task_type, "model": f"local/{task_type}", "pool": "handlers"}
    fields |= {"params": {"folder": folder}, "metadata": {}, "options": {}, "seed": 1}
    task, _ = states.accepted(NewTask(**fields, priority=Priority.NORMAL), 1)  # type: ignore[arg-type]
    isolation = ProcessIsolation(["tests.isolation.plugin"])
    await isolation.run(task, Path(tempfile.gettempdir()), Calls())  # type: ignore[arg-type]


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
