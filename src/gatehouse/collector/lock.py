"""One collector per data directory: a lock that its process holds, and loses with its life."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class CollectorLock:
    """flock(2) on a file. Not re-entrant: each object is one holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self) -> bool:
        """False while another process, or another object of this one, has it. Raises `OSError`."""
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Let another one have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
