"""Local engines: models that run in child processes of the worker.

Importing this package registers them (it is their entry point) and loads none of their libraries.
"""

from genpulse.engines import hibari, sketch

__all__ = ["hibari", "sketch"]
