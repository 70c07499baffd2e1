"""How durations are counted: down to three significant digits, in numbers of calls. Exact to those digits.

Rules: what is counted this way adds up over any number of pieces, takes at most 900 counts per decade however many
calls there are, and its percentiles are those of the calls, rounded down to the same digits: nearest rank, never
interpolated. Averages come from exact sums.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sqlalchemy import ColumnElement, case

_DECADES: Final = tuple(10**power for power in range(3, 13))


def rounded(value: ColumnElement[int]) -> ColumnElement[int]:
    """Down to three significant digits: keeps the number of groups small, however many calls there are."""
    steps = [(value < limit, value - value % (limit // 1000)) for limit in _DECADES]
    return case(*steps, else_=value - value % (_DECADES[-1] // 100))


def average(waited: int, counts: Counter[int]) -> int | None:
    """`waited`: the exact sum. `None` where there are no calls."""
    return waited // counts.total() if counts else None


def percentiles(counts: Counter[int], *percents: int) -> list[int | None]:
    """For each of `percents`, in ascending order: the smallest duration that at least so many calls do not exceed."""
    needed = [-(-counts.total() * percent // 100) for percent in percents]
    found: list[int | None] = []
    seen = 0
    for duration in sorted(counts):
        seen += counts[duration]
        while len(found) < len(needed) and seen >= needed[len(found)]:
            found.append(duration)
    return found + [None] * (len(needed) - len(found))
