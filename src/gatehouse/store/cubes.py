"""An hour or a day of calls, as it gathers: what `rolling` adds up and writes. No I/O.

Rules: what is kept is bounded. Callers name models, and bring keys, as they like: beyond `MOST` groups of a cube the
names of further ones are `rollups.OTHER`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from gatehouse.store.durations import pack
from gatehouse.store.rollups import CUBES, ENDS, OTHER, SUMS
from gatehouse.store.rows import RollupRow
from gatehouse.store.tally import LATEST

MOST: Final = 10_000
"""Groups of one cube in an hour or a day."""
GROUP: Final = tuple(name for name in RollupRow.__struct_fields__[5:] if name not in (*ENDS, *SUMS))
"""Every column that tells calls apart, ends aside, in the order of a row."""

_INVENTED: Final = frozenset({"model", "model_answered", "caller", "user_id", "service"})
_MOST_BITS: Final = 2**63 - 1
_LATEST: Final = SUMS.index(LATEST)

Key = tuple[Any, ...]


class _Times:
    """Durations of one group: of whole calls, and until their first token."""

    __slots__ = ("counts", "totals")

    def __init__(self) -> None:
        self.counts = Counter[int](), Counter[int]()
        """Calls by rounded duration."""
        self.totals = [0, 0, 0, 0]
        """Calls and the exact sum of each."""


class Cube:
    """One cube of an hour or a day."""

    def __init__(self, name: str, most: int = MOST) -> None:
        """`name`: of `rollups.CUBES`; `most`: groups that have names of their own."""
        self.name = name
        self.calls = 0
        self.full = False
        """Whether there were more groups than have names of their own."""
        self._most = most
        self._columns = CUBES[name]
        places = [GROUP.index(column) for column in self._columns]
        # Of one column a tuple, too.
        self._pick = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
        self._out = [self._columns.index(name) if name in self._columns else None for name in GROUP]
        self._sums: dict[Key, list[int]] = {}
        self._times: dict[Key, _Times] = {}

    def add(self, group: Sequence[Any], ends: Key, values: list[int]) -> None:
        """Calls of one group (`GROUP`) that ended alike, and their sums (`rollups.SUMS`), which stay the caller's."""
        self.calls += values[0]
        place = *self._pick(group), *ends
        kept = self._sums.get(place)
        if kept is None and len(self._sums) >= self._most:
            place = *self._named(place), *ends
            kept = self._sums.get(place)
        if kept is None:
            self._sums[place] = list(values)
            return
        latest = max(kept[_LATEST], values[_LATEST])
        for at, value in enumerate(values):
            if value:
                kept[at] += value
        kept[_LATEST] = latest

    def time(self, group: Sequence[Any], took: Mapping[int, int], first: Mapping[int, int], totals: Key) -> None:
        """Calls of one group by their durations, those until the first token, and how many and their sum of each."""
        place: Key = self._pick(group)
        kept = self._times.get(place)
        if kept is None and len(self._times) >= self._most:
            place = self._named(place)
            kept = self._times.get(place)
        if kept is None:
            kept = self._times[place] = _Times()
        for counts, found in zip(kept.counts, (took, first), strict=True):
            for duration, calls in found.items():
                counts[duration] += calls
        for at, value in enumerate(totals):
            kept.totals[at] += value

    def rows(self, tenant: str, grain: str, start: int) -> tuple[list[Key], list[Key]]:
        """What is to be written: rows of `rollups` and of `rollup_durations`."""
        width = len(self._columns)
        summed = [
            (tenant, self.name, grain, start, position, *self._group(key), *key[width:], *map(_bounded, values))
            for position, (key, values) in enumerate(self._sums.items())
        ]
        timed: list[Key] = []
        for position, (key, times) in enumerate(self._times.items()):
            (took, first), (ended, waited, began, began_waited) = times.counts, times.totals
            durations = ended, _bounded(waited), pack(took), began, _bounded(began_waited), pack(first)
            timed.append((tenant, self.name, grain, start, position, *self._group(key), *durations))
        return summed, timed

    def _named(self, key: Key) -> Key:
        """Where a group is counted for which there is no room."""
        self.full = True
        return tuple(OTHER if name in _INVENTED else value for name, value in zip(self._columns, key, strict=False))

    def _group(self, key: Key) -> Key:
        return tuple(None if place is None else key[place] for place in self._out)


def _bounded(value: int) -> int:
    return min(value, _MOST_BITS)
