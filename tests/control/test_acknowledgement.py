"""Waiting for workers, and ending those that hang."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time

import pytest

from gatehouse.config.loads import Loads, Registered
from gatehouse.control.acknowledgement import SILENCE_SECONDS, acknowledged
from tests.control.workers import workers
from tests.crash.processes import wait_until

REGISTERED = "import os, time\nloads.register(index, os.getpid())\nloads.serve_by(index, 3)\nprint(flush=True)\n"
SLEEPS = REGISTERED + "time.sleep(60)"


def _waited(loads: Loads, version: int, silence: float = SILENCE_SECONDS) -> float:
    begun = time.monotonic()
    asyncio.run(acknowledged(loads, version, silence))
    return time.monotonic() - begun


def _at_once(loads: Loads) -> bool:
    """The best of some: the machine may be busy."""
    return min(_waited(loads, 7) for _ in range(5)) < 0.1


def test_nobody_there() -> None:
    with workers(3) as running:
        assert _at_once(running.loads)


def test_all_are_there_already() -> None:
    with workers(2) as running:
        running.loads.register(0, 999_999_999)
        running.loads.serve_by(0, 7)
        running.loads.register(1, 999_999_999)
        running.loads.serve_by(1, 8)
        assert _at_once(running.loads)


def test_one_that_starts_is_not_waited_for() -> None:
    """It serves nobody yet, and looks at the file once more before it does."""
    with workers(1) as running:
        running.loads.register(0, 999_999_999)
        assert _at_once(running.loads)


def test_it_returns_when_the_last_one_has_swapped() -> None:
    swaps = REGISTERED + "time.sleep(0.3 * (index + 1))\nloads.serve_by(index, 7)\ntime.sleep(60)"
    with workers(2) as running:
        for index in range(2):
            running.code(index, swaps)
        _waited(running.loads, 7)
        assert [worker.version for worker in running.loads.registered()] == [7, 7]


def test_one_that_hangs_is_killed_and_the_other_lives(caplog: pytest.LogCaptureFixture) -> None:
    """Silent for 2 s, then killed, and only then does the call answer."""
    swaps = REGISTERED + "time.sleep(0.2)\nloads.serve_by(index, 7)\ntime.sleep(60)"
    with workers(2) as running:
        alive, hung = running.code(0, swaps), running.code(1, SLEEPS)
        os.kill(hung.pid, signal.SIGSTOP)
        waited = _waited(running.loads, 7)
        assert _gone(hung.pid) and not _gone(alive.pid)
        assert SILENCE_SECONDS <= waited < SILENCE_SECONDS + 10
        # Words are cleared by whoever reaps a worker: here a thread.
        wait_until(lambda: all(worker.version >= 7 for worker in running.loads.registered()), 10.0, "it is reaped")
        assert caplog.messages == [f"worker 1 (pid {hung.pid}) does not take snapshot 7 within 2 s: killed"]


def test_it_returns_although_nobody_clears_the_word() -> None:
    """The supervisor hangs: what is dead admits nothing, whatever stands there."""
    with workers(1) as running:
        with subprocess.Popen(["sleep", "60"]) as child:
            running.loads.register(0, child.pid)
            running.loads.serve_by(0, 3)
            assert _waited(running.loads, 7, silence=0.1) < 10
            assert child.wait() == -signal.SIGKILL


class ClearedMeanwhile(Loads):
    """As where the supervisor clears the words between two looks: the worker has ended, and its pid may be reused."""

    looks = 0

    def registered(self) -> list[Registered]:
        self.looks += 1
        return super().registered() if self.looks == 1 else []


def test_a_process_that_has_the_pid_by_now_is_not_hit() -> None:
    with workers(1) as running:
        bystander = running.code(0, SLEEPS)
        cleared = ClearedMeanwhile(running.loads.fd, 1)
        assert _waited(cleared, 7, silence=0.0) < 10
        assert cleared.looks == 3 and not _gone(bystander.pid)
        assert _waited(running.loads, 7, silence=0.0) < 10
        assert _gone(bystander.pid), "where the word stands, it is killed"


def test_progress_is_no_silence() -> None:
    steps = REGISTERED + "for version in range(4, 8):\n    time.sleep(0.5)\n    loads.serve_by(index, version)\n"
    with workers(1) as running:
        worker = running.code(0, steps + "time.sleep(60)")
        _waited(running.loads, 7, silence=1.5)
        assert not _gone(worker.pid)


def test_time_in_which_control_itself_stood_still_is_nobodys_silence() -> None:
    """Otherwise a control process that was stopped would kill everybody once it goes on."""
    with workers(1) as running:
        worker = running.code(0, SLEEPS)

        async def run() -> None:
            waiting = asyncio.create_task(acknowledged(running.loads, 7, 2.0))
            await asyncio.sleep(0.05)
            time.sleep(2.5)  # noqa: ASYNC251 - the point
            threading.Timer(0.3, running.loads.serve_by, (0, 7)).start()
            await waiting

        asyncio.run(run())
        assert not _gone(worker.pid)


def _gone(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
