"""Parent side of a local engine: one child process (`host`) that runs one job after the other."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, cast

from genpulse.core.models import Finished, RemoteOutput, Snapshot
from genpulse.engines.engine import EngineLimits
from genpulse.errors import TaskError
from genpulse.media.child_process import ChildDiedError, ChildProcess, Message

_log = logging.getLogger(__name__)

_job_ids = itertools.count(1)


class EngineChild(ChildProcess):
    """A child that runs jobs of one engine."""

    limits: EngineLimits

    @classmethod
    async def launch(cls, engine: str, limits: EngineLimits) -> EngineChild:
        """Start a child; it loads its engine at the first job.

        Args:
            engine: `module:attribute` of the engine's class.
        """
        threads = str(limits.threads)
        variables = {
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
            "HF_HUB_OFFLINE": "1",  # no library may fetch weights behind our back
            **limits.extra,
        }
        child = await cls.start(
            "genpulse.engines.host",
            engine,
            label=f"engine {engine.partition(':')[0].rpartition('.')[2]}",
            hello={"memory_mb": limits.memory_mb, "nice": limits.nice},
            variables=variables,
        )
        child = cast("EngineChild", child)
        child.limits = limits
        return child

    async def run(self, job: Message, report: Callable[[Snapshot], None]) -> Finished:
        """Run one job to its end. Cancelling the call stops the job, by force if need be.

        Raises:
            TaskError: the job failed: its own error, `timeout`, or `engine_failed` when the process is at fault.
        """
        job_id = next(_job_ids)
        self.busy = True
        try:
            async with asyncio.timeout(self.limits.job_s):
                await self.send({**job, "job_id": job_id})
                return self._finished(await self._end(report))
        except ChildDiedError as error:
            raise TaskError("engine_failed", f"The engine's process {error}.") from error
        except TimeoutError as error:
            self.kill()
            message = f"The engine took longer than its limit of {self.limits.job_s:g} s."
            raise TaskError("timeout", message) from error
        except asyncio.CancelledError:
            await self._stop_job(job_id)
            raise

    async def _end(self, report: Callable[[Snapshot], None]) -> Message:
        """Pass progress on until the job's last message."""
        while True:
            message = await self.receive()
            if "end" in message:
                return message
            if "preview" in message:
                preview = bytes.fromhex(message["preview"])
                report(Snapshot(preview=preview, preview_media_type="image/jpeg"))
            else:
                report(Snapshot(progress=message["progress"], stage=message["stage"]))

    def _finished(self, end: Message) -> Finished:
        match end["end"]:
            case "done":
                self.busy = False
                return _result(end["result"])
            case "failed":
                self.busy = False
                raise TaskError(end["code"], end["message"], retryable=end["retryable"])
            case _:
                self.kill()  # whatever state it is in, a new one is cleaner
                _log.error("%s broke:\n%s", self.label, end.get("traceback", "(cancelled by itself)"))
                raise TaskError("engine_failed", str(end.get("message", "The engine stopped by itself.")))

    async def _stop_job(self, job_id: int) -> None:
        """Ask it to stop, wait a little, and kill it when it doesn't: afterwards surely nothing runs."""
        try:
            async with asyncio.timeout(self.limits.cancel_s):
                await self.send({"cancel": job_id})
                end = await self._end(lambda _: None)
        except (TimeoutError, ChildDiedError):
            self.kill()
        except BaseException:
            self.kill()
            raise
        else:
            self.busy = end["end"] == "broken"


def _result(result: dict[str, Any]) -> Finished:
    outputs = tuple(
        RemoteOutput(output["name"], {"path": output["name"]}, output["media_type"]) for output in result["outputs"]
    )
    return Finished(outputs=outputs, data=result["data"], warnings=tuple(result["warnings"]))
