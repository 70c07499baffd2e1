"""Group commit: the queue of lines, the writes, and what happens when they fail.

Rules:
- What is queued in one event-loop turn is one write(2) of at most 256 KiB at its end. Outcomes alone wait for the end
  of the next: the loop sends what was handed to it only after what was called soon, and nobody waits for an outcome.
- Room is asked for before lines that may be refused; lines that must not be lost (outcomes, the journal's own) use
  the reserve, and wait in memory, in order, for as long as the disk takes nothing.
- After a failure everything that may be refused is refused at once, and so is what comes until the sweep finds that
  writing works again.
- Runs on the event loop's thread only; nothing here awaits. The owner's callbacks may put further lines.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from gatehouse import errors
from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.files import Files, directory_bytes
from gatehouse.journal.lane import Lane
from gatehouse.journal.lines import LINE_OVERHEAD, MAX_WRITE, Entry
from gatehouse.journal.records import OpenCall
from gatehouse.journal.segment import FULL, RESERVE
from gatehouse.journal.sync import Syncer

State = Literal["ok", "full", "failing"]

OUTCOME_BYTES: Final = 2048
"""Room kept per open call where the reserve's 4 MiB would not close them all."""

SCAN_SECONDS: Final = 2.0
"""How often the size of the whole journal is taken, off the loop."""

NEAR: Final = 0.9
"""From this part of `journal.max_bytes` on it is taken at every sweep: retention is making room now."""

FULL_SECONDS: Final = 60.0
"""How often a writer of a full journal leaves its segment."""

SAY_SECONDS: Final = 60.0
"""How often it is said at most that no calls are taken: a journal kept at its size may change by the second."""

LONGEST_WAIT: Final = 30.0
"""Longest pause between attempts on a disk that fails, in seconds."""

DECISION: Final = b"decision"
OUTCOME: Final = b"outcome"
CALL: Final = b"call"
CAPTURE: Final = b"capture"
_REFUSABLE: Final = frozenset({DECISION, CALL, CAPTURE})


_log = logging.getLogger(__name__)


class Counters(msgspec.Struct):
    """What a writer has done since it was opened."""

    write_errors: int = 0
    sync_errors: int = 0
    rotations: int = 0
    decisions_failed: int = 0
    refusals_counted: int = 0
    """Refusals that got no line of their own."""
    captures_dropped: int = 0
    stray_outcomes: int = 0
    """Outcomes for calls that were not open: a bug elsewhere; they are not written."""


class Owner(Protocol):
    """Whom the commit tells."""

    def landed(self, entries: Sequence[Entry], *, durable: bool) -> None:
        """These lines stand in the file; `durable`: as far as `journal.durability` asks."""

    def synced(self, entries: Sequence[Entry], error: GatehouseError | None) -> None:
        """`durability: disk`: what became of lines that stand."""

    def dropped(self, entries: Sequence[Entry], error: GatehouseError) -> None:
        """These lines are not in the file and will not be."""

    def still_open(self, undecided: set[str]) -> list[OpenCall]:
        """The open calls, for a new segment's first line."""


