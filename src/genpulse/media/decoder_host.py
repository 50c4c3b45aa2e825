"""The program that decodes hostile files: `python -m genpulse.media.decoder_host`, started by `MediaInspector`.

One file at a time, each with a bound of CPU time that the kernel enforces; memory, written bytes and open files are
bounded for good.
"""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

from genpulse.media.child_link import MIB, Link, Message, limit_memory
from genpulse.media.decode import UndecodableError, probe, thumbnail

_MAX_WRITTEN = 16 * MIB
_MAX_FILES = 64


def main() -> None:
    link = Link()
    limit_memory(link.hello["memory_mb"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_WRITTEN, _MAX_WRITTEN))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))
    while (request := link.receive()) is not None:
        _limit_cpu(request["cpu_s"])
        link.send(_answer(request))


def _answer(request: Message) -> Message:
    path = Path(request["path"])
    try:
        target = request.get("thumbnail")
        info = thumbnail(path, Path(target), request["size"]) if target else probe(path)
    except UndecodableError as error:
        return {"undecodable": str(error)}
    except MemoryError:
        return {"undecodable": "The file needs too much memory."}
    except OSError as error:
        return {"unreadable": error.strerror or type(error).__name__}
    return {"info": dataclasses.asdict(info)}


def _limit_cpu(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 1, hard))


if __name__ == "__main__":
    main()
