"""How roll-ups are made: hours from calls, days from hours. Used by the collector alone, between its batches.

Rules
- An hour is summed up `SETTLE` after it ended, by the same statements that answer questions, and so is what those would
  say. It is done in slices; all its rows and its marks in `rolled` are written in one transaction.
- A call that changes an hour again takes its mark and its day's mark away in the transaction that writes the call
  (`unroll`): until the hour is summed up anew, questions look at its calls. So no call is missed or counted twice,
  whatever stops in between.
- An hour some of whose calls are deleted already is never touched again: its sums are all there is.
- The cube that tells most apart is left out where an hour has too many groups (`cubes`): questions that need it look at
  the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Insert, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.polite import PoliteRows, politely
from gatehouse.store import ids, rollups, statements
from gatehouse.store.cubes import GROUP, MOST, Cube, Key
from gatehouse.store.durations import rounded, unpack
from gatehouse.store.engine import StoreError, StoreRowError, transaction
from gatehouse.store.rollups import CUBES, ENDS, LARGEST, LENGTHS, MAIN, SUMS, Grain, Segment
from gatehouse.store.rows import Concluded, Decided
from gatehouse.store.schema import rolled, rollup_durations, traces
from gatehouse.store.schema import rollups as rollup_table
from gatehouse.store.stretches import Scope, edge, tenant_after, window
from gatehouse.store.times import DAY, HOUR, SECOND

SETTLE: Final = 300 * SECOND
"""From the end of an hour until it is summed up, and from a change until it is again: calls that began in it end."""
STRETCH: Final = 2_000
"""Calls summed up at once."""

_REST: Final = 10 * SECOND
_TOLD: Final[dict[str, ColumnElement[Any]]] = {
    **{name: traces.c[name] for name in ("project", "provider", "model", "model_answered", "route", "user_id")},
    **{name: traces.c[name] for name in ("team", "environment", "service")},
    "caller": statements.CALLER,
    "kind": statements.KIND,
    "size": statements.SIZE,
    "outcome": traces.c.outcome,
    "code": traces.c.code,
    "status_class": traces.c.status // 100,
}
_TABLES: Final = (rolled, rollup_table, rollup_durations)
_ALL_HOURS: Final = Segment("hour", 0, 2**62)
_WIDTH: Final = len(GROUP) + len(ENDS)
_ENDED: Final = SUMS.index("ended")
_WAITED: Final = SUMS.index("waited")
_FINEST: Final = statements.summed(
    {name: _TOLD[name] for name in (*GROUP, *ENDS)}
    | {"took": rounded(traces.c.duration_us), "first": rounded(traces.c.first_token_us)},
    (*SUMS, "began", "began_waited"),
)
"""Calls, by everything that cubes tell apart."""

Place = tuple[str, Grain, int]
"""Tenant, grain and beginning of what is summed up."""


class _Job:
    """An hour or a day that is being summed up."""

    def __init__(self, place: Place, most: int, cubes: Iterable[str] = CUBES, hours: Iterable[int] = ()) -> None:
        """`most`: groups of a cube; `hours`: those of a day that are there."""
        self.place = place
        self._cubes = {name: Cube(name, most) for name in cubes}
        self._last: str | None = None
        """The last call that was looked at."""
        self._hours = list(hours)
        every = range(place[2], place[2] + LENGTHS[place[1]], HOUR)
        self._empty = [hour for hour in every if place[1] == "day" and hour not in self._hours]

    async def advance(self, connection: AsyncConnection, stretch: int) -> bool:
        """One slice; true if it was the last."""
        tenant, grain, start = self.place
        if grain == "day":
            if self._hours:
                await self._hour(connection, self._hours.pop())
            return not self._hours
        scope: Scope = (traces.c.tenant == tenant, *window(start, start + HOUR))
        if self._last is not None:
            scope = (*scope, traces.c.call > self._last)
        self._last = await edge(connection, scope, stretch, "up")
        if self._last is not None:
            scope = (*scope, traces.c.call <= self._last)
        await self._calls(connection, scope)
        return self._last is None

    async def write(self, connection: AsyncConnection) -> None:
        """All of it, in place of what was there."""
        tenant, grain, start = self.place
        for table in _TABLES:
            await connection.execute(Delete(table).where(*_of(table, tenant, CUBES, grain, start)))
        kept = [cube for cube in self._cubes.values() if cube.name != LARGEST or not cube.full]
        rows = [cube.rows(*self.place) for cube in kept]
        await _write(connection, rollup_table, [row for summed, _ in rows for row in summed])
        await _write(connection, rollup_durations, [row for _, timed in rows for row in timed])
        marks: list[Key] = [(tenant, cube.name, grain, start, cube.calls) for cube in kept]
        # So that a window goes through the day without looking for calls in between.
        marks += [(tenant, cube.name, "hour", hour, 0) for cube in kept for hour in self._empty]
        await _write(connection, rolled, marks)

    async def _calls(self, connection: AsyncConnection, scope: Scope) -> None:
        statement = _FINEST(scope)
        # In an order of their own: from the same calls come the same rows.
        ordered = statement.order_by(*list(statement.selected_columns)[: _WIDTH + 2])
        for row in politely(await connection.execute(ordered)):
            group, ends, took, first = row[: len(GROUP)], row[len(GROUP) : _WIDTH], row[_WIDTH], row[_WIDTH + 1]
            # PostgreSQL's sums of 64-bit integers are decimals.
            *values, began, began_waited = [int(value or 0) for value in row[_WIDTH + 2 :]]
            took = {} if took is None else {took: values[0]}
            first = {} if first is None else {first: values[0]}
            totals = values[_ENDED], values[_WAITED], began, began_waited
            for cube in self._cubes.values():
                cube.add(group, ends, values)
                if took or first:
                    cube.time(group, took, first, totals)

    async def _hour(self, connection: AsyncConnection, hour: int) -> None:
        tenant, width = self.place[0], 1 + len(GROUP)
        c, where = rollup_table.c, _of(rollup_table, tenant, self._cubes, "hour", hour)
        statement = select(*(c[name] for name in ("cube", *GROUP, *ENDS, *SUMS))).where(*where)
        statement = statement.order_by(c.cube, c.position)
        for row in politely(await connection.execute(statement)):
            self._cubes[row[0]].add(row[1:width], row[width : 1 + _WIDTH], list(row[1 + _WIDTH :]))
        c, where = rollup_durations.c, _of(rollup_durations, tenant, self._cubes, "hour", hour)
        names = [name for kept in rollups.TIMES.values() for name in kept]
        statement = select(*(c[name] for name in ("cube", *GROUP, *names))).where(*where)
        statement = statement.order_by(c.cube, c.position)
        for row in politely(await connection.execute(statement)):
            ended, waited, took, began, began_waited, first = row[width:]
            totals = ended, waited, began, began_waited
            self._cubes[row[0]].time(row[1:width], unpack(took), unpack(first), totals)


class Roller:
    """Sums up over a writer's engine. The tables must be there (`version.ensure`)."""

    def __init__(self, engine: AsyncEngine, *, stretch: int = STRETCH, most: int = MOST) -> None:
        """`stretch`: calls at once; `most`: groups of a cube."""
        self._engine = engine
        self._most = most
        self._stretch = stretch
        self._job: _Job | None = None
        self._hours: dict[str, int] = {}
        """Per tenant: every hour before that has calls is summed up, or stands in `_again`."""
        self._days: dict[str, int] = {}
        """The same for days, which wait for their hours."""
        self._again: dict[Place, int] = {}
        """What is to be summed up anew, and from when on."""
        self._newest: dict[str, str] | None = None
        """Per tenant: what no call sorts before whose hour is not summed up yet. Not known at first."""
        self._rest_until = 0

    async def unroll(self, connection: AsyncConnection, changed: Iterable[Decided | Concluded], now: int) -> None:
        """Calls are written in this transaction: if the hours they began in are summed up, they are no longer."""
        if self._newest is None:
            self._newest = await _newest(connection)
        # Call ids sort by time, and nearly every call is newer than what is summed up: this is all it costs.
        late = [row for row in changed if row.call < self._newest.get(row.tenant, "")]
        began = {(row.tenant, ids.started(row.call)) for row in late}
        for tenant, hour in {(tenant, time - time % HOUR) for tenant, time in began if time is not None}:
            if not await _kept(connection, tenant, hour):
                continue
            self._again.setdefault((tenant, "hour", hour), now + SETTLE)
            day = hour - hour % DAY
            self._days[tenant] = min(self._days.get(tenant, 0), day)
            places: tuple[Place, Place] = (tenant, "hour", hour), (tenant, "day", day)
            for _, grain, start in places:
                await connection.execute(Delete(rolled).where(*_of(rolled, tenant, CUBES, grain, start)))
            if self._job is not None and self._job.place in places:
                self._job = None

    async def step(self, now: int) -> bool:
        """Sum up a little; true if there may be more at once. Raises `StoreError`: what was being summed up is so again
        later."""
        if self._job is None:
            if now < self._rest_until:
                return False
            async with transaction(self._engine) as connection:
                self._job = await self._next(connection, now)
            if self._job is None:
                self._rest_until = now + _REST
            return self._job is not None
        job, self._job = self._job, None
        try:
            async with transaction(self._engine) as connection:
                done = await job.advance(connection, self._stretch)
                if done:
                    await job.write(connection)
        except StoreError as error:
            self._put_off(job.place, now, forever=isinstance(error, StoreRowError))
            raise
        if done:
            self._again.pop(job.place, None)
        else:
            self._job = job
        return True

    async def forget(self, grain: Grain, before: int) -> bool:
        """Delete the oldest hour, or day, if it began before `before`; true if there may be more. Raises `StoreError`.

        An hour goes with the other hours of its day: what is left of a day is never taken for all of it.
        """
        before -= before % DAY
        async with transaction(self._engine) as connection:
            for table in _TABLES:
                tenant = await tenant_after(connection, "", table)
                while tenant is not None:
                    for cube in CUBES:
                        kept = Segment(grain, 0, before)
                        oldest = select(func.min(table.c.start)).where(*rollups.at(table, tenant, cube, kept))
                        start = (await connection.execute(oldest)).scalar_one()
                        if start is not None:
                            length = DAY if table is rolled else LENGTHS[grain]
                            gone = Segment(grain, start, start - start % length + length)
                            await connection.execute(Delete(table).where(*rollups.at(table, tenant, cube, gone)))
                            return True
                    tenant = await tenant_after(connection, tenant, table)
        return False

    def _put_off(self, place: Place, now: int, *, forever: bool) -> None:
        """What could not be summed up is tried again, unless it never can be: then its calls go on answering."""
        tenant, grain, start = place
        if grain == "hour":
            self._again[place] = 2**62 if forever else now
        elif not forever:
            self._days[tenant] = min(self._days.get(tenant, 0), start)

    async def _next(self, connection: AsyncConnection, now: int) -> _Job | None:
        """What to sum up next."""
        if self._newest is None:
            self._newest = await _newest(connection)
        for place, due in self._again.items():
            if due <= now:
                return _Job(place, self._most)
        limit = now - SETTLE
        tenant = await tenant_after(connection, "", traces)
        while tenant is not None:
            hour = await self._hour(connection, tenant, limit)
            if hour is not None:
                self._hours[tenant] = hour + HOUR
                self._newest[tenant] = max(self._newest.get(tenant, ""), ids.first_call(hour + HOUR))
                return _Job((tenant, "hour", hour), self._most)
            day = await self._day(connection, tenant, limit)
            if day is not None:
                self._days[tenant] = day + DAY
                # Its empty hours will be marked, too.
                self._newest[tenant] = max(self._newest.get(tenant, ""), ids.first_call(day + DAY))
                return _Job((tenant, "day", day), self._most, *await _hours(connection, tenant, day))
            tenant = await tenant_after(connection, tenant, traces)
        return None

    async def _hour(self, connection: AsyncConnection, tenant: str, limit: int) -> int | None:
        """The next hour that has calls, is over and not summed up."""
        hour = self._hours.get(tenant, 0)
        known: set[int] | None = None
        while True:
            first = select(func.min(traces.c.call)).where(traces.c.tenant == tenant, *window(hour, None))
            call = (await connection.execute(first)).scalar_one()
            began = None if call is None else ids.started(call)
            if began is None or began - began % HOUR + HOUR > limit:
                return None
            hour = began - began % HOUR
            if known is None:
                statement = select(rolled.c.start).where(
                    *rollups.at(rolled, tenant, MAIN, Segment("hour", hour, limit))
                )
                known = set((await connection.execute(statement)).scalars())
            if hour not in known:
                return hour
            while hour in known:
                hour += HOUR
            self._hours[tenant] = hour

    async def _day(self, connection: AsyncConnection, tenant: str, limit: int) -> int | None:
        """The next day that is over, all of whose hours are summed up, and which is not itself."""
        day = self._days.get(tenant, 0)
        while True:
            hours = Segment("hour", day, limit)
            first = select(func.min(rolled.c.start)).where(*rollups.at(rolled, tenant, MAIN, hours))
            start: int | None = (await connection.execute(first)).scalar_one()
            if start is None:
                return None
            day = start - start % DAY
            if day + DAY > limit or any((tenant, "hour", day + hour) in self._again for hour in range(0, DAY, HOUR)):
                return None
            if not await rollups.holds(connection, tenant, MAIN, Segment("day", day, day + DAY)):
                return day
            day += DAY
            self._days[tenant] = day


