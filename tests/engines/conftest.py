from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from genpulse.core.models import Job
from genpulse.engines.engine import EngineLimits
from genpulse.engines.local_backend import LocalBackend

SAMPLE = "tests.engines.samples:Sample"

MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    def make(params: Any = None, *, model: str = "local/sample", seed: int = 7, **values: Any) -> Job:
        token = str(uuid4())
        work_dir = tmp_path / token
        work_dir.mkdir()
        return Job(
            "task", "default", "sample", model, 1, seed, params if params is not None else values, token, work_dir
        )

    return make


@pytest.fixture
async def backend() -> AsyncIterator[LocalBackend]:
    made = LocalBackend(SAMPLE, EngineLimits(memory_mb=1024, cancel_s=0.5, job_s=20))
    yield made
    await made.close()
