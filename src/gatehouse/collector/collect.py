"""The collector: journal → store, at its own pace, for as long as it runs.

Rules: a line is collected when it and its lane's mark are in the store, in one transaction; so every line is collected
once, however often the collector, the store or the machine stops between. It never gives up: what the store does not
take now is tried again, ever more slowly, and the journal is the buffer. A row that no database would take is left out,
named, and counted. It reads files as it goes and belongs on a thread of its own (`thread`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.collector.feed import Feed
from gatehouse.collector.fold import fold
from gatehouse.collector.lanes import Lanes
from gatehouse.collector.notices import Notices
from gatehouse.collector.state import CollectorState
from gatehouse.collector.tally import Tally
from gatehouse.config.settings import Database
from gatehouse.journal.clock import Steady
from gatehouse.journal.reader import Line
from gatehouse.polite import politely
from gatehouse.store import engine, times, version
from gatehouse.store.engine import StoreError, StoreRowError
from gatehouse.store.rollups import Grain
from gatehouse.store.rows import Batch, Mark
from gatehouse.store.writing import StoreWriter

LINES: Final = 4_000
"""Lines in one transaction, about."""
PAUSE: Final = 0.2
"""Seconds between looks when the end was reached: with the write, a line waits less than 250 ms."""
FIRST_RETRY: Final = 0.25
LAST_RETRY: Final = 5.0
"""Seconds before the store is tried again: doubles from the first to the last."""

_RETIRE_SECONDS: Final = 5.0
_COUNT_SECONDS: Final = 1.0
_FORGET_SECONDS: Final = 60.0
_FORGET_CALLS: Final = 2_000
_log = logging.getLogger(__name__)


class Collector:
    """Collects one journal into one store. Only one may run on a store at a time (`lock`)."""

    def __init__(self, journal: Path, url: URL, kept: Database, *, lines: int = LINES) -> None:
        """`kept`: for how long. `lines`: about so many in one transaction."""
        self._lanes = Lanes(journal)
        self._lines = lines
        self._url = url
        self._keep = kept.keep_days * times.DAY
        self._most = kept.max_bytes
        hourly = max(kept.keep_days, kept.keep_hourly_days)
        self._keep_rollups: dict[Grain, int] = {
            "hour": hourly * times.DAY,
            "day": max(hourly, kept.keep_daily_days) * times.DAY,
        }
        self._engine: AsyncEngine | None = None
        self._writer: StoreWriter | None = None
        self._identity: tuple[int, int] | None = None
        self._marks: dict[str, Mark] = {}
        self._pending: list[Line] = []
        """Read and not stored."""
        self._clock = Steady()
        self._retire_at = self._count_at = self._forget_at = 0.0
        self.state = CollectorState()
        self.tally = Tally()
        self.rolling = False
        """Whether there is more to sum up."""
        self.feed = Feed()
        self.notices = Notices()

    @property
    def collected(self) -> dict[str, int]:
        """Per lane the last line that is in the store."""
        return {lane: mark.seq for lane, mark in self._marks.items()}

    async def run(self, stopping: asyncio.Event, drain_seconds: float) -> None:
        """Collect until `stopping`, then up to the end of the lanes: for at most `drain_seconds`, and only while the
        store takes it. What is left is collected after the next start."""
        self._say(looked=times.now())  # a store that never comes has a lag, too
        retry = FIRST_RETRY
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            if deadline is None and stopping.is_set():
                deadline = time.monotonic() + drain_seconds
            try:
                more = await self.step()
            except (StoreError, OSError) as error:
                await self._lost(error)
                if deadline is not None:
                    return
                await _pause(retry, stopping)
                retry = min(2 * retry, LAST_RETRY)
                continue
            retry = FIRST_RETRY
            if not more:
                if deadline is not None:
                    return
                if not self.rolling:
                    await _pause(PAUSE, stopping)

    async def step(self) -> bool:
        """Collect what is there, up to one transaction; true if there may be more at once.

        Raises `StoreError`, `OSError`; nothing is lost by that, and the next step tries again.
        """
        writer = await self._connect()
        now = time.monotonic()
        if now >= self._retire_at:
            self._lanes.retire()
            self._retire_at = now + _RETIRE_SECONDS
        more = True
        if not self._pending:
            self._pending, more = self._lanes.read(self._lines)
        if self._pending:
            self._say(oldest=min(map(_time, self._first_lines())))
            await self._store(writer, self._pending)
            self._pending = []
        failing, stopped = self._lanes.failing, self._lanes.stopped
        self._say(error=failing and f"the journal cannot be read: {failing}", stopped=stopped)
        if not (more or stopped):
            self._say(lines_behind=0)
        elif now >= self._count_at:
            self._count_at = now + _COUNT_SECONDS
            self._say(lines_behind=self._lanes.behind(self._marks))
        if not more:
            self._say(oldest=None, looked=times.now())
            await self._tend(writer, now)
        return more

    async def aclose(self) -> None:
        """Give files and connections back."""
        self._lanes.close()
        self._pending = []
        self._marks = {}
        await self._disconnect()

    async def _connect(self) -> StoreWriter:
        """The store, as it is now: made, migrated, and with its marks known."""
        if self._writer is not None and engine.identity(self._url) == self._identity:
            return self._writer
        await self._disconnect()
        self._engine = engine.writer(self._url)
        self._identity = engine.identity(self._url)
        await version.ensure(self._engine)
        writer = StoreWriter(self._engine)
        marks = await writer.marks()
        if marks != self._marks or not self._marks:
            # Another store, or one put back to an earlier time: what is in hand may not be what comes next there.
            self._pending = []
            self._marks = marks
            self._lanes.resume(marks)
            self._retire_at = 0.0
        self.tally.skip(marks)
        self._writer = writer
        self._say(store="connected")
        return writer

    async def _disconnect(self) -> None:
        connected, self._engine, self._writer = self._engine, None, None
        if connected is not None:
            await connected.dispose()

    async def _lost(self, error: StoreError | OSError) -> None:
        """The store, or the journal, cannot be reached."""
        why = str(error) if isinstance(error, StoreError) else f"the journal cannot be read: {error}"
        if self.state.error != why:
            _log.error("collector: %s; tried again until it works, and the journal keeps what comes", why)
        self._say(error=why)
        if isinstance(error, StoreError):
            await self._disconnect()
            self._say(store="unavailable")
            with contextlib.suppress(OSError):
                self._say(lines_behind=self._lanes.behind(self._marks))

    async def _store(self, writer: StoreWriter, lines: list[Line]) -> None:
        """Write lines; where a row is bad, all the others."""
        folded = fold(politely(lines))
        batch = folded.batch
        try:
            whole = await writer.apply(batch)
        except StoreRowError as error:
            if len(lines) > 1:
                half = len(lines) // 2
                await self._store(writer, lines[:half])
                await self._store(writer, lines[half:])
                return
            self._leave_out(f"{lines[0].file}:{lines[0].line_no}: {error}")
            batch = Batch(marks=batch.marks)
            whole = await writer.apply(batch)
        self.feed.publish(
            (decided.tenant, decided.call) for decided, concluded in whole if self.tally.is_new(decided, concluded)
        )
        self.tally.count(whole, batch)
        self.notices.put(batch.audit)
        for place in folded.unreadable:
            self._leave_out(place)
        # A new dict each time: others read it from their threads.
        self._marks = {**self._marks, **{mark.lane: mark for mark in batch.marks}}
        self._say(collected=self.state.collected + len(lines))

    def _leave_out(self, place: str) -> None:
        _log.error("collector: left out: %s", place)
        self._say(unreadable=self.state.unreadable + 1, last_unreadable=place)

    def _first_lines(self) -> list[Line]:
        """The first line in hand of each lane: one of them is the oldest."""
        return list({line.lane: line for line in reversed(self._pending)}.values())

    async def _tend(self, writer: StoreWriter, now: float) -> None:
        """Sum up what is over; then, and not before, what is old may go."""
        try:
            self.rolling = await writer.roller.step(times.now())
        except StoreRowError as error:
            self._leave_out(f"not summed up: {error}")
        if not self.rolling:
            await self._forget(writer, now)

    async def _forget(self, writer: StoreWriter, now: float) -> None:
        """Delete what is older, or more, than the store keeps of calls, a slice at a time, between batches."""
        if now < self._forget_at:
            return
        present = int(self._clock.now() * 1e6)
        if await writer.forget(present - self._keep, _FORGET_CALLS):
            return
        if await writer.used_bytes() > self._most and await writer.forget_oldest(_FORGET_CALLS):
            self._say(cut=times.now())
            return
        for grain, kept in self._keep_rollups.items():
            if await writer.roller.forget(grain, present - kept):
                return
        self._forget_at = now + _FORGET_SECONDS

    def _say(self, **changed: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changed)


def _time(line: Line) -> int:
    return times.parse(line.time)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    """Until the time is over, or `stopping` is set meanwhile."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
