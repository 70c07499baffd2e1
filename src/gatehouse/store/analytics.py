"""Questions about many calls: what was used, spent, slow, wrong. An `Analytics` is made with what it may see (I6, A7).

Rules: a window is answered from days and hours that are summed up (`rollups`), and where there are none, or a question
asks for more than they tell apart, from calls. These are gone through in stretches (`stretches.walk`). Each part is
read in a short transaction, and what the database makes of it (`statements`) is added up here (`tally`). A question
that takes longer than `PATIENCE_SECONDS` is given up, not half answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import assembled, figures, ids, logs, present, rollups, tally, times
from gatehouse.store.engine import transaction
from gatehouse.store.offsets import Page
from gatehouse.store.queries import Queries, TraceFilter, conditions
from gatehouse.store.rollups import Segment
from gatehouse.store.schema import rollup_durations, traces
from gatehouse.store.schema import rollups as rollup_table
from gatehouse.store.sight import Sight
from gatehouse.store.statements import (
    CALLER,
    DIMENSIONS,
    GROUPS,
    KIND,
    TOKENS,
    Dimensions,
    Statement,
    began,
    bucket_of,
    summed,
    timed,
)
from gatehouse.store.stretches import STRETCH, Scope, TooLongError, Visit, walk, window
from gatehouse.store.tally import LATEST, Durations, Key, Sums, TooManyError, Values

PATIENCE_SECONDS: Final = 20.0
"""Below the 30 s of silence after which a worker gives up on the control plane."""
_USAGE: Final = ("calls", "metered", "estimated", "estimated_tokens", *TOKENS)
_COST: Final = ("calls", "cost", "priced", "free", "unknown_price")
_USE: Final = ("calls", "errors", "cost", "priced", "unknown_price", *TOKENS)

Row = TypeVar("Row", figures.UsageRow, figures.CostRow, figures.LatencyRow, figures.ErrorRow)
Kept = TypeVar("Kept", Sums, Durations)
Named = TypeVar("Named", figures.ModelRow, figures.KeyRow)


class _Part(NamedTuple):
    """A question: to calls, to roll-ups, and who adds up the answers of both."""

    calls: Statement
    add: Callable[[Any], None]
    rolled: rollups.Rows
    merge: Callable[[Any], None]
    table: Table


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls, told apart by what. Times are microseconds since the epoch."""

    since: int
    until: int
    filter: TraceFilter = TraceFilter()
    """Its own times are not looked at."""
    group_by: tuple[str, ...] = ()
    """Names of `GROUPS`."""
    bucket: str | None = None
    """`hour`, `day` or `week`."""
    limit: int = 1000
    """Items in the answer, at most."""

    def dimensions(self) -> Dimensions:
        """What to group by, the bucket first."""
        bucket = {} if self.bucket is None else {"bucket": began(traces.c.started, self.bucket)}
        return bucket | {name: GROUPS[name] for name in self.group_by}

    @property
    def tags(self) -> int | None:
        """Where in a key a call's tags stand, as text."""
        return 1 + self.group_by.index("tag") if "tag" in self.group_by else None

    def each(self, sums: Sums) -> Sums:
        """Sums whose calls count under each of their tags, where that was asked for."""
        return sums if self.tags is None else sums.by_each(self.tags)

    def whole(self) -> Asked:
        """The same without buckets."""
        return msgspec.structs.replace(self, bucket=None)

    def before(self) -> Asked:
        """The window of the same length before this one."""
        return msgspec.structs.replace(self, since=2 * self.since - self.until, until=self.since)


