"""Durations as they are counted, packed and gathered."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, MetaData, Table, select

from gatehouse.store import durations, engine
from gatehouse.store.durations import Histogram, pack, percentiles, unpack
from tests.store import databases

COUNTS = st.dictionaries(
    st.sampled_from(durations._VALUES) | st.sampled_from(durations._VALUES[900:1000]) | st.integers(10**13, 10**15),
    st.integers(1, 10**6),
    max_size=60,
)


@given(pieces=st.lists(COUNTS, max_size=6), single=COUNTS)
def test_pieces_add_up(pieces: list[dict[int, int]], single: dict[int, int]) -> None:
    gathered, right = Histogram(), Counter(single)
    for duration, calls in single.items():
        gathered.add(duration, calls)
    for piece in pieces:
        packed = pack(piece)
        assert unpack(packed) == piece
        gathered.merge(packed)
        right.update(piece)
    assert gathered.counts() == right


def test_close_counts_take_little_room() -> None:
    """I9: however many calls they are of."""
    values = durations._VALUES[900:1100]
    assert len(pack(dict.fromkeys(values, 10**6))) < 5 * len(values)
    far = {1: 1, 10**12: 1} | dict.fromkeys(values[:20], 1)
    assert len(pack(far)) < 8 * len(far)


def test_the_database_rounds_as_it_is_documented(new_place: Callable[[], Path]) -> None:
    """Down by less than 2.5 %, and to a count that there is."""
    values = sorted({*range(300), *(int(1.013**power) + more for power in range(1, 2300) for more in (0, 1))})
    values = [value for value in values if value < 10**13]
    table = Table("given", MetaData(), Column("took", BigInteger))

    async def run() -> list[tuple[int, int]]:
        writing = engine.writer(databases.url(new_place()))
        try:
            async with engine.transaction(writing) as connection:
                await connection.run_sync(table.create)
                await connection.execute(table.insert(), [{"took": value} for value in values])
                found = await connection.execute(select(table.c.took, durations.rounded(table.c.took)))
                return [(took, rounded) for took, rounded in found]
        finally:
            await writing.dispose()

    found = asyncio.run(run())
    assert len(found) == len(values)
    for took, rounded in found:
        assert rounded in durations._PLACES
        assert 0.975 * took < rounded <= took or took < 40 and rounded == took


@given(counts=COUNTS.filter(bool))
def test_percentiles_are_by_nearest_rank(counts: dict[int, int]) -> None:
    total, ranked = sum(counts.values()), sorted(counts)
    for percent, found in zip((1, 50, 99, 100), percentiles(Counter(counts), 1, 50, 99, 100), strict=True):
        assert found is not None
        need = math.ceil(total * percent / 100)
        assert sum(counts[value] for value in ranked if value <= found) >= need
        assert sum(counts[value] for value in ranked if value < found) < need
