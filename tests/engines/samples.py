"""Engines that behave in known ways; they run in real child processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from genpulse.engines.engine import EngineJob, EngineOutput, EngineResult, Report
from genpulse.errors import TaskError


class Sample:
    """Does what `params["do"]` says."""

    def __init__(self) -> None:
        self.jobs = 0

    def run(self, job: EngineJob, report: Report) -> EngineResult:
        self.jobs += 1
        action = getattr(self, job.params.get("do", "write"))
        return action(job, report)

    def write(self, job: EngineJob, report: Report) -> EngineResult:
        report.progress(10, "thinking")
        report.preview(b"\xff\xd8\xff a picture")
        report.progress(60, "writing")
        text = job.params.get("text", "") * job.params.get("times", 1)
        (job.folder / "out.txt").write_text(text)
        data = {"pid": os.getpid(), "jobs": self.jobs, "seed": job.seed}
        return EngineResult((EngineOutput("out.txt", "text/plain"),), data=data, warnings=("mind the gap",))

    def chatter(self, job: EngineJob, report: Report) -> EngineResult:
        print("not a message")
        sys.stdout.flush()
        os.write(1, b"{}\n")
        subprocess.run(["echo", "from a grandchild"], check=True)
        assert sys.stdin.read() == ""
        return self.write(job, report)

    def wait(self, job: EngineJob, report: Report) -> EngineResult:
        """Obeys a cancel."""
        report.progress(5, "waiting")
        while True:
            report.check()
            time.sleep(0.005)

    def stubborn(self, job: EngineJob, report: Report) -> EngineResult:
        report.progress(5, "waiting")
        time.sleep(60)
        return EngineResult()

    def interrupted(self, job: EngineJob, report: Report) -> EngineResult:
        """Like a library that is stopped from another thread, and then raises an error of its own."""
        stopped: list[bool] = []
        report.on_cancel(lambda: stopped.append(True))
        report.progress(5, "waiting")
        while not stopped:
            time.sleep(0.005)
        raise RuntimeError("terminated")

    def crash(self, job: EngineJob, report: Report) -> EngineResult:
        os.kill(os.getpid(), 11)
        return EngineResult()

    def leave(self, job: EngineJob, report: Report) -> EngineResult:
        os._exit(3)

    def bug(self, job: EngineJob, report: Report) -> EngineResult:
        raise ValueError("/a/secret/path")

    def refuse(self, job: EngineJob, report: Report) -> EngineResult:
        raise TaskError("input_unreadable", "That is no picture.")

    def hog(self, job: EngineJob, report: Report) -> EngineResult:
        return EngineResult(data={"bytes": len(bytearray(4 << 30))})

    def name_a_path(self, job: EngineJob, report: Report) -> EngineResult:
        return EngineResult((EngineOutput("../../secret.txt", "text/plain"),))

    def link_out(self, job: EngineJob, report: Report) -> EngineResult:
        (job.folder / "link.txt").symlink_to(Path(__file__))
        return EngineResult((EngineOutput("link.txt", "text/plain"),))

    def environment(self, job: EngineJob, report: Report) -> EngineResult:
        return EngineResult(data={"names": sorted(os.environ), "nice": os.nice(0), "session": os.getsid(0)})
