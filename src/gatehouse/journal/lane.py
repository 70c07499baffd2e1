"""One lane on disk while its process lives: lock, chain, current segment. Synchronous; its owner decides when.

Rules: a lane or a segment appears under its name only when its first lines are written and, for a lane, its lock is
held: whoever can take the lock of a visible lane knows that its process is gone. The chain moves only with lines that
are whole on disk.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatehouse import __version__
from gatehouse.config import settings
from gatehouse.journal.files import RESERVE_FILE, Files, segment_name, sync_directory, take_lock
from gatehouse.journal.lines import Chain, Entry, JournalError, lane_id
from gatehouse.journal.records import OPEN_CALLS_PER_LINE, LaneClosed, LaneOpened, OpenCall, SegmentOpened
from gatehouse.journal.segment import Reserve, Segment

SMALLEST: Final = 1024 * 1024
"""However small the journal is to be, its segments are not cut smaller than this."""


_RESERVED_TAKES: Final = 4
"""What one reservation of a call takes of a line, in calls."""


class Lane:
    """The writing end of a lane."""

    def __init__(self, directory: Path, role: str, options: settings.Journal, files: Files) -> None:
        self.directory = directory
        self.role = role
        self._options = options
        self._files = files
        self.segment_bytes = min(options.segment_bytes, max(SMALLEST, options.max_bytes // 16))
        """Size at which a segment is left: a small journal has small ones, since only whole ones can be deleted."""
        self._on_disk = options.durability == "disk"
        self.id = lane_id()
        self.path = directory / self.id
        self.chain = Chain(self.id)
        self._lock = -1
        self._number = 1
        self.segment: Segment
        """The segment being written; there is none before `open`."""
        self._reserve = Reserve(files, self.path / RESERVE_FILE)
        self.retired: list[Segment] = []
        """Segments left behind but not yet synced to disk (`durability: disk` only)."""
        self._started = 0
        self._place: os.stat_result | None = None
        """The journal's directory, as it was found."""

    @property
    def gone(self) -> bool:
        """Its directory was taken away, out of a journal that is still there: nothing can ever be written to it.

        A whole journal that is away may come back.
        """
        if self._place is None or self.path.exists():
            return False
        try:
            return os.path.samestat(os.stat(self.directory), self._place)
        except OSError:
            return False

    def open(self) -> None:
        """Create the lane with its first line. Raises `OSError`, `JournalError`."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._place = os.stat(self.directory)
        draft = self.directory / f".{self.id}"
        draft.mkdir(mode=0o700)
        try:
            lock = take_lock(draft)
            if lock is None:
                raise JournalError(f"{draft}: a new lane is already locked")
            self._lock = lock
            body = LaneOpened(self.id, self.role, os.getpid(), __version__, self._options.durability)
            segment = self._create(draft, 1, [_system(b"lane_opened", body)], 0)
            if self._on_disk:
                self._files.datasync(segment.fd)
                sync_directory(draft)
            draft.rename(self.path)
        except OSError:
            self._unlock()
            shutil.rmtree(draft, ignore_errors=True)
            raise
        segment.path = self.path / segment_name(1)
        self._take(segment)
        if self._on_disk:
            sync_directory(self.directory)
            segment.listed = True

    def write(self, entries: Sequence[Entry]) -> tuple[int, int, OSError | None]:
        """Append a batch of at most `MAX_WRITE` bytes. Returns how many lines and bytes stand, and why not all."""
        data = self.chain.extend(entries)
        stand, error = self.segment.append(data)
        if error is None:
            return len(entries), stand, None
        return self.chain.rollback(data[:stand]), stand, error

    def room(self, length: int) -> OSError | None:
        """Make sure that `length` bytes fit and the reserve is kept beside them."""
        segment = self.segment
        error = segment.room(length)
        if error is None and not segment.preallocates:
            return self._reserve.keep()
        return error

    @property
    def allocated(self) -> int:
        """Offset in the segment up to which blocks are there, as far as that can be known."""
        return self.segment.allocated if self.segment.preallocates else sys.maxsize

    def release_reserve(self) -> bool:
        """The disk is full: free the reserve for outcomes. False if there is nothing to free."""
        return self._reserve.give_up()

    @property
    def begun(self) -> bool:
        """Whether the segment has lines beside its first ones."""
        return self.segment.offset > self._started

    def due(self, now: float) -> bool:
        """Whether the segment has reached its size, or its age with something in it."""
        segment = self.segment
        if segment.offset >= self.segment_bytes:
            return True
        return self.begun and now - segment.opened >= self._options.segment_seconds

    def rotate(self, calls: Sequence[OpenCall], ahead: int) -> OSError | None:
        """Go on in a new segment that starts with the open calls and has `ahead` bytes of room behind them.

        On failure the present one stays.
        """
        old = self.segment
        parts = _parts(calls)
        prologue = [
            _system(
                b"segment",
                SegmentOpened(
                    self.role,
                    segment_name(self._number),
                    self.chain.head,
                    old.torn,
                    number,
                    len(parts),
                    part,
                ),
            )
            for number, part in enumerate(parts, 1)
        ]
        draft = self.path / f".{self._number + 1:06d}"
        try:
            segment = self._create(self.path, self._number + 1, prologue, ahead)
        except OSError as error:
            draft.unlink(missing_ok=True)
            return error
        self._number += 1
        self._take(segment)
        if self._on_disk:
            self.retired.append(old)
        else:
            old.finish()
        return None

    def close(self, *, clean: bool) -> OSError | None:
        """Write the lane's last line if `clean`, make it durable, and let the lock go."""
        error: OSError | None = None
        if clean:
            body = LaneClosed(self.id, self.chain.seq, self.chain.head, clean=True)
            error = self.write([_system(b"lane_closed", body)])[2]
        try:
            for segment in [*self.retired, self.segment]:
                if self._on_disk and not segment.lost:
                    self._files.datasync(segment.fd)
                segment.finish()
        except OSError as failed:
            error = error or failed
        self._reserve.give_up()
        self._unlock()
        return error

    def _create(self, folder: Path, number: int, prologue: list[Entry], ahead: int) -> Segment:
        draft = folder / f".{number:06d}"
        segment = Segment(self._files, draft)
        data = self.chain.extend(prologue)
        try:
            error = segment.room(len(data) + ahead) if ahead else None
            if error is None:
                error = segment.append(data)[1]
            if error is not None:
                raise OSError(error.errno, error.strerror, str(folder))
            segment.path = folder / segment_name(number)
            draft.rename(segment.path)
        except OSError:
            self.chain.rollback(b"")
            segment.finish()
            raise
        return segment

    def _take(self, segment: Segment) -> None:
        self.segment, self._started = segment, segment.offset

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _parts(calls: Sequence[OpenCall]) -> list[tuple[OpenCall, ...]]:
    """The calls, line by line: what a line may hold is bounded by what each call reserves, too."""
    parts: list[list[OpenCall]] = [[]]
    room = OPEN_CALLS_PER_LINE
    for call in calls:
        takes = 1 + _RESERVED_TAKES * len(call.reserved)
        if takes > room and parts[-1]:
            parts.append([])
            room = OPEN_CALLS_PER_LINE
        parts[-1].append(call)
        room -= takes
    return [tuple(part) for part in parts]


def _system(kind: bytes, body: msgspec.Struct) -> Entry:
    return Entry(kind, "", msgspec.json.encode(body), time.time_ns())
