"""Counting: bounded label sets, registries that don't clash, a loop that is late is seen to be."""

import asyncio
import time

from prometheus_client.parser import text_string_to_metric_families

from genpulse.core.loop_lag import watch_event_loop
from genpulse.core.metrics import Metrics


async def test_label_sets_are_bounded() -> None:
    metrics = Metrics()
    for n in range(700):
        metrics.tasks_rescued.of(f"pool-{n}").inc()
    metrics.tasks_rescued.of("pool-0").inc()  # one that is known stays apart
    families = {f.name: f for f in text_string_to_metric_families((await metrics.exposition()).decode())}
    values = {sample.labels["pool"]: sample.value for sample in families["genpulse_tasks_rescued"].samples}
    assert len(values) == 501 and values["other"] == 200 and values["pool-0"] == 2


async def test_systems_in_one_process_don_t_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.queue_call_errors.inc()
    assert b"genpulse_queue_call_errors_total 1.0" in await one.exposition()
    assert b"genpulse_queue_call_errors_total 0.0" in await other.exposition()


async def test_a_blocked_loop_is_seen() -> None:
    metrics = Metrics()
    watching = asyncio.create_task(watch_event_loop(metrics, every_s=0.01))
    await asyncio.sleep(0)  # its timer runs
    time.sleep(0.12)
    await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    total = metrics.registry.get_sample_value("genpulse_event_loop_lag_seconds_sum")
    assert total is not None and total >= 0.1
