"""How durations are counted: rounded down by less than 2.5 %, in numbers of calls.

Rules: what is counted this way adds up over any number of pieces, takes at most 160 counts per decade however many
calls there are, and its percentiles are those of the calls, rounded down alike: nearest rank, never interpolated.
Averages come from exact sums.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, literal_column

_STEPS: Final = tuple(
    (limit * decade, decade // parts)
    for decade in (10**power for power in range(2, 13))
    for limit, parts in ((2, 50), (5, 20), (10, 10))
)
"""Below which limit durations are rounded down to a multiple of what: 1020, 1040 … 2050, 2100 … 5100, 5200."""
_VALUES: Final = (
    *range(100),
    *(
        value
        for (limit, step), start in zip(_STEPS, (100, *(limit for limit, _ in _STEPS)), strict=False)
        for value in range(start, limit, step)
    ),
)
"""Every duration there is a count for, as far as steps go."""
_PLACES: Final = {value: place for place, value in enumerate(_VALUES)}
_SPARSE: Final = msgspec.msgpack.Decoder(dict[int, int])
_DENSE: Final = 1
"""First byte of counts that stand side by side. A map of MessagePack begins with another."""
_HEAD: Final = struct.Struct("<BH")
_LANE: Final = 4
"""Bytes of a count."""
_MANY: Final = 16
"""Fewer counts stand alone: side by side they would all be kept from the first place on."""
_CLOSE: Final = 8
"""Counts side by side take less than so many times the places that are taken."""


def rounded(column: ColumnElement[int]) -> ColumnElement[int]:
    """Down to the next count: keeps the number of groups small, however many calls there are. `column`: of a table.

    As text: it is part of many statements, and a hundred parameters each would be most of their time.
    """
    steps = " ".join(f"WHEN {column} < {limit} THEN {step}" for limit, step in _STEPS)
    step = f"CASE WHEN {column} < 100 THEN 1 {steps} ELSE {_STEPS[-1][1]} END"
    return literal_column(f"({column} - {column} % {step})", BigInteger)


def pack(counts: Mapping[int, int]) -> bytes:
    """Calls by rounded duration: a map of integers as MessagePack; where they lie close, the byte 1, the place of the
    first (two bytes) and then four bytes for each place, little-endian."""
    ordered = dict(sorted(counts.items()))
    if len(ordered) >= _MANY and all(value in _PLACES for value in ordered) and max(ordered.values()) < 2**32:
        first, last = _PLACES[next(iter(ordered))], _PLACES[next(reversed(ordered))]
        if last - first < _CLOSE * len(ordered):
            side_by_side = (ordered.get(value, 0) for value in _VALUES[first : last + 1])
            return _HEAD.pack(_DENSE, first) + struct.pack(f"<{last - first + 1}I", *side_by_side)
    return msgspec.msgpack.encode(ordered)


def unpack(packed: bytes) -> dict[int, int]:
    """What `pack` made."""
    counts = Histogram()
    counts.merge(packed)
    return dict(counts.counts())


class Histogram:
    """Calls by rounded duration, gathered from many pieces.

    Counts that stand side by side are added as one large number: a month of days is merged in the time of a few.
    """

    __slots__ = ("_dense", "_single")

    def __init__(self) -> None:
        self._single: Counter[int] = Counter()
        self._dense = 0

    def __len__(self) -> int:
        """How much memory it takes, in durations that stand alone: side by side they take a sixteenth."""
        return len(self._single) + self._dense.bit_length() // (8 * _LANE * 16)

    def add(self, duration: int, calls: int) -> None:
        """Calls that took this rounded duration."""
        self._single[duration] += calls

    def merge(self, packed: bytes) -> None:
        """What `pack` made. Raises `msgspec.DecodeError`."""
        if packed[0] == _DENSE:
            _, first = _HEAD.unpack_from(packed)
            self._dense += int.from_bytes(packed[_HEAD.size :], "little") << (8 * _LANE * first)
        else:
            single = self._single
            # Few as these are, `update` would take half as long again.
            for duration, calls in _SPARSE.decode(packed).items():
                single[duration] = single.get(duration, 0) + calls

    def include(self, other: Histogram) -> None:
        """All of another."""
        self._single.update(other._single)
        self._dense += other._dense

    def counts(self) -> Counter[int]:
        """All of it."""
        found = self._single.copy()
        if self._dense:
            # Most begin far from the first place.
            first = ((self._dense & -self._dense).bit_length() - 1) // (8 * _LANE)
            dense = self._dense >> (8 * _LANE * first)
            places = -(-dense.bit_length() // (8 * _LANE))
            side_by_side = struct.unpack(f"<{places}I", dense.to_bytes(places * _LANE, "little"))
            for value, calls in zip(_VALUES[first : first + places], side_by_side, strict=True):
                if calls:
                    found[value] += calls
        return found


def average(waited: int, counts: Counter[int]) -> int | None:
    """`waited`: the exact sum. `None` where there are no calls."""
    return waited // counts.total() if counts else None


def percentiles(counts: Counter[int], *percents: int) -> list[int | None]:
    """For each of `percents`, in ascending order: the smallest duration that at least so many calls do not exceed."""
    total = counts.total()
    if not total:
        return [None] * len(percents)
    needed = iter([-(-total * percent // 100) for percent in percents])
    need = next(needed)
    found: list[int | None] = []
    seen = 0
    for duration, calls in sorted(counts.items()):
        seen += calls
        while seen >= need:
            found.append(duration)
            need = next(needed, total + 1)
    return found
