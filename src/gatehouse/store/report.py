"""The report of `gatehouse report`, put together from figures over many calls. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gatehouse.store.figures import CostFigures, ErrorFigures, Group, LatencyFigures, UsageFigures
from gatehouse.store.views import Report, ReportRow

FAILED: Final = ("refused", "upstream_error", "cut", "blocked", "interrupted")
"""Outcomes that count as errors whatever the status. A caller that left is not an error."""

BY: Final = ("provider", "model")
"""What calls are told apart by, unless something else is asked for."""

Figures = tuple[UsageFigures, CostFigures, LatencyFigures, ErrorFigures]


def put_together(since: datetime | None, until: datetime | None, by: Sequence[str], figures: Figures) -> Report:
    """The report of calls told apart `by` the names of some dimensions."""
    usage, cost, latency, errors = figures
    took = latency.total.duration
    return Report(
        since=since,
        until=until,
        calls=usage.total.calls,
        errors=errors.total.errors,
        outcomes={name: share.calls for name, share in errors.total.outcomes.items()},
        tokens=usage.total.tokens,
        cost_nano_usd=cost.total.cost_nano_usd or 0,
        unknown_price=cost.total.unknown_price,
        estimated=usage.total.estimated,
        refused_uncounted=errors.refused_uncounted or 0,
        avg_us=took.avg_us,
        p50_us=took.p50_us,
        p95_us=took.p95_us,
        rows=_rows(by, figures),
    )


def _rows(by: Sequence[str], figures: Figures) -> list[ReportRow]:
    def place(group: Group) -> tuple[str | None, ...]:
        return tuple(group[name] for name in by)

    usage, cost, latency, errors = figures
    costs = {place(row.group): row for row in cost.items}
    took = {place(row.group): row.duration for row in latency.items}
    failed = {place(row.group): row.errors for row in errors.items}
    rows = []
    for row in sorted(usage.items, key=lambda row: (-row.calls, [value or "" for value in place(row.group)])):
        here = place(row.group)
        spent, durations = costs.get(here), took.get(here)
        rows.append(
            ReportRow(
                group=row.group,
                calls=row.calls,
                errors=failed.get(here, 0),
                input_tokens=row.tokens.input_total,
                output_tokens=row.tokens.output_total,
                cost_nano_usd=0 if spent is None else spent.cost_nano_usd or 0,
                unknown_price=0 if spent is None else spent.unknown_price,
                avg_us=None if durations is None else durations.avg_us,
                p95_us=None if durations is None else durations.p95_us,
            )
        )
    return rows
