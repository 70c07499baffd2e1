"""What the control process does for the journal, besides collecting it: closes dead lanes, compresses, deletes.

Rules: reading and compressing happen in threads, appending on the loop. What goes wrong here is logged, shown in
`/health` and tried again; nothing of it stops the API or the collector.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from gatehouse.config import settings
from gatehouse.control.health import LaneHealth
from gatehouse.journal.clock import Steady
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import lanes, role_of
from gatehouse.journal.recovery import Recovery
from gatehouse.journal.retention import DELETE_FROM, Retention
from gatehouse.journal.writer import JournalWriter

SWEEP_SECONDS: Final = 0.5
RECOVER_SECONDS: Final = 2.0
RETAIN_SECONDS: Final = 30.0
PRESSED_SECONDS: Final = 1.0
"""The same while `journal.max_bytes` is near: workers must not come to refuse calls while segments could be deleted."""

_log = logging.getLogger(__name__)


class Housekeeping:
    """Looks after one journal directory, whose own lane `writer` writes."""

    def __init__(
        self,
        directory: Path,
        writer: JournalWriter,
        options: settings.Journal,
        collected: Callable[[], dict[str, int]],
    ) -> None:
        """`collected`: per lane, the last line that is in the store."""
        self._directory = directory
        self._writer = writer
        self._recovery = Recovery(directory, writer)
        self._options = options
        self._clock = Steady()
        self._retention = Retention(directory, writer, options, clock=self._clock)
        self._collected = collected
        self._roles: dict[str, str | None] = {}
        self._live: list[str] = []
        self.broken: tuple[str, ...] = ()
        """Why lanes of dead processes could not be closed."""
        self.retaining = False
        """A thread compresses or deletes; true for ever once that was cancelled."""
        self.warn = False
        """The journal nears `journal.max_bytes`."""

    @property
    def clock_jump(self) -> float:
        """By how many seconds the system's clock was set since the start."""
        return self._clock.jumped

    async def sweep(self) -> NoReturn:
        """The writer's own regular work."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._writer.sweep()

    async def recover_regularly(self, stopping: asyncio.Event) -> None:
        """Close the lanes of processes that died, at once and then again and again. Not to be cancelled: a look goes on
        in its thread."""
        while not stopping.is_set():
            await self.recover()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), RECOVER_SECONDS)

    async def recover(self) -> None:
        """Close the lanes of processes that are dead now."""
        try:
            await asyncio.to_thread(self._recovery.examine)
            report = self._recovery.commit()
            self._live = await asyncio.to_thread(self._look)
        except (JournalError, OSError) as error:
            self._complain((f"dead lanes cannot be closed now: {error}",))
            return
        if report.interrupted:
            _log.warning("calls cut off by the death of a process, recorded as interrupted: %d", report.interrupted)
        if report.torn_bytes:
            said = "at the ends of lanes, %d bytes never came to whole lines; they are set aside there in *.torn"
            _log.warning(said, report.torn_bytes)
        self._complain(report.broken)

    async def retain_regularly(self) -> NoReturn:
        """Keep the journal small, again and again."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(PRESSED_SECONDS)
            if self._pressed() or time.monotonic() - last >= RETAIN_SECONDS:
                await self.retain()
                last = time.monotonic()

    def _pressed(self) -> bool:
        options = self._options
        return options.when_full != "refuse" and self._writer.total_bytes > DELETE_FROM * options.max_bytes

    async def retain(self) -> None:
        """Compress what is collected, and delete what is too old or too much."""
        self.retaining = True
        try:
            report = await self._retention.run(self._collected())
        except (JournalError, OSError) as error:
            _log.error("the journal cannot be compressed or cut: %s", error)
            self.retaining = False
            return
        self.retaining = False
        if report.deleted:
            _log.warning("%d segments of the journal deleted, from %s on", len(report.deleted), report.deleted[0])
        if report.warn and not self.warn:
            _log.warning("the journal has %d bytes, near journal.max_bytes", report.bytes)
        self.warn = report.warn

    def lanes(self) -> list[LaneHealth]:
        """Lanes that are not closed, as of the last look."""
        collected = self._collected()
        return [LaneHealth(lane, self._roles.get(lane), collected.get(lane, 0)) for lane in self._live]

    def _look(self) -> list[str]:
        live = [info.lane for info in lanes(self._directory) if info.closed is None]
        for lane in live:
            if lane not in self._roles:
                self._roles[lane] = role_of(self._directory / lane)
        for lane in self._roles.keys() - set(live):
            del self._roles[lane]
        return live

    def _complain(self, broken: tuple[str, ...]) -> None:
        for each in set(broken) - set(self.broken):
            _log.error("%s", each)
        self.broken = broken
