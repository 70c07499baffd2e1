"""Keeps on disk what limits have spent, so that a worker that starts need not wait for control, nor read far.

Rules: taken from the store in one transaction with the lanes' marks; written only where it differs. While the store is
away the last one stands: whoever starts then reads more of the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

from sqlalchemy.engine import URL

from gatehouse.gateway import openings
from gatehouse.gateway.openings import Openings, Spent
from gatehouse.limits.calendar import Calendar
from gatehouse.model.limits import is_spend
from gatehouse.store import times
from gatehouse.store.engine import StoreError
from gatehouse.store.ledger import balance
from gatehouse.store.reading import Connections
from gatehouse.store.rows import LedgerRow

KEEP_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class KeptOpenings:
    """The file at `path`, from the store at `url`."""

    def __init__(self, path: Path, url: URL) -> None:
        self._path = path
        self._connections = Connections(url, connections=1, everybody=True)
        self._written: Openings | None = None
        self._trouble: str | None = None

    async def keep(self) -> NoReturn:
        """Again and again; the store has a moment to open first."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self.write()

    async def write(self) -> None:
        """As the store stands now; what goes wrong is logged, and tried again by whoever calls again."""
        try:
            current = await self.current()
            if current != self._written:
                await asyncio.to_thread(openings.write, self._path, current)
                self._written = current
        except (StoreError, OSError) as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _log.warning("limits: what is spent cannot be kept in %s now: %s", self._path, error)
        else:
            self._trouble = None

    async def current(self) -> Openings:
        """What the store says now. Raises `StoreError`."""
        marks, rows = await balance(await self._connections.current())
        spent = tuple(
            Spent(row.counter, row.period, row.settled, row.reserved) for row in _that_matter(rows, times.now())
        )
        return Openings({lane: mark.seq for lane, mark in marks.items()}, spent)

    async def latest(self) -> Openings:
        """The same; while the store is away what was kept last."""
        try:
            return await self.current()
        except StoreError:
            return await asyncio.to_thread(openings.read, self._path)

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._connections.aclose()


def _that_matter(rows: Iterable[LedgerRow], now: int) -> Iterable[LedgerRow]:
    """Those of spend whose period is not long over: clocks may be set back."""
    calendar = Calendar()
    calendar.turn(now - times.DAY)
    earliest = {"day": calendar.period("day"), "month": calendar.period("month"), "total": ""}
    for row in rows:
        window = row.counter.rpartition("/")[2]
        if is_spend(row.counter) and row.period >= earliest.get(window, ""):
            yield row
