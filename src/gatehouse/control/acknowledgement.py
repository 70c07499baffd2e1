"""Waiting until every worker of this machine serves by a snapshot, and ending one that does not come to it.

Rules: what counts is the word a worker writes after it has swapped (`config.loads`), not what it was sent. A worker
that is there and serves nobody yet is not waited for: after it writes its first word it looks once more whether the
persisted snapshot, which is older than any message, is newer (`worker.subscription.begin`). A worker silent for
`SILENCE_SECONDS` is killed: it may hang, but it must not go on admitting what was revoked. Time in which this process
itself stood still is not counted as somebody's silence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from gatehouse.config.loads import Loads, Registered

SILENCE_SECONDS: Final = 2.0

_LOOK_SECONDS: Final = 0.002
_STEP_SECONDS: Final = 0.1
"""The most of its own time that one look may count for."""
_GONE_SECONDS: Final = 5.0
"""A killed process that is not gone by then waits in the kernel, and runs no instruction of its own any more."""

_log = logging.getLogger(__name__)


async def acknowledged(loads: Loads, version: int, silence: float = SILENCE_SECONDS) -> None:
    """Returns when no worker decides by a snapshot older than `version`. Bounded by `silence` and the time that killing
    takes, as long as each worker either comes to it or not: one that makes progress has its time anew."""
    silent: dict[Registered, float] = {}
    killed: set[tuple[int, int]] = set()
    looked = time.monotonic()
    while behind := [
        worker
        for worker in loads.registered()
        if 0 < worker.version < version and (worker.worker, worker.pid) not in killed
    ]:
        now = time.monotonic()
        step, looked = min(now - looked, _STEP_SECONDS), now
        silent = {worker: silent.get(worker, 0.0) + step for worker in behind}
        for worker, seconds in silent.items():
            if seconds >= silence and await _end(loads, worker):
                _log.warning(
                    "worker %d (pid %d) does not take snapshot %d within %g s: killed",
                    worker.worker,
                    worker.pid,
                    version,
                    silence,
                )
                killed.add((worker.worker, worker.pid))
        await asyncio.sleep(_LOOK_SECONDS)


async def _end(loads: Loads, worker: Registered) -> bool:
    """Kill it and wait until it is gone. False if it came to it at the last moment, or is gone already."""
    if worker.pid <= 1 or worker.pid == os.getpid():
        raise ValueError(f"{worker.pid} is no worker's pid")
    if sys.platform != "linux":
        if worker not in loads.registered():
            return False
        os.kill(worker.pid, signal.SIGKILL)
        await _until(lambda: worker not in loads.registered())
        return True
    try:
        process = os.pidfd_open(worker.pid)
    except ProcessLookupError:
        return False
    try:
        # The word is cleared before a worker is reaped. So as long as it stands, the pid is that worker's, and so is
        # what was opened before looking: no other process can be hit.
        if worker not in loads.registered():
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        await _until(lambda: bool(ended.poll(0)))
        return True
    finally:
        os.close(process)


async def _until(gone: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while not gone() and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's end
        await asyncio.sleep(_LOOK_SECONDS)
