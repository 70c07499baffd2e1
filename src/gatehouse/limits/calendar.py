"""The UTC day and month a moment is in: the periods that spend counts by.

Rules: Unix microseconds in, nothing reads a clock. Whoever reserves keeps the period's name: a call counts in the one
it was admitted in, whenever it ends.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from gatehouse.model.limits import Window

_SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Calendar:
    """The day and month of the last moment told, and when they end."""

    __slots__ = ("day", "day_ends", "month", "month_ends", "turns", "_day_begins")

    def __init__(self) -> None:
        self.day = ""
        """`2026-11-21`"""
        self.month = ""
        """`2026-11`"""
        self.day_ends = 0
        """Unix microseconds: the first of the next."""
        self.month_ends = 0
        self.turns = 0
        """How often it has turned to another day."""
        self._day_begins = 0

    def turn(self, unix: int) -> None:
        """Turn to the day of this moment. The rest goes by it."""
        if self._day_begins <= unix < self.day_ends:
            return
        self.turns += 1
        day = (_EPOCH + timedelta(microseconds=unix)).replace(hour=0, minute=0, second=0, microsecond=0)
        next_month = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        self.day = day.strftime("%Y-%m-%d")
        self.month = self.day[:7]
        self._day_begins = _unix(day)
        self.day_ends = _unix(day + timedelta(days=1))
        self.month_ends = _unix(next_month)

    def period(self, window: Window) -> str:
        """As `model.limits.Reserved` has it."""
        if window == "day":
            return self.day
        return self.month if window == "month" else ""

    def ends(self, window: Window) -> int | None:
        """Unix microseconds; `None`: never."""
        if window == "day":
            return self.day_ends
        return self.month_ends if window == "month" else None


def _unix(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds()) * _SECOND
