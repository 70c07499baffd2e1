"""A report's sums are those of the calls, in whatever stretches they are gathered."""

from __future__ import annotations

import asyncio
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import present
from gatehouse.store.rows import Batch, RefusedCount
from gatehouse.store.views import Report
from tests.store.samples import LANE, START, call_id, concluded, decided, opened, queried

BEGIN = datetime(2025, 11, 13, 2, 13, 20, tzinfo=UTC)


def _report(directory: Path, batch: Batch, since: datetime | None = None, until: datetime | None = None) -> Report:
    async def run() -> Report:
        async with opened(directory) as (writer, _), queried(directory) as queries:
            await writer.apply(batch)
            return await queries.report(since, until)

    return asyncio.run(run())


def _batch(*calls: tuple[dict[str, Any], dict[str, Any] | None]) -> Batch:
    names = [call_id(START + n * 1_000_000, n) for n in range(len(calls))]
    return Batch(
        tuple(decided(name, **ask) for name, (ask, _) in zip(names, calls, strict=True)),
        tuple(concluded(name, **end) for name, (_, end) in zip(names, calls, strict=True) if end is not None),
    )


def test_an_empty_store_has_an_empty_report(tmp_path: Path) -> None:
    report = _report(tmp_path, Batch())
    assert (report.calls, report.errors, report.cost_nano_usd, report.rows) == (0, 0, 0, [])
    assert report.p50_us is report.p95_us is report.avg_us is None


def test_what_counts_as_what(tmp_path: Path) -> None:
    none: dict[str, Any] = {f"tokens_{part}": None for part in present.TOKEN_PARTS} | {"cost": None}
    report = _report(
        tmp_path,
        _batch(
            ({}, {"duration_us": 100_000}),
            ({}, {"duration_us": 300_000, "usage_source": "estimated", "price": "unknown", "cost": None}),
            ({}, {"status": 500, "duration_us": 200_000, **none}),  # the provider's own error is `ok` and an error
            ({"provider": "anthropic", "model": "claude"}, {"provider": None, "outcome": "client_gone", **none}),
            ({"provider": "anthropic", "model": "claude"}, {"provider": None, "outcome": "cut", **none}),
            ({"provider": None, "model": None}, {"provider": None, "outcome": "refused", "status": 401, **none}),
            ({}, None),
        ),
    )
    assert report.calls == 7
    assert report.errors == 3
    assert report.outcomes == {"client_gone": 1, "cut": 1, "ok": 3, "open": 1, "refused": 1}
    assert (report.unknown_price, report.estimated, report.cost_nano_usd) == (1, 1, 12_345)
    assert (report.tokens.input_total, report.tokens.output_total) == (200, 100)
    assert [(row.provider, row.model, row.calls, row.errors) for row in report.rows] == [
        ("openai", "gpt-4o-mini", 4, 1),
        ("anthropic", "claude", 2, 1),
        (None, None, 1, 1),
    ]
    ours = report.rows[0]
    assert (ours.avg_us, ours.p95_us, ours.unknown_price, ours.cost_nano_usd) == (200_000, 300_000, 1, 12_345)


def test_counted_refusals_stand_beside_the_calls(tmp_path: Path) -> None:
    """F5: refused calls leave a trace, a flood of them at least its number."""

    def count(seq: int, tenant: str, at: int) -> RefusedCount:
        return RefusedCount(tenant, "default", LANE, seq, "UNAUTHORIZED", "no key", 10, at, at + 1_000_000)

    hour = 3_600_000_000
    batch = Batch(refused=(count(1, "default", START), count(2, "default", START + hour), count(3, "b", START)))
    assert _report(tmp_path, batch).refused_uncounted == 20
    assert _report(tmp_path, Batch(), since=BEGIN + timedelta(minutes=1)).refused_uncounted == 10
    assert _report(tmp_path, Batch(), until=BEGIN + timedelta(minutes=1)).refused_uncounted == 10


def test_a_report_is_of_its_time(tmp_path: Path) -> None:
    batch = _batch(*[({}, {})] * 10)
    report = _report(tmp_path, batch, BEGIN + timedelta(seconds=2), BEGIN + timedelta(seconds=5))
    assert report.calls == 3
    assert (report.since, report.until) == (BEGIN + timedelta(seconds=2), BEGIN + timedelta(seconds=5))


@settings(max_examples=15, deadline=None)
@given(durations=st.lists(st.integers(0, 10**13), min_size=1, max_size=40))
def test_percentiles_are_right_to_three_digits(durations: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        report = _report(Path(directory), _batch(*[({}, {"duration_us": each}) for each in durations]))
    ranked = sorted(durations)
    assert report.avg_us == sum(durations) // len(durations)
    for found, percent in ((report.p50_us, 50), (report.p95_us, 95), (report.rows[0].p95_us, 95)):
        true = ranked[math.ceil(len(ranked) * percent / 100) - 1]
        assert found is not None
        assert true * 0.99 <= found <= true
        assert true >= 1000 or found == true
