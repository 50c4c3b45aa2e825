"""What can be known about another worker's process."""

import os
import subprocess
import sys

import pytest

from genpulse.core import hosts


def test_a_living_process_is_not_gone() -> None:
    other = hosts.identify() | {"pid": os.getppid()}
    assert not hosts.surely_gone(other)
    assert not hosts.crashed(other)


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    other = hosts.identify() | {"pid": process.pid}
    assert hosts.surely_gone(other)
    assert hosts.crashed(other)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_process_that_ended_is_gone_before_its_parent_asks() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        other = hosts.identify() | {"pid": process.pid}
        assert hosts.surely_gone(other)
        assert hosts.crashed(other)


def test_a_machine_that_was_started_again_has_no_old_processes_and_no_crash() -> None:
    other = hosts.identify() | {"boot": "earlier"}
    assert hosts.surely_gone(other)
    assert not hosts.crashed(other)


@pytest.mark.parametrize("field", ["host", "pid_space"])
def test_elsewhere_nothing_can_be_seen(field: str) -> None:
    """Two containers may have one host name, and each a process 1."""
    other = hosts.identify() | {field: "another"}
    assert not hosts.surely_gone(other)
    assert hosts.crashed(other), "taken back when the worker wakes up again"
