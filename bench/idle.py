"""What a system with nothing to do costs: `start-all`, its queue and its database."""

import time

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
        used = {name: seconds / _SECONDS for name, seconds in meter.used().items()}
        rss = sum(found.memory_info().rss for found in made.servers(process)["genpulse"])
    cpu = sum(used.values())
    parts = " + ".join(f"{name} {share:.1%}" for name, share in used.items())
    return [
        Figure(f"idle system, CPU over {_SECONDS} s", f"{cpu:.1%} of a core ({parts})", f"≤ {_CPU:.0%}", cpu <= _CPU),
        Figure("idle system, memory (RSS) of start-all", f"{rss / 2**20:.0f} MB"),
    ]
