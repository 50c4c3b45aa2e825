"""Measures how late timers fire: a loop that is kept busy or blocked serves everybody late."""

from __future__ import annotations

import asyncio
import time

from genpulse.core.metrics import Metrics


async def watch_event_loop(metrics: Metrics, *, every_s: float = 0.5) -> None:
    """Measure until cancelled."""
    while True:
        # Not `loop.time()`: uvloop's is that of the last look at its timers, in whole milliseconds.
        due = time.monotonic() + every_s
        await asyncio.sleep(every_s)
        metrics.event_loop_lag_seconds.observe(max(0.0, time.monotonic() - due))
