"""One `serve` per data directory: a flock(2) that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import Final

from gatehouse.config.paths import DataDir
from gatehouse.supervisor.failure import StartError

_PATIENCE: Final = 0.5
"""Seconds. `holder` takes a shared lock for microseconds, and a supervisor just killed takes a moment to be gone."""


def lock(data: DataDir) -> int:
    """Lock the existing directory `data` for this process; the descriptor holds the lock until it is closed.

    Raises `StartError` naming the holder's pid if another process has it.
    """
    try:
        descriptor = os.open(data.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(f"cannot open {data.lock}: {error.strerror}") from error
    try:
        _acquire(descriptor, data)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def holder(data: DataDir) -> int | None:
    """The pid of the `serve` that runs on `data` now; `None` if there is none."""
    try:
        descriptor = os.open(data.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written_pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _acquire(descriptor: int, data: DataDir) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                pid = _written_pid(descriptor) or "unknown"
                raise StartError(
                    f"the data directory {data.root} is in use by another gatehouse (pid {pid}); "
                    f"stop that one, or choose another directory with --data"
                ) from None
        except OSError as error:
            raise StartError(
                f"cannot lock {data.lock}: {error.strerror}; the data directory must be on a file system with flock(2)"
            ) from error
        time.sleep(0.02)


def _written_pid(descriptor: int) -> int | None:
    with suppress(ValueError):
        return int(os.pread(descriptor, 32, 0))
    return None