class Analytics:
    """What may be asked within a `Sight`. Every method raises `StoreError`, of which `TooLongError` and, for calls told
    apart by too much, `TooManyError`."""

    def __init__(
        self,
        engine: AsyncEngine,
        sight: Sight,
        *,
        stretch: int = STRETCH,
        patience: float = PATIENCE_SECONDS,
        most: int = tally.MOST_KEYS,
    ) -> None:
        """`stretch`: calls in one transaction at most; `patience`: seconds for one question; `most`: groups in one."""
        self._engine = engine
        self._sight = sight
        self._tenant = sight.tenant
        self._stretch = stretch
        self._patience = patience
        self._most = most
        self._queries = Queries(engine, sight)

    async def usage(self, asked: Asked) -> figures.UsageFigures:
        """Calls and tokens."""
        sums = await self._sums(asked, asked.dimensions(), _USAGE)
        rows = [assembled.usage(values, **_place(asked, key)) for key, values in asked.each(sums).items()]
        items, truncated = _top(rows, lambda row: row.calls, asked)
        total = assembled.usage(sums.total(), bucket=None, group={})
        return figures.UsageFigures(**_series(asked), total=total, items=items, truncated=truncated)

    async def cost(self, asked: Asked) -> figures.CostFigures:
        """What was spent, and what nobody knows the price of."""
        sums = await self._sums(asked, asked.dimensions(), _COST)
        rows = [assembled.cost(values, **_place(asked, key)) for key, values in asked.each(sums).items()]
        items, truncated = _top(rows, lambda row: -1 if row.cost_nano_usd is None else row.cost_nano_usd, asked)
        total = assembled.cost(sums.total(), bucket=None, group={})
        return figures.CostFigures(**_series(asked), total=total, items=items, truncated=truncated)

    async def latency(self, asked: Asked) -> figures.LatencyFigures:
        """How long calls took, and how long until their first token."""
        whole, first = (Durations(self._most, asked.tags) for _ in range(2))
        dimensions = asked.dimensions()
        parts = [
            _timed(dimensions, "duration_us", asked.bucket, whole),
            _timed(dimensions, "first_token_us", asked.bucket, first),
        ]
        await self._gather(asked, dimensions, parts, self._deadline(), settle=(whole, first))
        took, began = whole.items(), first.items()
        rows = [
            figures.LatencyRow(
                duration=took.get(key, tally.EMPTY), first_token=began.get(key, tally.EMPTY), **_place(asked, key)
            )
            for key in dict.fromkeys((*took, *began))
        ]
        items, truncated = _top(rows, lambda row: row.duration.calls, asked)
        total = figures.LatencyRow(duration=whole.total(), first_token=first.total(), bucket=None, group={})
        return figures.LatencyFigures(**_series(asked), total=total, items=items, truncated=truncated)

    async def errors(self, asked: Asked) -> figures.ErrorFigures:
        """How calls ended."""
        ends = {"outcome": traces.c.outcome, "code": traces.c.code, "class": traces.c.status // 100}
        sums = await self._sums(asked, asked.dimensions() | ends, ("calls", "errors"))
        grouped: dict[Key, list[tuple[Key, Values]]] = {}
        for key, values in asked.each(sums).items():
            grouped.setdefault(key[: -len(ends)], []).append((key[-len(ends) :], values))
        rows = [assembled.errors(ended, **_place(asked, key)) for key, ended in grouped.items()]
        items, truncated = _top(rows, lambda row: row.errors, asked)
        total = assembled.errors([(key[-len(ends) :], values) for key, values in sums.items()], bucket=None, group={})
        refused = await self._refused(asked)
        return figures.ErrorFigures(
            **_series(asked), total=total, items=items, truncated=truncated, refused_uncounted=refused
        )

    async def models(self, asked: Asked) -> figures.ModelFigures:
        """Every model asked, by provider."""
        dimensions = {name: DIMENSIONS[name] for name in ("provider", "model")}
        sums = await self._sums(asked.whole(), dimensions, (*_USE, LATEST))
        rows = [
            figures.ModelRow(provider=key[1], model=key[2], **assembled.use(values)) for key, values in sums.items()
        ]
        items, truncated = _most_used(rows, lambda row: (row.provider, row.model), asked)
        return figures.ModelFigures(**_window(asked), items=items, truncated=truncated)

    async def keys(self, asked: Asked) -> figures.KeyFigures:
        """Every key that calls were made with."""
        sums = await self._sums(asked.whole(), {"key": CALLER, "kind": KIND}, (*_USE, LATEST))
        rows = [figures.KeyRow(key=key[1], kind=key[2], **assembled.use(values)) for key, values in sums.items()]
        items, truncated = _most_used(rows, lambda row: (row.key, row.kind), asked)
        return figures.KeyFigures(**_window(asked), items=items, truncated=truncated)

    async def summary(self, asked: Asked) -> figures.Summary:
        """Head figures, and how they changed."""
        deadline = self._deadline()
        current = await self._head(asked, deadline)
        before = await self._head(asked.before(), deadline)
        return figures.Summary(
            **_window(asked),
            current=current,
            before=before,
            change=tally.change(current, before),
            refused_uncounted=await self._refused(asked),
        )

    async def sums_by_each(self, asked: Asked, names: tuple[str, ...]) -> dict[str, Sums]:
        """Calls told apart by each of `group_by` alone, without buckets. Those of too many values are left out."""

        def question(dimensions: Dimensions) -> tuple[Sums, _Part]:
            sums = Sums(names, self._most)
            return sums, _summed(dimensions, None, sums)

        return await self._by_each(asked, question, ends=True)

    async def durations_by_each(self, asked: Asked) -> dict[str, Durations]:
        """The same of how long calls took."""

        def question(dimensions: Dimensions) -> tuple[Durations, _Part]:
            durations = Durations(self._most)
            return durations, _timed(dimensions, "duration_us", None, durations)

        return await self._by_each(asked, question, ends=False)

    async def log(self, wanted: TraceFilter, limit: int, offset: int) -> logs.LogPage:
        """Calls, newest first, and how many there are."""
        page = Page(self._engine, self._sight, wanted, limit, offset)
        await page.find(self._stretch, self._deadline())
        items = [logs.item(present.summary(row)) for row in page.rows]
        return logs.LogPage(items=items, total=page.total, offset=offset, limit=limit)

    async def stats(self, period: str, since: int, until: int) -> logs.Stats:
        """The dashboard's numbers."""
        asked = Asked(since=since, until=until, group_by=("provider", "model"))
        sums = await self._sums(asked, asked.dimensions(), (*_USE, "ended", "waited"))
        return logs.stats(period, sums)

    async def _head(self, asked: Asked, deadline: float) -> figures.Head:
        sums, durations = Sums(_USE), Durations()
        parts = [_summed({}, None, sums), _timed({}, "duration_us", None, durations)]
        await self._gather(asked.whole(), {}, parts, deadline)
        return tally.head(sums.total(), durations.total())

    async def _refused(self, asked: Asked) -> int | None:
        if conditions(self._sight, asked.filter):
            return None
        return await self._queries.refused(asked.since, asked.until)

    async def _sums(self, asked: Asked, dimensions: Dimensions, names: tuple[str, ...]) -> Sums:
        sums = Sums(names, self._most)
        await self._gather(asked, dimensions, [_summed(dimensions, asked.bucket, sums)], self._deadline())
        return sums

    async def _by_each(
        self, asked: Asked, question: Callable[[Dimensions], tuple[Kept, _Part]], *, ends: bool
    ) -> dict[str, Kept]:
        """As few passes as there are cubes for. What is too much together is asked one by one."""
        deadline = self._deadline()
        left = rollups.together(asked.group_by, self._sight, asked.filter, ends=ends)
        found: dict[str, Kept] = {}
        while left:
            names = left.pop()
            dimensions = {name: DIMENSIONS[name] for name in names}
            kept, part = question(dimensions)
            try:
                await self._gather(asked.whole(), dimensions, [part], deadline)
            except TooManyError:
                left += [(name,) for name in names if len(names) > 1]
            else:
                found |= {name: kept.by(place) for place, name in enumerate(names, 1)}
        return {name: found[name] for name in asked.group_by if name in found}

    async def _gather(
        self,
        asked: Asked,
        dimensions: Dimensions,
        parts: Sequence[_Part],
        deadline: float,
        settle: tuple[Durations, ...] = (),
    ) -> None:
        """Put the questions to every part of the window. `settle`: who is told when buckets are over."""
        filters = conditions(self._sight, asked.filter)

        def told(reached: int | None) -> None:
            if reached is not None and asked.bucket is not None:
                for durations in settle:
                    durations.settle(bucket_of(reached, asked.bucket))

        async def visit(connection: AsyncConnection, scope: Scope, last: str | None) -> None:
            for part in parts:
                found = await connection.execute(part.calls((*scope, *filters)))
                part.add(found if asked.bucket is not None else ((None, *row) for row in found))
            told(None if last is None else ids.started(last))

        names = [name for name in dimensions if name != "bucket"]
        ends = all(part.table is rollup_table for part in parts)
        cube = rollups.cube_for(names, self._sight, asked.filter, ends=ends)
        for segment in await self._plan(asked, cube):
            if cube is None or segment.grain == "call" or not await self._rolled(asked, cube, segment, parts):
                await self._walk(window(segment.since, segment.until), visit, deadline)
            told(segment.until)
            if time.monotonic() > deadline:
                raise TooLongError("there is more than can be gone through in time; ask for a shorter window")

    async def _plan(self, asked: Asked, cube: str | None) -> list[Segment]:
        """What a window is answered from. Hours that are no longer kept are their days."""
        if cube is None:
            return [Segment("call", asked.since, asked.until)]
        order: tuple[rollups.Grain, ...] = ("hour", "day") if asked.bucket == "hour" else ("day", "hour")
        async with transaction(self._engine, self._tenant) as connection:
            return await rollups.plan(connection, self._tenant, cube, asked.since, asked.until, order)

    async def _rolled(self, asked: Asked, cube: str, segment: Segment, parts: Sequence[_Part]) -> bool:
        """Put the questions to hours or days; false if they are no longer summed up: a call has changed them."""
        async with transaction(self._engine, self._tenant) as connection:
            if not await rollups.holds(connection, self._tenant, cube, segment):
                return False
            for part in parts:
                scope = rollups.within(part.table, self._sight, cube, segment, asked.filter)
                found = await connection.execute(part.rolled(scope))
                part.merge(found if asked.bucket is not None else ((None, *row) for row in found))
        return True

    async def _walk(self, when: list[ColumnElement[bool]], visit: Visit, deadline: float) -> None:
        await walk(self._engine, self._tenant, when, visit, stretch=self._stretch, deadline=deadline)

    def _deadline(self) -> float:
        return time.monotonic() + self._patience


def _summed(dimensions: Dimensions, bucket: str | None, sums: Sums) -> _Part:
    rolled = rollups.summed(dimensions, sums.names, bucket)
    return _Part(summed(dimensions, sums.names), sums.add, rolled, sums.add, rollup_table)


def _timed(dimensions: Dimensions, column: str, bucket: str | None, durations: Durations) -> _Part:
    rolled = rollups.timed(dimensions, column, bucket)
    return _Part(timed(dimensions, traces.c[column]), durations.add, rolled, durations.merge, rollup_durations)


def _window(asked: Asked) -> dict[str, Any]:
    return {"since": times.rfc3339(asked.since), "until": times.rfc3339(asked.until)}


def _series(asked: Asked) -> dict[str, Any]:
    return {**_window(asked), "group_by": list(asked.group_by), "bucket": asked.bucket}


def _place(asked: Asked, key: Key) -> dict[str, Any]:
    bucket = None if key[0] is None else times.rfc3339(key[0])
    return {"bucket": bucket, "group": dict(zip(asked.group_by, key[1:], strict=True))}


def _top(rows: list[Row], rank: Callable[[Row], int], asked: Asked) -> tuple[list[Row], bool]:
    """In order of buckets, highest first within each; and whether there were more than asked for."""

    def place(row: Row) -> tuple[str, int, list[tuple[bool, str]]]:
        return row.bucket or "", -rank(row), [(value is None, value or "") for value in row.group.values()]

    return sorted(rows, key=place)[: asked.limit], len(rows) > asked.limit


def _most_used(
    rows: list[Named], name: Callable[[Named], tuple[str | None, ...]], asked: Asked
) -> tuple[list[Named], bool]:
    def place(row: Named) -> tuple[int, list[tuple[bool, str]]]:
        return -row.calls, [(value is None, value or "") for value in name(row)]

    return sorted(rows, key=place)[: asked.limit], len(rows) > asked.limit
