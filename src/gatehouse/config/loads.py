"""How many connections each worker holds: a few words of memory shared by the supervisor and the workers.

Here because both sides need it. Standard library only. Workers accept from one listener, and the kernel does not share
connections out evenly among them; knowing the others' loads, the busier one can leave the next connection to another
(`worker.acceptor`). A word has one writer, its worker; the supervisor writes only for a worker that has ended. Readers
need no lock: an aligned 64-bit word is read whole, and a stale one does no harm.

Not a file in the data directory: writing to a mapped file can block while the kernel writes the page back.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import Final

ABSENT: Final = -1
"""The load of a worker that accepts nothing: starting, stopping, or dead."""

_WORD: Final = 8


class Loads:
    """One signed 64-bit integer per worker, behind the descriptor `fd`, which children may inherit."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self._words = memoryview(mmap.mmap(fd, slots * _WORD)).cast("q")

    @classmethod
    def create(cls, slots: int) -> Loads:
        """New memory, all `ABSENT`, gone with the last process that has it. Raises `OSError`."""
        if sys.platform == "linux":
            fd = os.memfd_create("gatehouse-loads", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, slots * _WORD)
        loads = cls(fd, slots)
        for index in range(slots):
            loads.set(index, ABSENT)
        return loads

    def set(self, index: int, load: int) -> None:
        """Publish the load of worker `index`."""
        self._words[index] = load

    def least_other(self, index: int) -> int | None:
        """The least load of the workers that accept, other than `index`; `None` if it is the only one."""
        return min((load for i, load in enumerate(self._words) if i != index and load != ABSENT), default=None)
