"""Closes the lanes of processes that died. Only the control process runs it.

Whoever can take a lane's lock knows that its process is gone. What is then written goes into control's own lane: an
outcome `interrupted` for each call that was decided and never concluded, and `lane_closed` with the lane's last line.
Half a line at the end is set aside first. The lane itself is never appended to again. Control also notes there each
lane it meets alive.

Rules: killed at any point and run again, recovery writes no second outcome for a call. Lanes with open calls are
therefore compared with what all control lanes say already. The file `closed` in a lane only saves looking again: it
is put there when everything has been written.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec

from gatehouse.journal.chain import decode_body
from gatehouse.journal.ending import Ending, read_ending
from gatehouse.journal.files import (
    CLOSED,
    RESERVE_FILE,
    lane_drafts,
    lane_names,
    sync_lane,
    take_lock,
    write_whole,
)
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import LaneReader, first_line, role_of
from gatehouse.journal.records import CallHead, LaneClosed, LaneOpened
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.limits import Settled
from gatehouse.model.record import Outcome

DRAFT_SECONDS: Final = 3600.0
"""Age at which a lane that never came to be is removed."""

_REASON: Final = "the gateway process died; the call may never have been sent, or may have been completed"
_FLUSH_EVERY: Final = 1000


class RecoveryReport(msgspec.Struct, frozen=True):
    """What one run found and did."""

    closed: tuple[str, ...] = ()
    """Dead lanes that are closed now."""
    interrupted: int = 0
    """Calls that got their outcome."""
    torn_bytes: int = 0
    """Set aside from the ends of lanes."""
    broken: tuple[str, ...] = ()
    """Why dead lanes could not be closed: file, line and what is wrong there."""


class _Dead(msgspec.Struct):
    """A dead lane, its lock held."""

    lane: str
    lock: int
    ending: Ending

    def claim(self) -> LaneClosed:
        end = self.ending
        return LaneClosed(self.lane, end.seq, end.hash, end.clean, len(end.open), end.torn_bytes)


class Recovery:
    """One control process's view of the lanes: run it at the start, and again whenever a process died.

    `examine` only reads and may run in a thread; `commit` writes and may not.
    """

    def __init__(self, directory: Path, writer: JournalWriter) -> None:
        self._directory = directory
        self._writer = writer
        self._noted: set[str] = {writer.lane}
        self._concluded: set[str] = set()
        """Calls whose outcome this process has handed to its writer."""
        self._openings: list[LaneOpened] = []
        self._dead: list[_Dead] = []
        self._broken: list[str] = []

    def examine(self) -> None:
        """Find dead lanes and set their torn tails aside. Raises `OSError`."""
        self._release()
        self._broken = []
        self._remove_drafts()
        for lane in lane_names(self._directory):
            if lane == self._writer.lane or (self._directory / lane / CLOSED).exists():
                continue
            try:
                self._examine(lane)
            except JournalError as error:
                self._broken.append(str(error))
        try:
            self._subtract_concluded()
        except JournalError as error:
            # Without every control lane nobody can say which outcomes are written already.
            self._broken.append(str(error))
            self._release(keep=[dead for dead in self._dead if not dead.ending.open])

    def commit(self) -> RecoveryReport:
        """Write what `examine` found into control's lane. Raises `JournalError` or `OSError` if it cannot."""
        openings, self._openings = self._openings, []
        for opening in openings:
            self._writer.append("lane_opened", opening)
        interrupted = 0
        try:
            for dead in self._dead:
                for call in dead.ending.open.values():
                    # It may have been answered whole: all it could use counts as used (I4).
                    used = tuple(Settled(held.counter, held.period, held.amount, held.amount) for held in call.reserved)
                    outcome = Outcome(call.call, call.project, "interrupted", reason=_REASON, settled=used)
                    self._writer.append("outcome", outcome, call.tenant)
                    self._concluded.add(call.call)
                    interrupted += 1
                    if interrupted % _FLUSH_EVERY == 0:
                        self._writer.flush()
                self._writer.append("lane_closed", dead.claim())
            self._writer.flush()
            if self._dead:
                # The mark is on disk at once, so what it stands for must be before it.
                sync_lane(self._directory / self._writer.lane)
            for dead in self._dead:
                (self._directory / dead.lane / RESERVE_FILE).unlink(missing_ok=True)
                write_whole(self._directory / dead.lane / CLOSED, msgspec.json.encode(dead.claim()))
            torn_bytes = sum(dead.ending.torn_bytes for dead in self._dead)
            lanes = tuple(dead.lane for dead in self._dead)
        finally:
            self._release()
        return RecoveryReport(lanes, interrupted, torn_bytes, tuple(self._broken))

    def _release(self, keep: list[_Dead] | None = None) -> None:
        kept = keep or []
        for dead in self._dead:
            if dead not in kept:
                os.close(dead.lock)
        self._dead = kept

    def _examine(self, lane: str) -> None:
        path = self._directory / lane
        if lane not in self._noted:
            first = first_line(path)
            if first is not None and first.header.kind == "lane_opened" and first.body is not None:
                opened = decode_body(first.body, LaneOpened)
                self._openings.append(msgspec.structs.replace(opened, first=first.hash))
            self._noted.add(lane)
        lock = take_lock(path)
        if lock is None:
            return
        try:
            self._dead.append(_Dead(lane, lock, read_ending(path)))
        except (JournalError, OSError):
            os.close(lock)
            raise

    def _subtract_concluded(self) -> None:
        wanted = {call: dead for dead in self._dead for call in dead.ending.open}
        for call in self._concluded & wanted.keys():
            wanted[call].ending.open.pop(call, None)
        if not wanted:
            return
        for lane in lane_names(self._directory):
            if role_of(self._directory / lane) == "control":
                for call in _outcomes(self._directory, lane) & wanted.keys():
                    wanted[call].ending.open.pop(call, None)

    def _remove_drafts(self) -> None:
        for draft in lane_drafts(self._directory):
            if time.time() - draft.stat().st_mtime < DRAFT_SECONDS:
                continue
            lock = take_lock(draft)
            if lock is not None:
                shutil.rmtree(draft, ignore_errors=True)
                os.close(lock)


def _outcomes(directory: Path, lane: str) -> set[str]:
    """Calls with an outcome in a lane."""
    found: set[str] = set()
    reader = LaneReader(directory, lane)
    try:
        while lines := reader.read():
            found.update(
                decode_body(line.body, CallHead).call
                for line in lines
                if line.kind == "outcome" and line.body is not None
            )
    finally:
        reader.close()
    return found
