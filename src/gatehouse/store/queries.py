"""How the store is read. A `Queries` is made with what it may see: there is no query without its tenant (I6, A7).

Rules: bound parameters only; short transactions, since an open reader lets SQLite's log grow. Calls are read newest
first along (tenant, call). A filter has no index of its own: it looks at a bounded stretch of calls at a time, and a
page ends early, with a cursor, where too much had to be looked at. No OFFSET.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, CompoundSelect, and_, case, func, literal, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import ids, present
from gatehouse.store.engine import StoreError, transaction
from gatehouse.store.rows import TRACE_COLUMNS, SpanRow
from gatehouse.store.schema import bodies, refusals, spans, traces
from gatehouse.store.sight import Sight
from gatehouse.store.stretches import STRETCH, Scope, edge, window
from gatehouse.store.views import Body, Trace, TracePage, TraceSummary

_FIRST_STRETCH: Final = 2_000
_LOOKING_SECONDS: Final = 1.0
COLUMNS: Final = tuple(traces.c[name] for name in TRACE_COLUMNS)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


class TraceFilter(msgspec.Struct, frozen=True):
    """Which calls. What is `None` or empty does not filter; of several values any may match."""

    since: int | None = None
    """Calls that began at or after this time, microseconds since the epoch."""
    until: int | None = None
    """Calls that began before this time."""
    project: str | None = None
    team: str | None = None
    environment: str | None = None
    """Of the project, as both were when the call was made."""
    service: str | None = None
    """The application that called, as its identity token said."""
    provider: str | None = None
    model: str | None = None
    """Model asked or model answered."""
    operation: str | None = None
    route: str | None = None
    key: str | None = None
    caller: str | None = None
    """Id of the gateway key, or the hash of the provider key where the caller brought that alone."""
    keys: tuple[str, ...] = ()
    """Ids of gateway keys: any of them."""
    user: str | None = None
    trace: str | None = None
    """W3C trace id."""
    loop: str | None = None
    """Any call of an agent loop."""
    group: str | None = None
    thread: str | None = None
    run: str | None = None
    parent: str | None = None
    """As the caller said, or the call that is gone on from."""
    tag: tuple[str, ...] = ()
    job: str | None = None
    stream: bool | None = None
    min_latency_us: int | None = None
    status: tuple[int, ...] = ()
    outcome: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


class Queries:
    """Everything that may be read within a `Sight`. Every method raises `StoreError`."""

    def __init__(self, engine: AsyncEngine, sight: Sight) -> None:
        self._engine = engine
        self._sight = sight
        self._tenant = sight.tenant

    async def page(self, wanted: TraceFilter, limit: int, cursor: str | None = None) -> TracePage:
        """Calls, newest first. Raises `present.CursorError`."""
        below = None if cursor is None else present.call_at(cursor)
        filters, named = conditions(self._sight, wanted), await self._named(wanted)
        # Where an index names the calls, nothing has to be looked through.
        by_index = bool(named) or any(
            [value is not None for value in (wanted.group, wanted.thread, wanted.run, wanted.job)]
        )
        looks_through = bool(filters) and not by_index
        filters += named
        found: list[Any] = []
        stretch, deadline = _FIRST_STRETCH, time.monotonic() + _LOOKING_SECONDS
        while True:
            scope: Scope = (traces.c.tenant == self._tenant, *window(wanted.since, wanted.until))
            if below is not None:
                scope = (*scope, traces.c.call < below)
            async with transaction(self._engine, self._tenant) as connection:
                floor = await edge(connection, scope, stretch, "down") if looks_through else None
                within = scope if floor is None else (*scope, traces.c.call >= floor)
                statement = select(*COLUMNS).where(*within, *filters).order_by(traces.c.call.desc())
                found += await connection.execute(statement.limit(limit + 1 - len(found)))
            if len(found) > limit:
                return _page(found[:limit], found[limit - 1].call)
            if floor is None:
                return _page(found, None)
            below, stretch = floor, min(4 * stretch, STRETCH)
            if time.monotonic() > deadline:
                return _page(found, below)

    async def among(self, calls: Sequence[str], wanted: TraceFilter) -> list[TraceSummary]:
        """Those of these calls that are wanted, in no order. Its times are not looked at."""
        these = (traces.c.tenant == self._tenant, traces.c.call.in_(calls))
        filters = [*conditions(self._sight, wanted), *await self._named(wanted)]
        async with transaction(self._engine, self._tenant) as connection:
            rows = await connection.execute(select(*COLUMNS).where(*these, *filters))
            return [present.summary(row) for row in rows]

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
        its: Scope = (bodies.c.tenant == self._tenant, bodies.c.call == call, bodies.c.side == side)
        if self._sight.narrowed:
            its = (*its, bodies.c.call.in_(select(traces.c.call).where(*self._mine(), traces.c.call == call)))
        async with transaction(self._engine, self._tenant) as connection:
            statement = select(bodies).where(*its)
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

    async def refused(self, start: int | None, end: int | None) -> int | None:
        """Refusals in [start, end) that were counted instead of listed; `None` where not all calls may be seen: nobody
        knows whose they were."""
        if self._sight.narrowed:
            return None
        statement = select(func.coalesce(func.sum(refusals.c.count), 0)).where(refusals.c.tenant == self._tenant)
        if start is not None:
            statement = statement.where(refusals.c.until >= start)
        if end is not None:
            statement = statement.where(refusals.c.since < end)
        async with transaction(self._engine, self._tenant) as connection:
            return int((await connection.execute(statement)).scalar_one())

    def _mine(self) -> Scope:
        """The calls that may be seen."""
        return (traces.c.tenant == self._tenant, *self._sight.own(traces))

    async def _named(self, wanted: TraceFilter) -> list[ColumnElement[bool]]:
        """What names the calls that are wanted one by one: trace id and loop."""
        found: list[ColumnElement[bool]] = []
        if wanted.trace is not None:
            found.append(traces.c.call.in_(self._calls_of(wanted.trace)))
        if wanted.loop is not None:
            found.append(traces.c.call.in_(self._steps_of(await self._loop_of(wanted.loop))))
        return found

    def _calls_of(self, trace: str) -> CompoundSelect[tuple[str]]:
        """The calls with a W3C trace id: those whose caller sent it, and the one whose own it is."""
        sent = select(traces.c.call).where(*self._mine(), _of_trace(trace))
        return union_all(sent, select(literal(ids.call_of(trace))))

    def _steps_of(self, loop: str) -> CompoundSelect[tuple[str]]:
        """The calls of an agent loop, by its first one."""
        later = select(traces.c.call).where(*self._mine(), traces.c.loop == loop)
        return union_all(later, select(literal(loop)))

    async def _loop_of(self, call: str) -> str:
        """The loop a call belongs to."""
        async with transaction(self._engine, self._tenant) as connection:
            statement = select(traces.c.loop).where(*self._mine(), traces.c.call == call)
            found: str | None = (await connection.execute(statement)).scalar_one_or_none()
            return found or call

    async def _one(self, *conditions: ColumnElement[bool]) -> Trace | None:
        async with transaction(self._engine, self._tenant) as connection:
            statement = select(*COLUMNS).where(*self._mine(), *conditions).order_by(traces.c.call.desc()).limit(1)
            row = (await connection.execute(statement)).first()
            if row is None:
                return None
            its = select(*(spans.c[name] for name in SpanRow.__struct_fields__)).where(
                spans.c.tenant == self._tenant, spans.c.call == row.call
            )
            found = (await connection.execute(its.order_by(spans.c.position))).all()
            of_loop = (*self._mine(), traces.c.loop == (row.loop or row.call))
            earlier = func.sum(case((traces.c.call <= row.call, 1), else_=0))
            step, steps = (await connection.execute(select(earlier, func.count()).where(*of_loop))).one()
        # The first call of a loop does not name itself.
        return present.trace(row, [present.span(each) for each in found], int(step or 0) + 1, steps + 1)


def _page(rows: list[Any], below: str | None) -> TracePage:
    return TracePage([present.summary(row) for row in rows], None if below is None else present.cursor(below))


def conditions(sight: Sight, wanted: TraceFilter) -> list[ColumnElement[bool]]:
    """What the index does not know of what may be seen and is wanted: all but tenant, times, trace id and loop."""
    t = traces.c
    equal = {
        t.project: wanted.project,
        t.team: wanted.team,
        t.environment: wanted.environment,
        t.service: wanted.service,
        t.provider: wanted.provider,
        t.operation: wanted.operation,
        t.route: wanted.route,
        t.key_id: wanted.key,
        t.user_id: wanted.user,
        t.stream: wanted.stream,
        t.group_id: wanted.group,
        t.thread_id: wanted.thread,
        t.run_id: wanted.run,
        t.job: wanted.job,
    }
    found = sight.own(traces)
    found += [column == value for column, value in equal.items() if value is not None]
    if wanted.model is not None:
        found.append(or_(t.model == wanted.model, t.model_answered == wanted.model))
    if wanted.caller is not None:
        found.append(or_(t.key_id == wanted.caller, and_(t.key_id.is_(None), t.provider_key_hash == wanted.caller)))
    if wanted.keys:
        found.append(t.key_id.in_(wanted.keys))
    if wanted.parent is not None:
        found.append(or_(t.parent_id == wanted.parent, t.parent_call == wanted.parent))
    for tag in wanted.tag:
        # The tag as it stands in a JSON list. Not LIKE, which is case-insensitive on SQLite.
        found.append(func.replace(t.tags, msgspec.json.encode(tag).decode(), "") != t.tags)
    if wanted.min_latency_us is not None:
        found.append(t.duration_us >= wanted.min_latency_us)
    for column, values in ((t.status, wanted.status), (t.outcome, wanted.outcome), (t.code, wanted.code)):
        if values:
            found.append(column.in_(values))
    return found


def _of_trace(name: str) -> ColumnElement[bool]:
    return and_(traces.c.trace_sent == true(), traces.c.trace_id == name)
