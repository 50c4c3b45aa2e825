"""What the template loads as a plugin in tests: registers the handlers that `tests.core.system` has too."""

from genpulse import register
from tests.isolation.handlers import HANDLERS

for _task_type, _handler in HANDLERS.items():
    register(_task_type)(_handler)
