"""What a system with nothing to do costs: `start-all`, its queue and its database."""

import time

import psutil

from bench.harness import CpuMeter, system
from bench.report import Figure

_SECONDS = 15
_CPU = 0.02


def measure(database: str, *, large: bool) -> list[Figure]:
    del large
    with system(database) as made, made.running("start-all") as process:
        time.sleep(3)  # after the start's own work
        meter = CpuMeter(lambda: made.servers(process))
        time.sleep(_SECONDS)
        cpu = meter.share()
        main = psutil.Process(process.popen.pid)
        children = [child for child in main.children(recursive=True) if child.name() != "valkey-server"]
        rss = {"genpulse": main.memory_info().rss, "its other children": sum(c.memory_info().rss for c in children)}
    shown = " + ".join(f"{name} {size / 2**20:.0f}" for name, size in rss.items() if size)
    return [
        Figure(
            f"idle system: CPU over {_SECONDS} s, all processes", f"{cpu:.1%} of a core", f"≤ {_CPU:.0%}", cpu <= _CPU
        ),
        Figure("idle system: memory (RSS)", f"{shown} MB"),
    ]
