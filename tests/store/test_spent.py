"""store/spent.py: what is spent on counters, of one tenant alone (I6), on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gatehouse.store import engine
from gatehouse.store.rows import Batch, LedgerRow
from gatehouse.store.sight import Sight
from gatehouse.store.spent import Amounts, Spent
from tests.store import databases
from tests.store.samples import opened

DAILY, TOTAL = "default/key/key_1/spend/day", "default/key/key_1/spend/total"


def test_what_is_asked_for_of_ones_own_tenant(place: Path) -> None:
    async def run() -> None:
        rows = (
            LedgerRow("default", DAILY, "2026-11-20", 1, 0),
            LedgerRow("default", DAILY, "2026-11-21", 40, 70),
            LedgerRow("default", TOTAL, "", 5, -3),
            LedgerRow("other", DAILY, "2026-11-21", 999, 999),
        )
        async with opened(place) as (writer, _):
            await writer.apply(Batch(ledger=rows))
        reading = engine.reader(databases.url(place), connections=1)
        try:
            mine, others = Spent(reading, Sight("default")), Spent(reading, Sight("other", key="key_9"))
            found = await mine.on([(DAILY, "2026-11-21"), (TOTAL, ""), (TOTAL, "2026-11"), (DAILY, "2026-11-21")])
            assert found == {(DAILY, "2026-11-21"): Amounts(40, 70), (TOTAL, ""): Amounts(5, 0)}
            assert await others.on([(DAILY, "2026-11-21"), (TOTAL, "")]) == {(DAILY, "2026-11-21"): Amounts(999, 999)}
            assert await mine.on([]) == {}
            many = [(f"default/key/key_{number}/spend/day", "2026-11-21") for number in range(1200)]
            assert await mine.on(many) == {(DAILY, "2026-11-21"): Amounts(40, 70)}
        finally:
            await reading.dispose()

    asyncio.run(run())
