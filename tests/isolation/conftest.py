"""The system of the core's tests, and a folder in which handlers leave their marks."""

from pathlib import Path

import pytest

from tests.core.conftest import make_system, system
from tests.isolation.handlers import Marks

__all__ = ["make_system", "system"]


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "marks")
