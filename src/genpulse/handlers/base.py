"""`BaseHandler`: derive from it to add a task type.

Two shapes work:

* typed: set `Params` to a Pydantic model; `execute(job, context)` gets a `Job` whose `params` is that model;
* plain (the scaffold's): no `Params`; `execute(task)` or `execute(task, context)` gets a dict and returns a dict,
  which becomes `result.data`. `validate_params` returning False is a 422 on `params`.

A handler that doesn't override `execute` names a task type whose models bring a backend.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from genpulse.core.context import Context
from genpulse.core.models import Job


class BaseHandler:
    """Meaning of one task type. One instance serves all tasks: keep no state of a task on it."""

    task_type: ClassVar[str] = ""
    Params: type[BaseModel] | None = None
    default_model: str | None = None
    """The model for requests without one; absent: `local/<task_type>`."""
    pool: str = "handlers"
    """Which worker pool runs `execute`."""
    description: str = ""
    runs_itself: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.runs_itself = cls.execute is not BaseHandler.execute

    def validate_params(self, params: dict[str, Any]) -> bool:
        """False refuses the request (422 on `params`). `Params`, where set, has been checked before."""
        del params
        return True

    async def execute(self, job: Job, context: Context) -> dict[str, Any] | None:
        """Do the work. The returned dict becomes `result.data`; files are stored with `context.save`.

        Raises:
            TaskError: ends the task with its code; any other exception ends it as `internal`.
        """
        raise NotImplementedError("this task type runs on models with a backend")
