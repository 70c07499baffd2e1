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
from gatehouse.store.stretches import STRETCH, Scope, edge, walk, window
from gatehouse.store.views import Body, Report, Trace, TracePage

_FIRST_STRETCH: Final = 2_000
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
    caller: str | None = None
    """Id of the gateway key, or the hash of the provider key where the caller brought that alone."""
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
        filters = conditions(wanted)
        looks_through = bool(filters)
        if wanted.trace is not None:
            # An index names its calls: nothing has to be looked through.
            filters.append(traces.c.call.in_(self._calls_of(wanted.trace)))
            looks_through = False
        found: list[Any] = []
        stretch, deadline = _FIRST_STRETCH, time.monotonic() + _LOOKING_SECONDS
        while True:
            scope: Scope = (traces.c.tenant == self._tenant, *window(wanted.since, wanted.until))
            if below is not None:
                scope = (*scope, traces.c.call < below)
            async with transaction(self._engine) as connection:
                floor = await edge(connection, scope, stretch, "down") if looks_through else None
                within = scope if floor is None else (*scope, traces.c.call >= floor)
                statement = select(*_COLUMNS).where(*within, *filters).order_by(traces.c.call.desc())
                found += await connection.execute(statement.limit(limit + 1 - len(found)))
            if len(found) > limit:
                return _page(found[:limit], found[limit - 1].call)
            if floor is None:
                return _page(found, None)
            below, stretch = floor, min(4 * stretch, STRETCH)
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

        async def visit(connection: AsyncConnection, scope: Scope, _last: str | None) -> None:
            sums.add((await connection.execute(report.groups().where(*scope))).all())

        await walk(self._engine, self._tenant, window(start, end), visit)
        return sums.report(since, until, await self.refused(start, end))

    async def refused(self, start: int | None, end: int | None) -> int:
        """Refusals in [start, end) that were counted instead of listed."""
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


def conditions(wanted: TraceFilter) -> list[ColumnElement[bool]]:
    """What the index does not know: all but times and the trace id."""
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
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if wanted.model is not None:
        found.append(or_(t.model == wanted.model, t.model_answered == wanted.model))
    if wanted.caller is not None:
        found.append(or_(t.key_id == wanted.caller, and_(t.key_id.is_(None), t.provider_key_hash == wanted.caller)))
    if wanted.min_latency_us is not None:
        found.append(t.duration_us >= wanted.min_latency_us)
    for column, values in ((t.status, wanted.status), (t.outcome, wanted.outcome), (t.code, wanted.code)):
        if values:
            found.append(column.in_(values))
    return found


def _of_trace(name: str) -> ColumnElement[bool]:
    return and_(traces.c.trace_sent == true(), traces.c.trace_id == name)
