"""Questions about many calls: what was used, spent, slow, wrong. An `Analytics` belongs to one tenant (I6).

Rules: calls are gone through in stretches (`stretches.walk`), each in a short transaction, and what the database makes
of each (`statements`) is added up here (`tally`); a question that takes longer than `PATIENCE_SECONDS` is given up, not
half answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.store import figures, ids, logs, present, tally, times
from gatehouse.store.queries import Queries, TraceFilter, conditions
from gatehouse.store.rows import TRACE_COLUMNS
from gatehouse.store.schema import traces
from gatehouse.store.statements import (
    BUCKETS,
    CALLER,
    DIMENSIONS,
    KIND,
    TOKENS,
    Dimensions,
    Statement,
    bucket_of,
    summed,
    timed,
)
from gatehouse.store.stretches import STRETCH, Scope, Visit, walk, window
from gatehouse.store.tally import LATEST, Durations, Key, Sums, Values

PATIENCE_SECONDS: Final = 20.0
"""Below the 30 s of silence after which a worker gives up on the control plane."""
_USAGE: Final = ("calls", "metered", "estimated", "estimated_tokens", *TOKENS)
_COST: Final = ("calls", "cost", "priced", "free", "unknown_price")
_USE: Final = ("calls", "errors", "cost", "priced", "unknown_price", *TOKENS)

Row = TypeVar("Row", figures.UsageRow, figures.CostRow, figures.LatencyRow, figures.ErrorRow)
Named = TypeVar("Named", figures.ModelRow, figures.KeyRow)
_Part = tuple[Statement, Callable[[Any], None]]
"""A question to every stretch, and who adds the answers up."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls, told apart by what. Times are microseconds since the epoch."""

    since: int
    until: int
    filter: TraceFilter = TraceFilter()
    """Its own times are not looked at."""
    group_by: tuple[str, ...] = ()
    """Names of `DIMENSIONS`."""
    bucket: str | None = None
    """Name of `BUCKETS`."""
    limit: int = 1000
    """Items in the answer, at most."""

    def dimensions(self) -> Dimensions:
        """What to group by, the bucket first."""
        bucket = {} if self.bucket is None else {"bucket": BUCKETS[self.bucket]}
        return bucket | {name: DIMENSIONS[name] for name in self.group_by}

    def whole(self) -> Asked:
        """The same without buckets."""
        return msgspec.structs.replace(self, bucket=None)

    def before(self) -> Asked:
        """The window of the same length before this one."""
        return msgspec.structs.replace(self, since=2 * self.since - self.until, until=self.since)


