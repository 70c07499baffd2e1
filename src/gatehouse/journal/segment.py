"""One segment file while it is written, and the room kept so that outcomes always fit.

Rules: `offset` is the end of the last whole line and moves only when a line is whole on disk. Lines that reached the
file whole stay, even when the rest of their batch did not: a reader may have seen them. Half a line is cut off; where
that fails the segment is given up. Blocks for the reserve are allocated ahead of the writing, so a full disk shows
before a write fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Final

from gatehouse.journal.files import Files
from gatehouse.journal.lines import MAX_WRITE

RESERVE: Final = 4 * 1024 * 1024
"""Bytes kept for outcomes."""

_AHEAD: Final = 1024 * 1024
"""Allocated beyond what is needed, so that most batches find room without asking."""

_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that say the disk is full, and may pass."""


class Segment:
    """An open segment."""

    def __init__(self, files: Files, path: Path) -> None:
        """Create the file. Raises `OSError`."""
        self._files = files
        self.path = path
        self.fd = files.create(path)
        self.offset = 0
        self.allocated = 0
        """Offset up to which blocks are known to be there."""
        self.opened = time.monotonic()
        self.preallocates = True
        """Whether the filesystem can allocate ahead; known after the first `room`."""
        self.usable = True
        """False once a write or sync showed that nothing more may be appended."""
        self.lost = False
        """A sync failed: its latest lines may never reach the disk, whatever a later sync says."""
        self.torn = False
        """Half a line may stand behind `offset` and could not be cut off."""
        self.listed = False
        """Its name in the directory is on disk (`durability: disk`)."""
        self._looked = 0
        """`offset` when it was last looked at: a line ends there."""

    def room(self, length: int) -> OSError | None:
        """Make sure that `length` more bytes have their blocks."""
        if not self.preallocates or self.offset + length <= self.allocated:
            return None
        target = self.offset + length + _AHEAD
        try:
            self._files.allocate(self.fd, self.allocated, target - self.allocated)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self.preallocates = False
                return None
            return error
        self.allocated = target
        return None

    def tampered(self) -> str:
        """What somebody did to the file: `taken away` (what is written to it is lost with this process) or `cut off`
        (writing on leaves a hole, and nobody reads beyond it); empty: nothing."""
        looked, self._looked = self._looked, self.offset
        try:
            there = os.fstat(self.fd)
            if not os.path.samestat(os.stat(self.path), there):
                return "taken away"
            hole = looked > 0 and os.pread(self.fd, 1, looked - 1) != b"\n"
        except OSError:
            return "taken away"
        return "cut off" if hole or there.st_size < self.offset else ""

    def append(self, data: bytes) -> tuple[int, OSError | None]:
        """Write whole lines. Returns how many bytes of them stand now, and why not all."""
        taken, error = 0, None
        while taken < len(data) and error is None:
            # One write(2) for all but the longest prologue; a second one only finds out why the first was short.
            piece = data if len(data) <= MAX_WRITE and not taken else data[taken : taken + MAX_WRITE]
            try:
                wrote = self._files.write(self.fd, piece, self.offset + taken)
            except OSError as failed:
                error = failed
            else:
                taken += wrote
                if not wrote:
                    error = OSError(errno.EIO, os.strerror(errno.EIO))
        if error is None:
            self.offset += taken
            return taken, None
        whole = data.rfind(b"\n", 0, taken) + 1
        self.offset += whole
        if error.errno == errno.EFBIG:
            self.usable = False
        try:
            self._files.truncate(self.fd, self.offset)
        except OSError:
            self.usable = False
            self.torn = True
        self.allocated = min(self.allocated, self.offset)
        return whole, error

    def finish(self) -> None:
        """Nothing more will be written: give back the blocks allocated ahead, and close. Failing here loses no line."""
        with contextlib.suppress(OSError):
            if self.allocated and not self.torn:
                self._files.truncate(self.fd, self.offset)
        with contextlib.suppress(OSError):
            self._files.close(self.fd)


class Reserve:
    """Room for outcomes where blocks cannot be allocated ahead: a file of bytes, given up when the disk is full."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._kept = False

    def keep(self) -> OSError | None:
        """Make the file, unless it is there."""
        if self._kept:
            return None
        try:
            fd = self._files.create(self._path)
        except OSError as error:
            return error
        failed: OSError | None = None
        try:
            for offset in range(0, RESERVE, MAX_WRITE):
                if self._files.write(fd, b"\0" * MAX_WRITE, offset) < MAX_WRITE:
                    failed = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    break
        except OSError as error:
            failed = error
        finally:
            self._files.close(fd)
        if failed is not None:
            self._path.unlink(missing_ok=True)
            return failed
        self._kept = True
        return None

    def give_up(self) -> bool:
        """Free its room; false if there was none."""
        kept, self._kept = self._kept, False
        self._path.unlink(missing_ok=True)
        return kept
