"""How many calls are gone through: a stretch per transaction, along (tenant, call), so that no reader stays open long
and lets SQLite's log grow. Every stretch carries its tenant (I6).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import ids
from gatehouse.store.engine import StoreError, transaction
from gatehouse.store.schema import traces

STRETCH: Final = 50_000
"""Calls looked at in one transaction at most."""

_ROUND_UP: Final = 999
"""To whole milliseconds."""

Scope = tuple[ColumnElement[bool], ...]
"""Conditions that hold for the calls of one stretch, tenant included."""
Visit = Callable[[AsyncConnection, Scope, str | None], Awaitable[None]]
"""Is given the last call of the stretch, `None` for the last stretch."""


class TooLongError(StoreError):
    """The store holds more calls than can be gone through in the time there is."""


def window(since: int | None, until: int | None) -> list[ColumnElement[bool]]:
    """Calls that began in [since, until), in terms of the index alone: call ids sort by time, and a call's start is
    that of its id, to the millisecond."""
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(traces.c.call >= ids.first_call(since + _ROUND_UP))
    if until is not None:
        conditions.append(traces.c.call < ids.first_call(until + _ROUND_UP))
    return conditions


async def edge(connection: AsyncConnection, scope: Scope, stretch: int, way: Literal["up", "down"]) -> str | None:
    """The last of the next `stretch` calls in a scope, one way; `None` if there are not that many more."""
    order = traces.c.call.desc() if way == "down" else traces.c.call.asc()
    calls = select(traces.c.call).where(*scope).order_by(order).limit(stretch).subquery()
    last = func.min(calls.c.call) if way == "down" else func.max(calls.c.call)
    found = (await connection.execute(select(last, func.count()).select_from(calls))).one()
    return None if found[1] < stretch else str(found[0])


async def tenant_after(connection: AsyncConnection, tenant: str, table: Table) -> str | None:
    """The next tenant that has rows: a step along the index, where DISTINCT would read all of it."""
    following = select(func.min(table.c.tenant)).where(table.c.tenant > tenant)
    found: str | None = (await connection.execute(following)).scalar_one()
    return found


async def walk(
    engine: AsyncEngine,
    tenant: str,
    conditions: list[ColumnElement[bool]],
    visit: Visit,
    *,
    way: Literal["up", "down"] = "up",
    stretch: int = STRETCH,
    deadline: float | None = None,
) -> None:
    """Visit a tenant's calls of a `window`, oldest first, or newest first on the way `down`.

    Raises `StoreError`; `TooLongError` where calls are left at the `deadline` (monotonic).
    """
    scope: Scope = (traces.c.tenant == tenant, *conditions)
    last: str | None = None
    while True:
        rest = scope
        if last is not None:
            rest = (*scope, traces.c.call > last if way == "up" else traces.c.call < last)
        async with transaction(engine, tenant) as connection:
            last = await edge(connection, rest, stretch, way)
            within = rest
            if last is not None:
                within = (*rest, traces.c.call <= last if way == "up" else traces.c.call >= last)
            await visit(connection, within, last)
        if last is None:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise TooLongError("there are more calls than can be gone through in time; ask for a shorter window")