class Analytics:
    """What one tenant may ask. Every method raises `StoreError`, of which `TooLongError` and, for calls told apart by
    too much, `TooManyError`."""

    def __init__(
        self, engine: AsyncEngine, tenant: str, *, stretch: int = STRETCH, patience: float = PATIENCE_SECONDS
    ) -> None:
        """`stretch`: calls in one transaction at most; `patience`: seconds for one question."""
        self._engine = engine
        self._tenant = tenant
        self._stretch = stretch
        self._patience = patience
        self._queries = Queries(engine, tenant)

    async def usage(self, asked: Asked) -> figures.UsageFigures:
        """Calls and tokens."""
        sums = await self._sums(asked, asked.dimensions(), _USAGE)
        rows = [_usage(values, **_place(asked, key)) for key, values in sums.items()]
        items, truncated = _top(rows, lambda row: row.calls, asked)
        total = _usage(sums.total(), bucket=None, group={})
        return figures.UsageFigures(**_series(asked), total=total, items=items, truncated=truncated)

    async def cost(self, asked: Asked) -> figures.CostFigures:
        """What was spent, and what nobody knows the price of."""
        sums = await self._sums(asked, asked.dimensions(), _COST)
        rows = [_cost(values, **_place(asked, key)) for key, values in sums.items()]
        items, truncated = _top(rows, lambda row: -1 if row.cost_nano_usd is None else row.cost_nano_usd, asked)
        total = _cost(sums.total(), bucket=None, group={})
        return figures.CostFigures(**_series(asked), total=total, items=items, truncated=truncated)

    async def latency(self, asked: Asked) -> figures.LatencyFigures:
        """How long calls took, and how long until their first token."""
        whole, first = Durations(), Durations()
        dimensions = asked.dimensions()
        parts = [
            (timed(dimensions, traces.c.duration_us), whole.add),
            (timed(dimensions, traces.c.first_token_us), first.add),
        ]
        await self._gather(asked, parts, self._deadline(), settle=(whole, first))
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
        for key, values in sums.items():
            grouped.setdefault(key[: -len(ends)], []).append((key[-len(ends) :], values))
        rows = [_errors(ended, **_place(asked, key)) for key, ended in grouped.items()]
        items, truncated = _top(rows, lambda row: row.errors, asked)
        total = _errors([(key[-len(ends) :], values) for key, values in sums.items()], bucket=None, group={})
        refused = await self._refused(asked)
        return figures.ErrorFigures(
            **_series(asked), total=total, items=items, truncated=truncated, refused_uncounted=refused
        )

    async def models(self, asked: Asked) -> figures.ModelFigures:
        """Every model asked, by provider."""
        dimensions = {name: DIMENSIONS[name] for name in ("provider", "model")}
        sums = await self._sums(asked.whole(), dimensions, (*_USE, LATEST))
        rows = [figures.ModelRow(provider=key[1], model=key[2], **_use(values)) for key, values in sums.items()]
        items, truncated = _most_used(rows, lambda row: (row.provider or "", row.model or ""), asked)
        return figures.ModelFigures(**_window(asked), items=items, truncated=truncated)

    async def keys(self, asked: Asked) -> figures.KeyFigures:
        """Every key that calls were made with."""
        sums = await self._sums(asked.whole(), {"key": CALLER, "kind": KIND}, (*_USE, LATEST))
        rows = [figures.KeyRow(key=key[1], kind=key[2], **_use(values)) for key, values in sums.items()]
        items, truncated = _most_used(rows, lambda row: (row.key or "", row.kind), asked)
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

    async def log(self, wanted: TraceFilter, limit: int, offset: int) -> logs.LogPage:
        """Calls, newest first, and how many there are (T8)."""
        found: list[Any] = []
        total = 0
        filters = conditions(wanted)

        async def visit(connection: AsyncConnection, scope: Scope, _last: str | None) -> None:
            nonlocal total
            within = (*scope, *filters)
            here = (await connection.execute(select(func.count()).select_from(traces).where(*within))).scalar_one()
            skip = max(0, offset - total)
            if len(found) < limit and here > skip:
                statement = select(*(traces.c[name] for name in TRACE_COLUMNS)).where(*within)
                statement = statement.order_by(traces.c.call.desc()).limit(limit - len(found)).offset(skip)
                found.extend(await connection.execute(statement))
            total += here

        when = window(wanted.since, wanted.until)
        await self._walk(when, visit, self._deadline(), "down")
        items = [logs.item(present.summary(row)) for row in found]
        return logs.LogPage(items=items, total=total, offset=offset, limit=limit)

    async def stats(self, period: str, since: int, until: int) -> logs.Stats:
        """The dashboard's numbers (T9)."""
        asked = Asked(since=since, until=until, group_by=("provider", "model"))
        sums = await self._sums(asked, asked.dimensions(), (*_USE, "ended", "waited"))
        return logs.stats(period, sums)

    async def _head(self, asked: Asked, deadline: float) -> figures.Head:
        sums, durations = Sums(_USE), Durations()
        parts = [(summed({}, _USE), sums.add), (timed({}, traces.c.duration_us), durations.add)]
        await self._gather(asked.whole(), parts, deadline)
        return tally.head(sums.total(), durations.total())

    async def _refused(self, asked: Asked) -> int | None:
        if conditions(asked.filter):
            return None
        return await self._queries.refused(asked.since, asked.until)

    async def _sums(self, asked: Asked, dimensions: Dimensions, names: tuple[str, ...]) -> Sums:
        sums = Sums(names)
        await self._gather(asked, [(summed(dimensions, names), sums.add)], self._deadline())
        return sums

    async def _gather(
        self, asked: Asked, parts: Sequence[_Part], deadline: float, settle: tuple[Durations, ...] = ()
    ) -> None:
        """Put the questions to every stretch. `settle`: who is told when buckets are over."""
        filters = conditions(asked.filter)

        async def visit(connection: AsyncConnection, scope: Scope, last: str | None) -> None:
            for statement, add in parts:
                found = (await connection.execute(statement((*scope, *filters)))).all()
                add(found if asked.bucket is not None else [(None, *row) for row in found])
            reached = None if last is None or asked.bucket is None else ids.started(last)
            if reached is not None:
                for durations in settle:
                    durations.settle(bucket_of(reached, asked.bucket))

        await self._walk(window(asked.since, asked.until), visit, deadline)

    async def _walk(
        self, when: list[ColumnElement[bool]], visit: Visit, deadline: float, way: Literal["up", "down"] = "up"
    ) -> None:
        await walk(self._engine, self._tenant, when, visit, way=way, stretch=self._stretch, deadline=deadline)

    def _deadline(self) -> float:
        return time.monotonic() + self._patience


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


