"""Sliding windows: at most N in any interval of length W, whenever it begins, both its ends included.

What lives here: how much was counted within the last W, and when some of it leaves. What does not: limits, refusing.

Rules
- Times are microseconds of a monotonic clock, passed in. Time never goes back: a lower one counts as the highest seen.
- `Log` keeps the time of each; it is exact, and serves where N is at most `LONGEST_LOG` and each counts as one.
- `Granules` keeps sums of W/60 and counts 61 whole ones: no interval of length W touches more. So it may count up to
  W/60 longer than needed, never shorter, and takes the same memory whatever is counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Final

LONGEST_LOG: Final = 1000
PARTS: Final = 60
"""Granules of a window."""

_COUNTED: Final = PARTS + 1
_NEVER: Final = -(1 << 60)


class Window(ABC):
    """What was counted within the last `length` microseconds."""

    def __init__(self, length: int) -> None:
        self.length = length

    @abstractmethod
    def used(self, now: int) -> int:
        """The sum as of now. The others go by the last `now` told here."""

    @abstractmethod
    def add(self, amount: int, at: int) -> int:
        """Count; returns where it was counted. `at` is not before what was added before (`Granules`: any time)."""

    @abstractmethod
    def frees(self, amount: int, now: int) -> int:
        """Microseconds until so much of the sum has left."""

    @abstractmethod
    def changes(self, now: int) -> int:
        """Microseconds until something may leave."""

    @abstractmethod
    def counted(self) -> list[tuple[int, int]]:
        """(time, amount), oldest first. A time may be later than the truth, by less than a granule."""


class Log(Window):
    """The time of each: the newest `LONGEST_LOG`, which is all that a limit of at most so many can depend on."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._times: deque[int] = deque(maxlen=LONGEST_LOG)

    def used(self, now: int) -> int:
        times = self._times
        begin = now - self.length
        while times and times[0] < begin:
            times.popleft()
        return len(times)

    def add(self, amount: int, at: int) -> int:
        times = self._times
        for _ in range(min(amount, LONGEST_LOG)):
            times.append(at)
        return at

    def frees(self, amount: int, now: int) -> int:
        times = self._times
        if not 0 < amount <= len(times):
            return self.length
        return times[amount - 1] + self.length + 1 - now

    def changes(self, now: int) -> int:
        return self.frees(1, now)

    def counted(self) -> list[tuple[int, int]]:
        return [(time, 1) for time in self._times]


class Granules(Window):
    """Sums of W/60. What was counted can be corrected while it is within the window."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._width = length // PARTS
        self._sums: list[int] = []
        """Made when something is counted first."""
        self._newest = _NEVER
        """Number of the newest granule: of time divided by width."""
        self._total = 0

    def used(self, now: int) -> int:
        newest = now // self._width
        passed = newest - self._newest
        if passed > 0:
            self._advance(newest, passed)
        return self._total

    def _advance(self, newest: int, passed: int) -> None:
        sums = self._sums
        if not sums:
            pass
        elif passed >= _COUNTED:
            for index in range(_COUNTED):
                sums[index] = 0
            self._total = 0
        else:
            for number in range(self._newest + 1, newest + 1):
                index = number % _COUNTED
                self._total -= sums[index]
                sums[index] = 0
        self._newest = newest

    def add(self, amount: int, at: int) -> int:
        number = min(at // self._width, self._newest)
        self.adjust(number, amount)
        return number

    def adjust(self, place: int, difference: int) -> None:
        """Correct what `add` counted there; nothing, if it has left."""
        if self._newest - place < _COUNTED:
            if not self._sums:
                self._sums = [0] * _COUNTED
            self._sums[place % _COUNTED] += difference
            self._total += difference

    def frees(self, amount: int, now: int) -> int:
        gone = 0
        if not self._sums:
            return self.length
        for number in range(self._newest - _COUNTED + 1, self._newest + 1):
            gone += self._sums[number % _COUNTED]
            if gone >= amount:
                return (number + _COUNTED) * self._width - now
        return self.length

    def changes(self, now: int) -> int:
        return (self._newest + 1) * self._width - now

    def counted(self) -> list[tuple[int, int]]:
        width = self._width
        if not self._sums:
            return []
        numbers = range(self._newest - _COUNTED + 1, self._newest + 1)
        return [
            ((number + 1) * width - 1, self._sums[number % _COUNTED])
            for number in numbers
            if self._sums[number % _COUNTED]
        ]
