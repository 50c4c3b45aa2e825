"""GenPulse: one self-hosted door to generative media.

This module is the public door for plugins: `from genpulse import BaseHandler, Context, Job, Model, TaskError,
register, register_model`.
"""

from importlib.metadata import version

from genpulse.core.context import Context
from genpulse.core.models import Job
from genpulse.core.registry import Model, register, register_model
from genpulse.errors import TaskError
from genpulse.handlers.base import BaseHandler

__all__ = ["BaseHandler", "Context", "Job", "Model", "TaskError", "__version__", "register", "register_model"]

__version__ = version("genpulse")
