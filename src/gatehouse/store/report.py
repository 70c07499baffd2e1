"""The sums behind a report, gathered stretch by stretch: what is asked of the store, and how answers add up. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, select

from gatehouse.store.present import TOKEN_PARTS, tokens
from gatehouse.store.schema import traces
from gatehouse.store.views import Report, ReportRow

FAILED: Final = ("refused", "upstream_error", "cut", "blocked", "interrupted")
"""Outcomes that count as errors whatever the status. A caller that left is not an error."""

_DECADES: Final = tuple(10**power for power in range(3, 13))

Key = tuple[str | None, str | None]
"""Provider and model asked."""


def groups() -> Select[Any]:
    """Counts and sums by everything a report tells apart. The caller adds the scope."""
    by = (
        traces.c.provider,
        traces.c.model,
        traces.c.outcome,
        case((traces.c.status >= 400, 1), else_=0).label("failed"),
        traces.c.price,
        traces.c.usage_source,
    )
    parts = [func.coalesce(func.sum(traces.c[f"tokens_{name}"]), 0).label(f"t_{name}") for name in TOKEN_PARTS]
    return select(
        *by,
        func.count().label("calls"),
        func.coalesce(func.sum(traces.c.cost), 0).label("cost"),
        func.count(traces.c.duration_us).label("timed"),
        func.coalesce(func.sum(traces.c.duration_us), 0).label("waited"),
        *parts,
    ).group_by(*by)


def latencies() -> Select[Any]:
    """Calls by provider, model and duration to three significant digits. The caller adds the scope."""
    duration = _rounded(traces.c.duration_us).label("duration")
    by = (traces.c.provider, traces.c.model, duration)
    return select(*by, func.count().label("calls")).where(traces.c.duration_us.is_not(None)).group_by(*by)


class _Row:
    def __init__(self) -> None:
        self.calls = self.errors = self.cost = self.unknown_price = self.timed = self.waited = 0
        self.tokens: Counter[str] = Counter(dict.fromkeys(TOKEN_PARTS, 0))


class Sums:
    """Adds up what `groups` and `latencies` answered, in any number of pieces."""

    def __init__(self) -> None:
        self._rows: defaultdict[Key, _Row] = defaultdict(_Row)
        self._outcomes: Counter[str] = Counter()
        self._estimated = 0
        self._latencies: defaultdict[Key, Counter[int]] = defaultdict(Counter)

    def add(self, found: Iterable[Any]) -> None:
        """Rows of `groups`."""
        for each in found:
            row = self._rows[each.provider, each.model]
            row.calls += each.calls
            row.cost += each.cost
            row.timed += each.timed
            row.waited += each.waited
            if each.failed or each.outcome in FAILED:
                row.errors += each.calls
            if each.price == "unknown":
                row.unknown_price += each.calls
            for name in TOKEN_PARTS:
                row.tokens[name] += getattr(each, f"t_{name}")
            self._outcomes[each.outcome] += each.calls
            if each.usage_source == "estimated":
                self._estimated += each.calls

    def add_latencies(self, found: Iterable[Any]) -> None:
        """Rows of `latencies`."""
        for each in found:
            self._latencies[each.provider, each.model][each.duration] += each.calls

    def report(self, since: datetime | None, until: datetime | None, refused: int) -> Report:
        """The whole. `refused`: refusals that were counted instead of listed."""
        all_rows = self._rows.values()
        everything: Counter[int] = Counter()
        for each in self._latencies.values():
            everything.update(each)
        parts = {name: sum(row.tokens[name] for row in all_rows) for name in TOKEN_PARTS}
        timed = sum(row.timed for row in all_rows)
        rows = sorted(self._rows, key=lambda key: (-self._rows[key].calls, key[0] or "", key[1] or ""))
        return Report(
            since=since,
            until=until,
            calls=sum(row.calls for row in all_rows),
            errors=sum(row.errors for row in all_rows),
            outcomes=dict(sorted(self._outcomes.items())),
            tokens=tokens(parts),
            cost_nano_usd=sum(row.cost for row in all_rows),
            unknown_price=sum(row.unknown_price for row in all_rows),
            estimated=self._estimated,
            refused_uncounted=refused,
            avg_us=sum(row.waited for row in all_rows) // timed if timed else None,
            p50_us=_percentile(everything, 50),
            p95_us=_percentile(everything, 95),
            rows=[self._row(key) for key in rows],
        )

    def _row(self, key: Key) -> ReportRow:
        row = self._rows[key]
        counted = tokens(dict(row.tokens))
        return ReportRow(
            provider=key[0],
            model=key[1],
            calls=row.calls,
            errors=row.errors,
            input_tokens=counted.input_total,
            output_tokens=counted.output_total,
            cost_nano_usd=row.cost,
            unknown_price=row.unknown_price,
            avg_us=row.waited // row.timed if row.timed else None,
            p95_us=_percentile(self._latencies[key], 95),
        )


def _rounded(value: ColumnElement[int]) -> ColumnElement[int]:
    """Down to three significant digits: keeps the number of groups small, however many calls there are."""
    steps = [(value < limit, value - value % (limit // 1000)) for limit in _DECADES]
    return case(*steps, else_=value - value % (_DECADES[-1] // 100))


def _percentile(counts: Counter[int], percent: int) -> int | None:
    """The smallest duration that at least `percent` of the calls do not exceed."""
    needed = -(-counts.total() * percent // 100)
    seen = 0
    for duration in sorted(counts):
        seen += counts[duration]
        if seen >= needed:
            return duration
    return None
