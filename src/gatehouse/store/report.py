"""The sums behind a report, gathered stretch by stretch: what is asked of the store, and how answers add up. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, case, func, select

from gatehouse.store.durations import average, percentiles, rounded
from gatehouse.store.present import TOKEN_PARTS, tokens
from gatehouse.store.schema import traces
from gatehouse.store.views import Report, ReportRow

FAILED: Final = ("refused", "upstream_error", "cut", "blocked", "interrupted")
"""Outcomes that count as errors whatever the status. A caller that left is not an error."""

Key = tuple[str | None, str | None]
"""Provider and model asked."""


def groups() -> Select[Any]:
    """Counts and sums by everything a report tells apart, durations to three digits. The caller adds the scope."""
    by = (
        traces.c.provider,
        traces.c.model,
        traces.c.outcome,
        case((traces.c.status >= 400, 1), else_=0).label("failed"),
        traces.c.price,
        traces.c.usage_source,
        rounded(traces.c.duration_us).label("duration"),
    )
    parts = [func.coalesce(func.sum(traces.c[f"tokens_{name}"]), 0).label(f"t_{name}") for name in TOKEN_PARTS]
    return select(
        *by,
        func.count().label("calls"),
        func.coalesce(func.sum(traces.c.cost), 0).label("cost"),
        func.coalesce(func.sum(traces.c.duration_us), 0).label("waited"),
        *parts,
    ).group_by(*by)


class _Row:
    def __init__(self) -> None:
        self.calls = self.errors = self.cost = self.unknown_price = self.waited = 0
        self.tokens: Counter[str] = Counter(dict.fromkeys(TOKEN_PARTS, 0))
        self.durations: Counter[int] = Counter()


class Sums:
    """Adds up what `groups` answered, in any number of pieces."""

    def __init__(self) -> None:
        self._rows: defaultdict[Key, _Row] = defaultdict(_Row)
        self._outcomes: Counter[str] = Counter()
        self._estimated = 0

    def add(self, found: Iterable[Any]) -> None:
        """Rows of `groups`."""
        for each in found:
            row = self._rows[each.provider, each.model]
            row.calls += each.calls
            row.cost += each.cost
            row.waited += each.waited
            if each.duration is not None:
                row.durations[each.duration] += each.calls
            if each.failed or each.outcome in FAILED:
                row.errors += each.calls
            if each.price == "unknown":
                row.unknown_price += each.calls
            for name in TOKEN_PARTS:
                row.tokens[name] += getattr(each, f"t_{name}")
            self._outcomes[each.outcome] += each.calls
            if each.usage_source == "estimated":
                self._estimated += each.calls

    def report(self, since: datetime | None, until: datetime | None, refused: int) -> Report:
        """The whole. `refused`: refusals that were counted instead of listed."""
        all_rows = self._rows.values()
        durations: Counter[int] = Counter()
        for row in all_rows:
            durations.update(row.durations)
        parts = {name: sum(row.tokens[name] for row in all_rows) for name in TOKEN_PARTS}
        p50, p95 = percentiles(durations, 50, 95)
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
            avg_us=average(sum(row.waited for row in all_rows), durations),
            p50_us=p50,
            p95_us=p95,
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
            avg_us=average(row.waited, row.durations),
            p95_us=percentiles(row.durations, 95)[0],
        )