class GroupCommit:
    """The queue in front of one lane."""

    def __init__(
        self, directory: Path, lane: Lane, options: settings.Journal, loop: asyncio.AbstractEventLoop, owner: Owner
    ) -> None:
        self.counters = Counters()
        self.state: State = "ok"
        self.error: GatehouseError | None = None
        """Why new calls are refused, unless `ok`."""
        self.lost = False
        """The lane's directory was taken away: this process will write nothing more."""
        self.total = 0
        """Bytes of the whole journal: as last taken, and what was written here since."""
        self._directory = directory
        self._lane = lane
        self._options = options
        self._loop = loop
        self._owner = owner
        self._syncer: Syncer | None = None
        self._queue: list[Entry] = []
        self._queued = 0
        self._turning = False
        """`_turn` is called at the end of this event-loop turn."""
        self._following = False
        """And if not, of the next one."""
        self._stalled = False
        """A write failed: nothing is tried before the sweep does."""
        self._wait = 0.0
        self._retry_at = 0.0
        self._rotate_at = 0.0
        self._reserve = RESERVE
        self._clear = 0
        """Offset in the segment up to which there is room, and no need to ask."""
        self._scan_at = 0.0
        self._scanning = False
        self._since_scan = 0
        self._say_at = 0.0

    @property
    def waiting(self) -> int:
        """Lines not written yet."""
        return len(self._queue)

    def open(self, files: Files) -> None:
        """Create the lane. Raises `OSError`."""
        self._lane.open()
        if self._options.durability == "disk":
            self._syncer = Syncer(self._lane, files, self._loop, self._synced)
        self.total = directory_bytes(self._directory)

    def put(self, entry: Entry) -> None:
        """Queue a line for the end of this turn; an outcome alone for that of the next, after its answer was sent."""
        self._queue.append(entry)
        self._queued += _size(entry)
        if self._turning:
            return
        if entry.kind is not OUTCOME:
            self._turning = True
            self._loop.call_soon(self._turn)
        elif not self._following:
            self._following = True
            self._loop.call_soon(self._follow)

    def sweep(self, now: float, open_calls: int) -> None:
        """Retries, rotation by age, the journal's size. `now` is monotonic."""
        self._reserve = max(RESERVE, open_calls * OUTCOME_BYTES)
        self._clear = 0
        if self._lane.segment.usable and (what := self._lane.segment.tampered()):
            _log.error("journal %s was %s; the lines in it are lost", self._lane.segment.path, what)
            self._lane.segment.usable = False
            # What stands at its end is left as it is.
            self._lane.segment.torn = True
            if (error := self._rotate(now)) is not None:
                self._fail(error)
                self._stalled = True
        if (self.state != "ok" or self._stalled) and now >= self._retry_at:
            self._try_again(now)
        if self.state == "failing" and not self.lost and self._lane.gone:
            _log.error("journal %s was taken away; another lane begins with the next process", self._lane.path)
            self.lost = True
        if self.state == "ok" and self._lane.due(now):
            self._rotate(now)
        elif self.total >= self._options.max_bytes and self._lane.begun and now >= self._rotate_at:
            # Only a segment that was left can be compressed or deleted, and make room.
            self._rotate(now)
            self._rotate_at = now + FULL_SECONDS
        if not self._scanning and (now >= self._scan_at or self.total >= NEAR * self._options.max_bytes):
            self._scanning, self._since_scan = True, 0
            self._scan_at = now + SCAN_SECONDS
            self._loop.run_in_executor(None, directory_bytes, self._directory).add_done_callback(self._scanned)

    def flush(self) -> OSError | None:
        """Write what waits and make it durable, now. `waiting` says whether all was written."""
        self._stalled = False
        if not self._lane.segment.usable and (error := self._rotate(time.monotonic())) is not None:
            self._stalled = True
            return error
        self._turn()
        if self._syncer is None:
            return None
        error = self._syncer.flush()
        if error is not None:
            self._sync_failed(error)
        return error

    def close(self) -> OSError | None:
        """Write what waits and the lane's last line; give the lane up. Returns why that was not possible, or `None`."""
        error = self.flush()
        if self._syncer is not None:
            self._syncer.close()
        return self._lane.close(clean=not self._queue and self._lane.segment.usable) or error

    # -- writing

    def _follow(self) -> None:
        self._following = False
        if self._queue and not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        while self._queue and not self._stalled:
            if self.state == "ok" and self._lane.segment.offset + self._queued > self._clear:
                self._make_room()
            if not self._stalled and (batch := self._take()):
                self._write(batch)

    def _make_room(self) -> None:
        now = time.monotonic()
        if now >= self._rotate_at and self._lane.due(now):
            self._rotate(now)
        if self.total >= self._options.max_bytes:
            self._become("full", self._too_large())
        elif (error := self._lane.room(self._reserve + min(self._queued, MAX_WRITE))) is not None:
            self._fail(error)
        else:
            left = self._options.max_bytes - self.total
            offset = self._lane.segment.offset
            self._clear = min(self._lane.segment_bytes, offset + left, self._lane.allocated - self._reserve)

    def _take(self) -> list[Entry]:
        if self._queued <= MAX_WRITE:
            batch, self._queue, self._queued = self._queue, [], 0
            return batch
        size = count = 0
        for entry in self._queue:
            if count and size + _size(entry) > MAX_WRITE:
                break
            size += _size(entry)
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        self._queued -= size
        return batch

    def _write(self, batch: list[Entry]) -> None:
        lines, size, error = self._lane.write(batch)
        self.total += size
        self._since_scan += size
        if error is not None:
            self.counters.write_errors += 1
            self._queue = batch[lines:] + self._queue
            self._queued = sum(map(_size, self._queue))
            batch = batch[:lines]
        if batch:
            self._owner.landed(batch, durable=self._syncer is None)
            if self._syncer is not None:
                self._syncer.want([entry for entry in batch if entry.written is not None])
        if error is not None:
            self._fail(error)
            if not self._lane.segment.usable or not self._lane.release_reserve():
                self._stalled = True

    def _rotate(self, now: float) -> OSError | None:
        # A segment that takes nothing more must be left even where there is no room for a reserve in the next.
        ahead = self._reserve if self._lane.segment.usable else 0
        undecided = {entry.record.call for entry in self._queue if entry.record and entry.kind == DECISION}
        error = self._lane.rotate(self._owner.still_open(undecided), ahead)
        if error is not None:
            self._rotate_at = now + 1.0
            return error
        self._clear = 0
        self.counters.rotations += 1
        return None

    # -- failing, and trying again

    def _fail(self, error: OSError) -> None:
        if error.errno in FULL:
            detail = "the disk that holds the journal is full: no call is forwarded until there is room"
            self._become("full", GatehouseError(errors.JOURNAL_FULL, detail, retry_after=5))
            return
        self._stalled = True
        detail = f"the journal cannot be written ({error.strerror}): no call is forwarded until it can"
        # The first attempt is the next sweep's; a disk that goes on failing is asked ever more rarely.
        self._retry_at = time.monotonic() + self._wait
        self._wait = min(LONGEST_WAIT, max(0.5, self._wait * 2))
        self._become("failing", GatehouseError(errors.OVERLOADED, detail, retry_after=5))

    def _become(self, state: State, error: GatehouseError) -> None:
        now = time.monotonic()
        if state != self.state and now >= self._say_at:
            self._say_at = now + SAY_SECONDS
            _log.error("journal %s: %s", self._lane.path, error.detail)
        self.state, self.error, self._clear = state, error, 0
        lost = {entry.record.call for entry in self._queue if entry.record and entry.kind == DECISION}
        kept: list[Entry] = []
        refused: list[Entry] = []
        for entry in self._queue:
            without = entry.kind == OUTCOME and entry.record is not None and entry.record.call in lost
            (refused if without or entry.kind in _REFUSABLE else kept).append(entry)
        self._queue, self._queued = kept, sum(map(_size, kept))
        if refused:
            self._owner.dropped(refused, error)

    def _try_again(self, now: float) -> None:
        self._stalled = False
        if not self._lane.segment.usable and (error := self._rotate(now)) is not None:
            self._fail(error)
            self._stalled = True
            return
        self._turn()
        if self._stalled or not self._lane.segment.usable:
            return
        if self.total >= self._options.max_bytes:
            self._become("full", self._too_large())
        elif (failed := self._lane.room(self._reserve + MAX_WRITE)) is not None:
            self._fail(failed)
        elif self.state == "failing" and self._syncer is not None:
            self._retry_at = now + max(self._wait, 0.5)  # The sync's answer decides; it is not asked for twice.
            self._syncer.want(())
        else:
            self._recovered()

    def _recovered(self) -> None:
        self.state, self.error, self._wait = "ok", None, 0.0

    def _too_large(self) -> GatehouseError:
        detail = "the journal has reached journal.max_bytes: no call is forwarded until collected segments are deleted"
        return GatehouseError(errors.JOURNAL_FULL, detail, retry_after=30)

    def _synced(self, entries: Sequence[Entry], error: OSError | None) -> None:
        if error is not None:
            self._sync_failed(error)
            self._owner.synced(entries, self.error)
            return
        if self.state == "failing" and not self._stalled and self._lane.segment.usable:
            self._recovered()
        self._owner.synced(entries, None)

    def _sync_failed(self, error: OSError) -> None:
        self.counters.sync_errors += 1
        self._fail(OSError(errno.EIO, error.strerror))

    def _scanned(self, size: asyncio.Future[int]) -> None:
        self._scanning = False
        if size.cancelled():
            return
        if (error := size.exception()) is not None:
            _log.warning("journal %s: its size could not be taken: %s", self._directory, error)
            return
        self.total = size.result() + self._since_scan


def _size(entry: Entry) -> int:
    return len(entry.body) + len(entry.tenant) * 6 + LINE_OVERHEAD
