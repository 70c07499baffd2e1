"""How the store is read. A `Queries` belongs to one tenant from its construction: there is no query without one (I6).

Rules: bound parameters only; short transactions, since an open reader lets SQLite's log grow. Calls are read newest
first along (tenant, call). A filter has no index of its own: it looks at a bounded stretch of calls at a time, and a
page ends early, with a cursor, where too much had to be looked at. No OFFSET.
"""

from __future__ import annotations

import re
import time
import zlib
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, func, literal, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import ids, present, report, times
from gatehouse.store.engine import StoreError, transaction
from gatehouse.store.rows import TRACE_COLUMNS, SpanRow
from gatehouse.store.schema import bodies, refusals, spans, traces
from gatehouse.store.views import Body, Report, Trace, TracePage

_FIRST_STRETCH: Final = 2_000
_STRETCH: Final = 50_000
"""Calls looked at in one transaction at most."""
_LOOKING_SECONDS: Final = 1.0
_COLUMNS: Final = tuple(traces.c[name] for name in TRACE_COLUMNS)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


class TraceFilter(msgspec.Struct, frozen=True):
    """Which calls. What is `None` or empty does not filter; of several values any may match."""

    since: int | None = None
    """Calls that began at or after this time, microseconds since the epoch."""
    until: int | None = None
    """Calls that began before this time."""
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    """Model asked or model answered."""
    operation: str | None = None
    route: str | None = None
    key: str | None = None
    user: str | None = None
    trace: str | None = None
    """W3C trace id."""
    stream: bool | None = None
    min_latency_us: int | None = None
    status: tuple[int, ...] = ()
    outcome: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


