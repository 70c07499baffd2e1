"""Back-off, by the clock that is passed in; what is told of an end, and when."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gatehouse.config.leash import ControlProcess
from gatehouse.supervisor.child import Backoff, Child


def test_doubles_to_ten_seconds() -> None:
    backoff = Backoff()
    delays = [backoff.after(1.0) for _ in range(10)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_begins_again_after_30_seconds_of_life() -> None:
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (0.0, 29.9, 30.0, 0.0)] == [0.1, 0.2, 0.1, 0.2]


def test_its_end_is_told_before_its_pid_can_be_anybody_elses() -> None:
    """Control kills by the pid that a worker wrote down; it must be gone from there by then."""
    told: list[int] = []

    def over() -> None:
        pid = child.pid
        assert pid is not None
        # Not reaped yet: the process is still there to be waited for.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert ended is not None
        told.append(ended.si_pid)

    child = Child("worker 0", "gatehouse.nothing", _arguments, (), over)
    child.start(0.0)
    pid, deadline = child.pid, time.monotonic() + 20
    while (how := child.ended()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert (how, told) == ("exit status 1", [pid])
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, told[0], os.WEXITED | os.WNOHANG | os.WNOWAIT)
    assert child.ended() is None


def _arguments(ready_fd: int) -> ControlProcess:
    return ControlProcess(
        data=Path("/"), settings=Path("/"), alive_fd=0, ready_fd=ready_fd, load_fd=0, slots=1, parent=os.getpid()
    )
