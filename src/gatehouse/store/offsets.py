"""Calls by offset, newest first, and how many there are in all.

Rules: what is only counted is counted in days and hours that are summed up, where there are such and they can tell what
the filter asks for; only the hours in which the page lies are read call by call. Calls that are no longer kept are not
counted: nobody could turn to their page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import ids, rollups
from gatehouse.store.engine import transaction
from gatehouse.store.queries import COLUMNS, TraceFilter, conditions
from gatehouse.store.rollups import LENGTHS, Segment
from gatehouse.store.schema import rollups as rollup_table
from gatehouse.store.schema import traces
from gatehouse.store.sight import Sight
from gatehouse.store.stretches import Scope, walk, window

_MILLISECOND: Final = 1000
_END: Final = 2**62


class Page:
    """One page, as it is looked for."""

    def __init__(self, engine: AsyncEngine, sight: Sight, wanted: TraceFilter, limit: int, offset: int) -> None:
        self.rows: list[Any] = []
        """Of `traces`, `limit` at most."""
        self.total = 0
        """Calls counted so far; in the end, all of them."""
        self._engine = engine
        self._sight = sight
        self._tenant = sight.tenant
        self._wanted = wanted
        self._limit = limit
        self._offset = offset

    async def find(self, stretch: int, deadline: float) -> None:
        """Fill the page. Raises `StoreError`, of which `TooLongError` at the `deadline` (monotonic)."""
        wanted = self._wanted
        cube = rollups.cube_for((), self._sight, wanted, ends=True)
        if cube is None:
            await self._calls(wanted.since, wanted.until, stretch, deadline)
            return
        async with transaction(self._engine, self._tenant) as connection:
            within = (traces.c.tenant == self._tenant, *window(wanted.since, wanted.until))
            ends = select(func.min(traces.c.call)).where(*within), select(func.max(traces.c.call)).where(*within)
            oldest, newest = [(await connection.execute(end)).scalar_one() for end in ends]
            if oldest is None:
                return
            first, last = ids.started(oldest), ids.started(newest)
            since = max(wanted.since or 0, first or 0)
            until = min(wanted.until or _END, _END if last is None else last + _MILLISECOND)
            segments = await rollups.plan(connection, self._tenant, cube, since, until, ("day", "hour"))
        await self._descend(cube, segments, stretch, deadline)

    async def _descend(self, cube: str, segments: Sequence[Segment], stretch: int, deadline: float) -> None:
        for segment in reversed(segments):
            counted = None if segment.grain == "call" else await self._counts(cube, segment)
            if counted is None:
                await self._calls(segment.since, segment.until, stretch, deadline)
                continue
            length = LENGTHS["day" if segment.grain == "day" else "hour"]
            for start, calls in counted:
                if len(self.rows) == self._limit or self._offset >= self.total + calls:
                    self.total += calls
                elif segment.grain == "day":
                    await self._descend(cube, await self._hours(cube, start, start + length), stretch, deadline)
                else:
                    async with transaction(self._engine, self._tenant) as connection:
                        await self._take(connection, self._scope(start, start + length))
                    self.total += calls

    async def _counts(self, cube: str, segment: Segment) -> list[tuple[int, int]] | None:
        """Beginning and calls of each hour or day, newest first; `None` if they are no longer summed up."""
        async with transaction(self._engine, self._tenant) as connection:
            if not await rollups.holds(connection, self._tenant, cube, segment):
                return None
            start = rollup_table.c.start
            scope = rollups.within(rollup_table, self._sight, cube, segment, self._wanted)
            statement = select(start, func.sum(rollup_table.c.calls)).where(*scope).group_by(start)
            # PostgreSQL's sums of 64-bit integers are decimals.
            found = await connection.execute(statement.order_by(start.desc()))
            return [(start, int(calls)) for start, calls in found]

    async def _hours(self, cube: str, since: int, until: int) -> list[Segment]:
        async with transaction(self._engine, self._tenant) as connection:
            return await rollups.plan(connection, self._tenant, cube, since, until, ("hour",))

    async def _calls(self, since: int | None, until: int | None, stretch: int, deadline: float) -> None:
        """Count calls one by one, and take those of the page."""
        filters = conditions(self._sight, self._wanted)

        async def visit(connection: AsyncConnection, scope: Scope, _last: str | None) -> None:
            within = (*scope, *filters)
            count = select(func.count()).select_from(traces).where(*within)
            calls: int = (await connection.execute(count)).scalar_one()
            if calls > max(0, self._offset - self.total):
                await self._take(connection, within)
            self.total += calls

        when = window(since, until)
        await walk(self._engine, self._tenant, when, visit, way="down", stretch=stretch, deadline=deadline)

    async def _take(self, connection: AsyncConnection, within: Scope) -> None:
        left = self._limit - len(self.rows)
        if left:
            statement = select(*COLUMNS).where(*within).order_by(traces.c.call.desc()).limit(left)
            self.rows += await connection.execute(statement.offset(max(0, self._offset - self.total)))

    def _scope(self, since: int, until: int) -> Scope:
        return traces.c.tenant == self._tenant, *window(since, until), *conditions(self._sight, self._wanted)
