"""Handlers of suspects, each in a process of its own: what crashes there takes nothing else with it (ADR 0007).

A *template* process has loaded GenPulse and the plugins and forks one child for each call of a handler. `isolation` and
`template` are the worker's side; `template_host` is the program, and `call_host` what its forks do.
"""

from genpulse.isolation.isolation import ProcessIsolation

__all__ = ["ProcessIsolation"]
