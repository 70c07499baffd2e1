"""What limits count, in the store: read in one piece, kept as long as it counts, never less after a rebuild (I4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gatehouse.store import engine, ledger, times
from gatehouse.store.rows import Batch, LedgerRow, Mark
from tests.store import databases
from tests.store.samples import LANE, START, opened

DAILY = "default/key/key_1/spend/day"
MONTHLY = "default/tenant/default/spend/month"
TOTAL = "default/key/key_1/spend/total"
MARK = Mark(LANE, 9, "0" * 64, START)


def _row(counter: str, period: str, settled: int, reserved: int = 0, tenant: str = "default") -> LedgerRow:
    return LedgerRow(tenant, counter, period, settled, reserved)


def test_rows_and_marks_of_one_moment(place: Path) -> None:
    """Of all tenants, added up batch by batch."""

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(ledger=(_row(DAILY, "2025-11-13", 0, 70), _row(TOTAL, "", 5)), marks=(MARK,)))
            later = Mark(LANE, 12, "1" * 64, START + 1)
            changes = _row(DAILY, "2025-11-13", 40, -70), _row(DAILY, "2025-11-13", 1, 2, "b")
            await writer.apply(Batch(ledger=changes, marks=(later,)))
        reading = engine.reader(databases.url(place), connections=1, everybody=True)
        try:
            marks, rows = await ledger.balance(reading, START)
        finally:
            await reading.dispose()
        assert marks == {LANE: later}
        expected = [_row(DAILY, "2025-11-13", 40, 0), _row(DAILY, "2025-11-13", 1, 2, "b"), _row(TOTAL, "", 5)]
        assert sorted(rows, key=repr) == sorted(expected, key=repr)

    asyncio.run(run())


def test_periods_that_are_long_over_are_forgotten(place: Path) -> None:
    """A total never; a month after all of its days."""
    days = ("2025-09-30", "2025-10-01", "2025-12-01")
    months = ("2024-12", "2025-08", "2025-09", "2025-10", "2025-12")
    # 62 days after 2025-10-01.
    now = times.of(datetime(2025, 12, 2, 12, tzinfo=UTC))

    async def run() -> None:
        async with opened(place) as (writer, writing):
            rows = [_row(DAILY, day, 1) for day in days] + [_row(MONTHLY, month, 1) for month in months]
            await writer.apply(Batch(ledger=(*rows, _row(TOTAL, "", 1))))
            async with engine.transaction(writing) as connection:
                await ledger.forget(connection, now)
            left = sorted(row.period for row in (await ledger.balance(writing, 0)).rows)
            assert left == ["", "2025-10", "2025-10-01", "2025-12", "2025-12-01"]
            # Of these a call of yesterday still counts in some.
            count = sorted(row.period for row in (await ledger.balance(writing, now)).rows)
            assert count == ["", "2025-12", "2025-12-01"]
            # With the calls, and by the clock as it is.
            await writer.forget(START, 100)
            assert "" in [row.period for row in (await ledger.balance(writing)).rows]

    asyncio.run(run())


def test_a_rebuilt_store_counts_no_less(new_place: Callable[[], Path]) -> None:
    """The journal may reach back less far than a period."""
    old = _row(DAILY, "2025-11-13", 100, 5), _row(MONTHLY, "2025-11", 900), _row(TOTAL, "", 3, 0, "b")
    new = _row(DAILY, "2025-11-13", 30, 0), _row(MONTHLY, "2025-11", 950, -20), _row(DAILY, "2025-11-14", 7, -3)

    async def run() -> None:
        before, after = new_place(), new_place()
        async with opened(before) as (writer, reading), opened(after) as (other, writing):
            await writer.apply(Batch(ledger=old))
            await other.apply(Batch(ledger=new))
            await ledger.take_over(reading, writing)
            rows = (await ledger.balance(writing, START)).rows
        expected = [
            _row(DAILY, "2025-11-13", 100, 5),
            _row(DAILY, "2025-11-14", 7, 0),
            _row(MONTHLY, "2025-11", 950, 0),
            _row(TOTAL, "", 3, 0, "b"),
        ]
        assert sorted(rows, key=repr) == sorted(expected, key=repr)

    asyncio.run(run())
