"""What each worker says of itself to the other processes: some words of memory that all share.

Here because all sides need it. Standard library only. Three things stand there, per worker:

- its load, the number of its connections. Workers accept from one listener, and the kernel does not share connections
  out evenly among them; knowing the others' loads, the busier one can leave the next to another (`worker.acceptor`);
- its gauges, written twice a second, which control shows at `/metrics`;
- its pid, and the version of the snapshot it serves by: 0 as long as it serves nobody (`Registered`).

A word has one writer, its worker; the supervisor writes only for a worker that has ended, and before it reaps it: so
the pid that stands here is nobody else's. Readers need no lock: an aligned 64-bit word is read whole. A stale load or
gauge does no harm; the order in which pid and version are written and read is what `register` and `registered` keep.

Not a file in the data directory: writing to it can block while the kernel writes back, and fails when the disk is full,
which is when the gauges matter.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from array import array
from typing import Final, NamedTuple

ABSENT: Final = -1
"""The load of a worker that accepts nothing: starting, stopping, or dead."""

JOURNAL_STATES: Final = ("ok", "full", "failing")
SWEEP_SECONDS: Final = 0.5
"""How often a worker writes its gauges."""


class Gauges(NamedTuple):
    """A worker at its last sweep: 64-bit integers. What is counted is counted since the worker's start."""

    swept: int
    """When that was: nanoseconds on the machine's monotonic clock; 0: no worker there."""
    late_us: int
    """How late a sweep came at most, of those of the last 15 s: for so long the event loop was held up."""
    calls: int
    """Calls that run."""
    streams: int
    """Of them those that ask for a stream."""
    websockets: int
    """Of those WebSockets."""
    connections: int
    """Of clients."""
    idle: int
    used: int
    """Connections to providers: idle, and serving a call or being made."""
    waiting: int
    """Calls that wait for such a connection."""
    body_bytes: int
    """Of request bodies, held."""
    journal_state: int
    """Index in `JOURNAL_STATES`."""
    journal_queue: int
    """Lines not written yet."""
    journal_errors: int
    """Writes and syncs that failed."""
    decisions_failed: int
    """Calls refused because their decision could not be put on record."""
    refusals_counted: int
    """Refusals without a line of their own."""
    captures_dropped: int
    """Pieces of captured bodies that found no room."""
    connections_without_request: int
    """Ended before a whole request head had come."""
    tasks: int
    """Of the event loop. Calls have none: what stays while nothing runs is a leak."""
    descriptors_denied: int
    """Connections turned away, or not made, for want of file descriptors."""
    descriptors_denied_at: int
    """When that last happened: as `swept`; 0: never."""


class Registered(NamedTuple):
    """A worker that is there, whether it serves already or not."""

    worker: int
    """Its index."""
    pid: int
    version: int
    """Of the snapshot it serves by; 0: it serves nobody yet."""


_BYTES: Final = 8
_PID: Final = 1
_VERSION: Final = 2
_GAUGES: Final = 3
_WORDS: Final = _GAUGES + len(Gauges._fields)
_NOBODY: Final = Gauges(*[0] * len(Gauges._fields))


class Loads:
    """One load and one set of gauges per worker, behind the descriptor `fd`, which children may inherit."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self._slots = slots
        self._words = memoryview(mmap.mmap(fd, slots * _WORDS * _BYTES)).cast("q")
        self._loads = self._words[::_WORDS]

    @classmethod
    def create(cls, slots: int) -> Loads:
        """New memory, all `ABSENT`, gone with the last process that has it. Raises `OSError`."""
        if sys.platform == "linux":
            fd = os.memfd_create("gatehouse-loads", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, slots * _WORDS * _BYTES)
        loads = cls(fd, slots)
        for index in range(slots):
            loads.set(index, ABSENT)
        return loads

    def set(self, index: int, load: int) -> None:
        """Publish the load of worker `index`."""
        self._loads[index] = load

    def least_other(self, index: int) -> int | None:
        """The least load of the workers that accept, other than `index`; `None` if it is the only one."""
        return min((load for i, load in enumerate(self._loads) if i != index and load != ABSENT), default=None)

    def publish(self, index: int, gauges: Gauges) -> None:
        """Replace the gauges of worker `index`."""
        start = index * _WORDS + _GAUGES
        self._words[start : start + len(gauges)] = array("q", gauges)

    def gauges(self) -> dict[int, Gauges]:
        """The gauges of the workers there are, by index."""
        found = {}
        for index in range(self._slots):
            start = index * _WORDS + _GAUGES
            gauges = Gauges(*self._words[start : start + len(_NOBODY)])
            if gauges.swept:
                found[index] = gauges
        return found

    def register(self, index: int, pid: int) -> None:
        """Worker `index` is there. Before it reads the snapshot it will serve by: who writes a newer one after that
        finds it here."""
        self._words[index * _WORDS + _VERSION] = 0
        self._words[index * _WORDS + _PID] = pid

    def serve_by(self, index: int, version: int) -> None:
        """Worker `index` decides by this snapshot from now on, and by no older one."""
        self._words[index * _WORDS + _VERSION] = version

    def registered(self) -> list[Registered]:
        """The workers that are there."""
        found = []
        for index in range(self._slots):
            pid = self._words[index * _WORDS + _PID]
            if pid:
                found.append(Registered(index, pid, self._words[index * _WORDS + _VERSION]))
        return found

    def clear(self, index: int) -> None:
        """Worker `index` has ended, and is not reaped yet."""
        self.set(index, ABSENT)
        self._words[index * _WORDS + _PID] = 0
        self._words[index * _WORDS + _VERSION] = 0
        self.publish(index, _NOBODY)
