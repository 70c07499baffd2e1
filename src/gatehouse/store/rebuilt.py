"""A store that was built anew from the journal, held against the one whose place it is to take.

Rules: both are at this release's tables. Calls are compared by id, tenant by tenant and in stretches, whatever else
stands in their rows. Roll-ups are older than calls and than the journal: those that the new store cannot make from its
calls are taken over as they are, and so are events that it has not.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import ids
from gatehouse.store.engine import insert_new, transaction
from gatehouse.store.schema import audit, rolled, rollup_durations, rollups, traces
from gatehouse.store.stretches import tenant_after
from gatehouse.store.times import DAY, HOUR

_STRETCH: Final = 20_000
_ROWS: Final = 1_000
_HALVES: Final = (traces.c.call, traces.c.decision_lane.is_not(None), traces.c.outcome_lane.is_not(None))


class Missing(msgspec.Struct, frozen=True):
    """Calls, or halves of them, that the old store has and the new one has not. Times in microseconds since the
    epoch; 0 where there are none."""

    calls: int = 0
    first: int = 0
    last: int = 0


async def missing(old: AsyncEngine, new: AsyncEngine, since: int) -> Missing:
    """Of the calls that began at or after `since`. Raises `StoreError`."""
    found = Missing()
    async with transaction(old) as before, transaction(new) as after:
        tenant = await tenant_after(before, "", traces)
        while tenant is not None:
            last = ids.first_call(since)
            while stretch := await _stretch(before, tenant, last, None):
                for call in sorted(stretch - await _stretch(after, tenant, last, _last(stretch))):
                    began = ids.started(call[0]) or 0
                    found = Missing(found.calls + 1, min(found.first or began, began), max(found.last, began))
                last = _last(stretch)
            tenant = await tenant_after(before, tenant, traces)
    return found


async def take_over_rollups(old: AsyncEngine, new: AsyncEngine, since: int) -> None:
    """Copy the roll-ups of hours and days that began before the oldest call, or `since`. Raises `StoreError`."""
    async with transaction(old) as before, transaction(new) as after:
        tenant = await tenant_after(before, "", rolled)
        while tenant is not None:
            first = select(func.min(traces.c.call)).where(traces.c.tenant == tenant)
            oldest = (await after.execute(first)).scalar_one()
            began = None if oldest is None else ids.started(oldest)
            edge = None if began is None else max(began, since)
            for table in (rolled, rollups, rollup_durations):
                which = and_(table.c.tenant == tenant, *_made_before(table, edge))
                await after.execute(table.delete().where(which))
                await _copy(before, after, table, which)
            tenant = await tenant_after(before, tenant, rolled)


async def take_over_audit(old: AsyncEngine, new: AsyncEngine) -> None:
    """Copy the events that the journal has no longer: they are kept as long as the store. Raises `StoreError`."""
    statement = insert_new(new, audit)
    async with transaction(old) as before, transaction(new) as after:
        rows = await before.stream(select(audit))
        async for some in rows.mappings().partitions(_ROWS):
            await after.execute(statement, [dict(row) for row in some])


def _made_before(table: Table, edge: int | None) -> list[ColumnElement[bool]]:
    """The hour of the edge too: not all of its calls may be there. Its day is made from its hours."""
    if edge is None:
        return []
    hours = and_(table.c.grain == "hour", table.c.start <= edge)
    return [hours | and_(table.c.grain == "day", table.c.start + DAY <= edge - edge % HOUR)]


async def _stretch(
    connection: AsyncConnection, tenant: str, after: str, until: str | None
) -> set[tuple[str, bool, bool]]:
    """The next calls, and which of their halves are there."""
    statement = select(*_HALVES).where(traces.c.tenant == tenant, traces.c.call > after)
    if until is None:
        statement = statement.order_by(traces.c.call).limit(_STRETCH)
    else:
        statement = statement.where(traces.c.call <= until)
    return {(call, bool(decided), bool(ended)) for call, decided, ended in await connection.execute(statement)}


def _last(stretch: set[tuple[str, bool, bool]]) -> str:
    return max(stretch)[0]


async def _copy(before: AsyncConnection, after: AsyncConnection, table: Table, which: ColumnElement[bool]) -> None:
    rows = await before.stream(select(table).where(which))
    async for some in rows.mappings().partitions(_ROWS):
        await after.execute(table.insert(), [dict(row) for row in some])