class Queries:
    """Everything one tenant may read. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    async def page(self, wanted: TraceFilter, limit: int, cursor: str | None = None) -> TracePage:
        """Calls, newest first. Raises `present.CursorError`."""
        below = None if cursor is None else present.call_at(cursor)
        conditions = _conditions(wanted)
        looks_through = bool(conditions)
        if wanted.trace is not None:
            # An index names its calls: nothing has to be looked through.
            conditions.append(traces.c.call.in_(self._calls_of(wanted.trace)))
            looks_through = False
        found: list[Any] = []
        stretch, deadline = _FIRST_STRETCH, time.monotonic() + _LOOKING_SECONDS
        while True:
            window = _window(wanted.since, wanted.until, below)
            async with transaction(self._engine) as connection:
                floor = await self._edge(connection, window, stretch, "down") if looks_through else None
                within = window if floor is None else [*window, traces.c.call >= floor]
                statement = self._traces().where(*within, *conditions).order_by(traces.c.call.desc())
                found += await connection.execute(statement.limit(limit + 1 - len(found)))
            if len(found) > limit:
                return _page(found[:limit], found[limit - 1].call)
            if floor is None:
                return _page(found, None)
            below, stretch = floor, min(4 * stretch, _STRETCH)
            if time.monotonic() > deadline:
                return _page(found, below)

    async def trace(self, name: str) -> Trace | None:
        """The call with this id, or the newest one with this W3C trace id; with its spans."""
        name = name.lower()
        if _TRACE_ID.fullmatch(name) is None:
            return await self._one(traces.c.call == name)
        own = await self._one(traces.c.call == ids.call_of(name))
        return own or await self._one(_of_trace(name))

    async def last(self) -> Trace | None:
        """The newest call."""
        return await self._one()

    async def body(self, call: str, side: Literal["request", "response"]) -> Body | None:
        """A captured body as far as it is collected; `None` if nothing of it is there."""
        async with transaction(self._engine) as connection:
            statement = select(bodies).where(
                bodies.c.tenant == self._tenant, bodies.c.call == call, bodies.c.side == side
            )
            parts = (await connection.execute(statement.order_by(bodies.c.part))).all()
        if not parts or [row.part for row in parts] != list(range(len(parts))):
            return None
        unpack = zlib.decompressobj()
        try:
            data = b"".join([unpack.decompress(row.data) for row in parts])
        except zlib.error as error:
            raise StoreError(f"the captured {side} of call {call} cannot be unpacked: {error}") from error
        last = parts[-1]
        return Body(
            data=data,
            content_type=last.content_type,
            content_encoding=last.content_encoding,
            size=last.size,
            truncated=last.truncated or not last.last,
        )

    async def report(self, since: datetime | None, until: datetime | None) -> Report:
        """Sums over the calls that began in [since, until)."""
        start, end = (None if moment is None else times.of(moment) for moment in (since, until))
        sums = report.Sums()
        above: str | None = None
        while True:
            window = _window(start, end, None)
            if above is not None:
                window.append(traces.c.call > above)
            async with transaction(self._engine) as connection:
                edge = await self._edge(connection, window, _STRETCH, "up")
                within = window if edge is None else [*window, traces.c.call <= edge]
                scope = (traces.c.tenant == self._tenant, *within)
                sums.add((await connection.execute(report.groups().where(*scope))).all())
            if edge is None:
                return sums.report(since, until, await self._refused(start, end))
            above = edge

    async def _refused(self, start: int | None, end: int | None) -> int:
        statement = select(func.coalesce(func.sum(refusals.c.count), 0)).where(refusals.c.tenant == self._tenant)
        if start is not None:
            statement = statement.where(refusals.c.until >= start)
        if end is not None:
            statement = statement.where(refusals.c.since < end)
        async with transaction(self._engine) as connection:
            return int((await connection.execute(statement)).scalar_one())

    def _traces(self) -> Select[Any]:
        return select(*_COLUMNS).where(traces.c.tenant == self._tenant)

    def _calls_of(self, trace: str) -> CompoundSelect[tuple[str]]:
        """The calls with a W3C trace id: those whose caller sent it, and the one whose own it is."""
        sent = select(traces.c.call).where(traces.c.tenant == self._tenant, _of_trace(trace))
        return union_all(sent, select(literal(ids.call_of(trace))))

    async def _edge(
        self, connection: AsyncConnection, window: list[ColumnElement[bool]], stretch: int, way: Literal["up", "down"]
    ) -> str | None:
        """The last of the next `stretch` calls in a window, one way; `None` if there are not that many more."""
        order = traces.c.call.desc() if way == "down" else traces.c.call.asc()
        calls = (
            select(traces.c.call).where(traces.c.tenant == self._tenant, *window).order_by(order).limit(stretch)
        ).subquery()
        edge = func.min(calls.c.call) if way == "down" else func.max(calls.c.call)
        found = (await connection.execute(select(edge, func.count()).select_from(calls))).one()
        return None if found[1] < stretch else str(found[0])

    async def _one(self, *conditions: ColumnElement[bool]) -> Trace | None:
        async with transaction(self._engine) as connection:
            statement = self._traces().where(*conditions).order_by(traces.c.call.desc()).limit(1)
            row = (await connection.execute(statement)).first()
            if row is None:
                return None
            its = select(*(spans.c[name] for name in SpanRow.__struct_fields__)).where(
                spans.c.tenant == self._tenant, spans.c.call == row.call
            )
            found = (await connection.execute(its.order_by(spans.c.position))).all()
        return present.trace(row, [present.span(each) for each in found])


def _page(rows: list[Any], below: str | None) -> TracePage:
    return TracePage([present.summary(row) for row in rows], None if below is None else present.cursor(below))


def _window(since: int | None, until: int | None, below: str | None) -> list[ColumnElement[bool]]:
    """A stretch of time, in terms of the index as well: call ids sort by time, to the millisecond."""
    window: list[ColumnElement[bool]] = []
    if since is not None:
        window += [traces.c.call >= ids.first_call(since), traces.c.started >= since]
    if until is not None:
        window += [traces.c.call < ids.first_call(until + 999), traces.c.started < until]
    if below is not None:
        window.append(traces.c.call < below)
    return window


def _conditions(wanted: TraceFilter) -> list[ColumnElement[bool]]:
    """What the index does not know."""
    t = traces.c
    equal = {
        t.project: wanted.project,
        t.provider: wanted.provider,
        t.operation: wanted.operation,
        t.route: wanted.route,
        t.key_id: wanted.key,
        t.user_id: wanted.user,
        t.stream: wanted.stream,
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if wanted.model is not None:
        conditions.append(or_(t.model == wanted.model, t.model_answered == wanted.model))
    if wanted.min_latency_us is not None:
        conditions.append(t.duration_us >= wanted.min_latency_us)
    for column, values in ((t.status, wanted.status), (t.outcome, wanted.outcome), (t.code, wanted.code)):
        if values:
            conditions.append(column.in_(values))
    return conditions


def _of_trace(name: str) -> ColumnElement[bool]:
    return and_(traces.c.trace_sent == true(), traces.c.trace_id == name)