async def _kept(connection: AsyncConnection, tenant: str, hour: int) -> bool:
    """Whether all calls of an hour are still there. Calls are deleted oldest first."""
    older = select(traces.c.id).where(traces.c.tenant == tenant, *window(None, hour)).limit(1)
    if (await connection.execute(older)).first() is not None:
        return True
    counted = select(rolled.c.calls).where(*rollups.at(rolled, tenant, MAIN, Segment("hour", hour, hour + 1)))
    there = select(func.count()).where(traces.c.tenant == tenant, *window(hour, hour + HOUR))
    calls: int | None = (await connection.execute(counted)).scalar_one_or_none()
    return calls is None or (await connection.execute(there)).scalar_one() >= calls


async def _newest(connection: AsyncConnection) -> dict[str, str]:
    """Per tenant: what no call sorts before whose hour is not summed up yet."""
    found = {}
    tenant = await tenant_after(connection, "", rolled)
    while tenant is not None:
        newest = select(func.max(rolled.c.start)).where(*rollups.at(rolled, tenant, MAIN, _ALL_HOURS))
        start = (await connection.execute(newest)).scalar_one()
        if start is not None:
            found[tenant] = ids.first_call(start + HOUR)
        tenant = await tenant_after(connection, tenant, rolled)
    return found


async def _hours(connection: AsyncConnection, tenant: str, day: int) -> tuple[list[str], list[int]]:
    """The cubes that all hours of a day have which are summed up, and these hours."""
    found: dict[str, set[int]] = {}
    for cube in CUBES:
        hours = rollups.at(rolled, tenant, cube, Segment("hour", day, day + DAY))
        found[cube] = set((await connection.execute(select(rolled.c.start).where(*hours))).scalars())
    return [cube for cube, hours in found.items() if hours == found[MAIN]], sorted(found[MAIN])


def _of(table: Table, tenant: str, cubes: Iterable[str], grain: Grain, start: int) -> Scope:
    c = table.c
    return c.tenant == tenant, c.cube.in_(tuple(cubes)), c.grain == grain, c.start == start


async def _write(connection: AsyncConnection, table: Table, rows: Sequence[Key]) -> None:
    """Rows in the order of the table's columns."""
    if rows:
        statement = Insert(table).compile(dialect=connection.dialect, for_executemany=True)
        await connection.exec_driver_sql(str(statement), PoliteRows(politely(rows)))
