"""The harness starts the real thing, measures it and leaves nothing behind."""

import psutil
import pytest

from bench.harness import DATABASES, CpuMeter, system


@pytest.mark.slow
@pytest.mark.parametrize("database", DATABASES)
def test_a_system_runs_the_bench_plugin_and_leaves_no_process(database: str) -> None:
    running = system(database, GENPULSE_DRAIN_S="0")
    with running as made, made.running("start-all") as process, made.client() as client:
        meter = CpuMeter(lambda: made.servers(process))
        assert client.end(client.submit("bench-no-op"))["result"]["data"]["started_ns"] > 0
        remote = client.submit("bench-remote")
        status, waiting = client.ask("GET", f"/task/{remote['task_id']}?wait=0.5")
        assert (status, waiting["status"]) == (200, "processing")
        assert made.valkey("PING") == b"+PONG\r\n"
        servers = [found for group in made.servers(process).values() for found in group]
        assert len(servers) >= 2
        assert all(used >= 0 for used in meter.used().values())
    assert not [found for found in servers if psutil.pid_exists(found.pid)]
