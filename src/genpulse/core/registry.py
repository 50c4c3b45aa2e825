"""What this server can do: handlers by task type and models by id.

Built-ins and plugins come in through the same two functions, `register` and `register_model`, which fill the
process-wide `registry` when their module is imported.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, overload

from pydantic import BaseModel

from genpulse.core.ports import Backend

TASK_TYPE = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
MODEL_ID = re.compile(r"^[a-z0-9][a-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$")


class Handler(Protocol):
    """What one task type means. `genpulse.BaseHandler` is the base to derive from."""

    Params: type[BaseModel] | None
    default_model: str | None
    pool: str
    description: str

    def validate_params(self, params: dict[str, Any]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Model:
    """One thing that can run tasks, addressed as `provider/name`.

    `backend` makes its backend, once per worker process and only when a task needs it; without one the handler's own
    `execute` runs. `params` narrows the task type's parameters to what this model takes.
    """

    id: str
    task_types: tuple[str, ...]
    description: str = ""
    pool: str = "local"
    params: type[BaseModel] | None = None
    backend: Callable[[], Backend] | None = None
    warn: Callable[[Any], Iterable[str]] | None = None
    """Given the validated params: sentences for `warnings`, known at accept."""
    available: Callable[[], str | None] | None = None
    """Why it can't run here (a missing extra, say), or None."""

    @property
    def provider(self) -> str:
        return self.id.split("/", 1)[0]


HandlerClass = TypeVar("HandlerClass", bound=type[Any])


class Registry:
    """Handlers and models. Registering a name twice is an error unless it is the same module loaded again."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._models: dict[str, Model] = {}

    @overload
    def register(self, task_type: str, /) -> Callable[[HandlerClass], HandlerClass]: ...
    @overload
    def register(self, task_type: HandlerClass, /) -> HandlerClass: ...
    def register(self, task_type: Any, /) -> Any:
        """Register a handler class: `@register("my-type")`, or `@register` on a class with a `task_type`.

        Raises:
            ValueError: the name is no hyphenated lower-case word, or is taken.
        """
        if not isinstance(task_type, str):
            return self.register(str(getattr(task_type, "task_type", "")))(task_type)

        def decorate(handler_class: HandlerClass) -> HandlerClass:
            self._add_handler(task_type, handler_class)
            return handler_class

        return decorate

    def _add_handler(self, task_type: str, handler_class: type[Any]) -> None:
        if not TASK_TYPE.match(task_type):
            raise ValueError(f"task type {task_type!r} must be lower-case words joined by hyphens, like text-to-image")
        known = self._handlers.get(task_type)
        if known is not None and type(known).__qualname__ != handler_class.__qualname__:
            raise ValueError(f"task type {task_type!r} is already registered by {type(known).__module__}")
        handler_class.task_type = task_type
        handler: Handler = handler_class()
        self._handlers[task_type] = handler
        if handler.default_model is None:
            handler.default_model = f"local/{task_type}"
        if getattr(handler_class, "runs_itself", False) and handler.default_model not in self._models:
            description = handler.description or inspect.getdoc(handler_class) or ""
            self.register_model(
                Model(handler.default_model, (task_type,), description, pool=handler.pool, params=handler.Params)
            )

    def register_model(self, model: Model) -> Model:
        """Register a model.

        Raises:
            ValueError: the id is not `provider/name`, or is taken by another definition.
        """
        if not MODEL_ID.match(model.id):
            raise ValueError(f"model id {model.id!r} must look like provider/name")
        self._models[model.id] = model
        return model

    def handler(self, task_type: str) -> Handler | None:
        return self._handlers.get(task_type)

    def model(self, model_id: str) -> Model | None:
        return self._models.get(model_id)

    @property
    def task_types(self) -> list[str]:
        return sorted(self._handlers)

    @property
    def models(self) -> list[Model]:
        return sorted(self._models.values(), key=lambda model: model.id)

    def params_of(self, task_type: str, model: Model) -> type[BaseModel] | None:
        """The schema that validates params: the model's own, else the task type's; None for a scaffold handler."""
        handler = self._handlers[task_type]
        return model.params or handler.Params

    def copy(self) -> Registry:
        """An independent registry with the same content."""
        other = Registry()
        other._handlers = dict(self._handlers)
        other._models = dict(self._models)
        return other


registry = Registry()
"""The process-wide registry that plugins fill when they are imported."""

register = registry.register
register_model = registry.register_model
