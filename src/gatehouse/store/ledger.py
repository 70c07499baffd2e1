"""What limits count, as far as it is collected: how it is read, held against another store's, and forgotten.

Rules: the collector adds up what decisions reserve and outcomes settle (`collector.fold`), in the transaction that
moves the lanes' marks. So rows and marks of one transaction belong together: what lies behind the marks in the journal,
and nothing else, is to be added to the rows. Reads all tenants: for the limiters' sake, never for a caller's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Delete, Insert, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import times
from gatehouse.store.engine import insert_or_update, transaction
from gatehouse.store.rows import LedgerRow, Mark
from gatehouse.store.schema import lanes, ledger

KEEP_DAYS: Final = 62
"""After its day, or its month, is over. What never ends is kept for ever."""

_ENDLESS: Final = ""
_MONTH: Final = len("2026-11")
_DATE: Final = len("2026-11-21")
_KEY: Final = ("tenant", "counter", "period")
_ROWS: Final = 1_000
_COLUMNS: Final = tuple(ledger.c[name] for name in LedgerRow.__struct_fields__)


class Balance(NamedTuple):
    """The counters, and how far each lane is collected in them."""

    marks: dict[str, Mark]
    """By lane."""
    rows: list[LedgerRow]


async def balance(engine: AsyncEngine, now: int | None = None) -> Balance:
    """Marks and rows of one moment: those that a call of yesterday may still change, and younger ones.

    `engine`: a reader's for everybody (`engine.reader(…, everybody=True)`), or a writer's. `now`: microseconds since
    the epoch, unless it is now. Raises `StoreError`.
    """
    yesterday = times.rfc3339((times.now() if now is None else now) - times.DAY)[:_DATE]
    counts = or_(ledger.c.period == _ENDLESS, ledger.c.period >= yesterday, ledger.c.period == yesterday[:_MONTH])
    async with transaction(engine) as connection:
        found = await connection.execute(select(*(lanes.c[name] for name in Mark.__struct_fields__)))
        marks = {row.lane: Mark(*row) for row in found}
        rows = [LedgerRow(*row) for row in await connection.execute(select(*_COLUMNS).where(counts))]
    return Balance(marks, rows)


async def forget(connection: AsyncConnection, now: int) -> None:
    """Delete what no period is counted by any more. `now`: microseconds since the epoch."""
    day = times.rfc3339(now - KEEP_DAYS * times.DAY)[:_DATE]
    # A month sorts before its days, and is over after them.
    over = and_(ledger.c.period < day, ledger.c.period != day[:_MONTH])
    await connection.execute(Delete(ledger).where(ledger.c.period != _ENDLESS, over))


async def take_over(old: AsyncEngine, new: AsyncEngine) -> None:
    """Have in `new`, a writer's, the larger of both counts of each row: the journal that it was made from may reach
    back less far than a period. Raises `StoreError`."""
    async with transaction(old) as before, transaction(new) as after:
        statement = insert_or_update(new, ledger, _KEY)
        # Outcomes whose decisions the journal has no longer.
        await after.execute(update(ledger).where(ledger.c.reserved < 0).values(reserved=0))
        rows = await before.stream(select(*_COLUMNS))
        async for some in rows.partitions(_ROWS):
            await _keep_larger(after, statement, [LedgerRow(*row) for row in some])


async def _keep_larger(connection: AsyncConnection, statement: Insert, rows: list[LedgerRow]) -> None:
    tenants, counters = {row.tenant for row in rows}, {row.counter for row in rows}
    here = select(*_COLUMNS).where(ledger.c.tenant.in_(tenants), ledger.c.counter.in_(counters))
    made = {row[: len(_KEY)]: LedgerRow(*row) for row in await connection.execute(here)}
    larger = []
    for row in rows:
        other = made.get((row.tenant, row.counter, row.period), row)
        settled, reserved = max(row.settled, other.settled), max(row.reserved, other.reserved, 0)
        larger.append(msgspec.structs.asdict(msgspec.structs.replace(row, settled=settled, reserved=reserved)))
    await connection.execute(statement, larger)