def _most_used(rows: list[Named], name: Callable[[Named], tuple[str, ...]], asked: Asked) -> tuple[list[Named], bool]:
    return sorted(rows, key=lambda row: (-row.calls, name(row)))[: asked.limit], len(rows) > asked.limit


def _usage(values: Values, *, bucket: str | None, group: figures.Group) -> figures.UsageRow:
    counted = tally.token_counts(values)
    return figures.UsageRow(
        bucket=bucket,
        group=group,
        calls=values["calls"],
        metered=values["metered"],
        estimated=values["estimated"],
        estimated_tokens=values["estimated_tokens"],
        estimated_share=tally.rate(values["estimated_tokens"], counted.input_total + counted.output_total),
        tokens=counted,
    )


def _cost(values: Values, *, bucket: str | None, group: figures.Group) -> figures.CostRow:
    counts = {name: values[name] for name in ("calls", "priced", "free", "unknown_price")}
    return figures.CostRow(bucket=bucket, group=group, cost_nano_usd=tally.cost(values), **counts)


def _errors(ended: list[tuple[Key, Values]], *, bucket: str | None, group: figures.Group) -> figures.ErrorRow:
    """From (outcome, code, status class) and their sums."""
    calls, errors = (sum(values[name] for _, values in ended) for name in ("calls", "errors"))
    shares: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
    for (outcome, code, status), values in ended:
        for share, name in zip(shares, (outcome, code, f"{status}xx" if status else "none"), strict=True):
            if name is not None:
                share[name] = share.get(name, 0) + values["calls"]
    outcomes, codes, statuses = (
        {name: figures.Share(share[name], share[name] / calls) for name in sorted(share)} for share in shares
    )
    return figures.ErrorRow(
        bucket=bucket,
        group=group,
        calls=calls,
        errors=errors,
        error_rate=tally.rate(errors, calls),
        outcomes=outcomes,
        codes=codes,
        statuses=statuses,
    )


def _use(values: Values) -> dict[str, Any]:
    return {
        "calls": values["calls"],
        "errors": values["errors"],
        "error_rate": tally.rate(values["errors"], values["calls"]),
        "tokens": tally.token_counts(values),
        "cost_nano_usd": tally.cost(values),
        "unknown_price": values["unknown_price"],
        "last_used": times.rfc3339(values[LATEST]),
    }
