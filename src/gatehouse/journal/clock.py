"""The present, for what deletes by age: a clock that is set wrong must not delete a journal.

Rules: records carry the system's clock as it is, right or wrong, and durations and time-outs never do (they are
monotonic). Here the clock's time at the start is carried forward by the time that has passed since, the machine's sleep
included; where the clock says later than that, somebody has set it, and it is not believed before the next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SLEEPING_TOO: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _elapsed() -> float:
    return time.clock_gettime(_SLEEPING_TOO)


class Steady:
    """Seconds since the epoch. `wall` and `elapsed` are the system's clocks."""

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = _elapsed) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._offset = wall() - elapsed()

    @property
    def jumped(self) -> float:
        """By how many seconds the clock was set forward since the start; negative: back."""
        return self._wall() - self._elapsed() - self._offset

    def now(self) -> float:
        """The earlier of what the clock says and what it would say, had nobody set it."""
        return min(self._wall(), self._elapsed() + self._offset)
