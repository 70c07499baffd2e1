"""`durability: disk`: fdatasync off the event loop, one at a time, each for all that was written meanwhile.

Rules: a line is durable when an fdatasync that began after its write has ended well. After a failed one nothing in
that segment can be trusted to reach the disk, so whoever waits for it, or for a later sync of it, is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gatehouse.journal.files import Files, sync_directory
from gatehouse.journal.lane import Lane
from gatehouse.journal.lines import Entry
from gatehouse.journal.segment import Segment

Synced = Callable[[Sequence[Entry], OSError | None], None]
"""Called on the event loop with the decisions whose sync ended."""


class Syncer:
    """Groups the syncs of one lane in one thread."""

    def __init__(self, lane: Lane, files: Files, loop: asyncio.AbstractEventLoop, synced: Synced) -> None:
        self._lane = lane
        self._files = files
        self._loop = loop
        self._synced = synced
        self._thread = ThreadPoolExecutor(1, "journal-sync")
        self._waiting: list[Entry] = []
        self._running: list[Entry] = []
        self._segments: list[Segment] = []
        """What the running sync covers."""
        self._wanted = False
        self._busy = False
        self._closed = False

    def want(self, entries: Sequence[Entry]) -> None:
        """Sync what has been written by now, and tell these decisions."""
        self._waiting += entries
        self._wanted = True
        if not self._busy and not self._closed:
            self._start()

    def flush(self) -> OSError | None:
        """Sync what has been written by now in the caller's thread. Decisions are told by their own sync."""
        segments = [*self._segments, *self._lane.retired, self._lane.segment]
        error = self._sync(segments)
        if error is not None:
            self._abandon(segments)
        return error

    def close(self) -> None:
        """Wait for the running sync and do what is left in the caller's thread. The lane is closed after this."""
        self._closed = True
        self._thread.shutdown(wait=True)
        waiting, self._running, self._waiting = self._running + self._waiting, [], []
        segments = [*self._segments, *self._lane.retired, self._lane.segment]
        self._segments, self._lane.retired = [], []
        error = self._sync(segments)
        self._leave(segments, error)
        self._synced(waiting, error)

    def _start(self) -> None:
        self._busy, self._wanted = True, False
        self._running, self._waiting = self._waiting, []
        self._segments = [*self._lane.retired, self._lane.segment]
        self._lane.retired = []
        self._thread.submit(self._run, self._segments)

    def _run(self, segments: list[Segment]) -> None:
        error = self._sync(segments)
        # A closed loop means that `close` has waited for this thread and does the rest.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, error)

    def _done(self, error: OSError | None) -> None:
        if self._closed:
            return
        segments, self._segments = self._segments, []
        told, self._running = self._running, []
        self._busy = False
        self._leave(segments, error)
        if error is not None:
            # These were written to a segment that is now given up: their own sync would prove nothing.
            told, self._waiting = told + self._waiting, []
        self._synced(told, error)
        if self._wanted and not self._busy and error is None:
            self._start()

    def _sync(self, segments: Sequence[Segment]) -> OSError | None:
        try:
            for segment in segments:
                if not segment.lost:
                    self._files.datasync(segment.fd)
            if not all(segment.listed for segment in segments):
                sync_directory(self._lane.path)
        except OSError as error:
            return error
        return None

    def _leave(self, segments: Sequence[Segment], error: OSError | None) -> None:
        if error is not None:
            self._abandon(segments)
        for segment in segments:
            segment.listed = segment.listed or error is None
            if segment is not self._lane.segment and segment not in self._lane.retired:
                segment.finish()

    def _abandon(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            segment.usable, segment.lost = False, True
