"""A report's sums are those of the calls, in whatever stretches they are gathered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import present, reading
from gatehouse.store.report import BY
from gatehouse.store.rows import Batch, RefusedCount
from gatehouse.store.views import Report
from tests.store import databases
from tests.store.samples import LANE, START, call_id, concluded, decided, opened

BEGIN = datetime(2025, 11, 13, 2, 13, 20, tzinfo=UTC)


def _report(
    directory: Path,
    batch: Batch,
    since: datetime | None = None,
    until: datetime | None = None,
    by: Sequence[str] = BY,
) -> Report:
    async def run() -> Report:
        async with opened(directory) as (writer, _), reading.open(directory, databases.address(directory)) as reader:
            await writer.apply(batch)
            return await reader.report(since, until, by)

    return asyncio.run(run())


def _batch(*calls: tuple[dict[str, Any], dict[str, Any] | None]) -> Batch:
    names = [call_id(START + n * 1_000_000, n) for n in range(len(calls))]
    return Batch(
        tuple(decided(name, **ask) for name, (ask, _) in zip(names, calls, strict=True)),
        tuple(concluded(name, **end) for name, (_, end) in zip(names, calls, strict=True) if end is not None),
    )


def test_an_empty_store_has_an_empty_report(place: Path) -> None:
    report = _report(place, Batch())
    assert (report.calls, report.errors, report.cost_nano_usd, report.rows) == (0, 0, 0, [])
    assert report.p50_us is report.p95_us is report.avg_us is None


def test_what_counts_as_what(place: Path) -> None:
    none: dict[str, Any] = {f"tokens_{part}": None for part in present.TOKEN_PARTS} | {"cost": None}
    report = _report(
        place,
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
    assert [(*row.group.values(), row.calls, row.errors) for row in report.rows] == [
        ("openai", "gpt-4o-mini", 4, 1),
        ("anthropic", "claude", 2, 1),
        (None, None, 1, 1),
    ]
    ours = report.rows[0]
    assert (ours.avg_us, ours.p95_us, ours.unknown_price, ours.cost_nano_usd) == (200_000, 300_000, 1, 12_345)


def test_told_apart_by_anything(place: Path) -> None:
    batch = _batch(
        ({"key_id": "k1", "route": "openai/chat"}, {}),
        ({"key_id": "k1", "route": "openai/embeddings"}, {"tokens_input": 5_000}),
        ({"key_id": None, "user_id": "u1"}, {"cost": None, "price": "unknown"}),
        ({"key_id": "k1", "route": "openai/chat", "user_id": "u1"}, None),
    )
    report = _report(place, batch, by=("key", "route"))
    assert [(row.group, row.calls, row.cost_nano_usd, row.unknown_price) for row in report.rows] == [
        ({"key": "k1", "route": "openai/chat"}, 2, 12_345, 0),
        ({"key": "a" * 32, "route": "openai/chat"}, 1, 0, 1),
        ({"key": "k1", "route": "openai/embeddings"}, 1, 12_345, 0),
    ]
    found = _report(place, Batch(), by=("user",)).rows
    assert [(row.group["user"], row.calls, row.avg_us) for row in found] == [(None, 2, 123_456), ("u1", 2, 123_456)]
    assert {row.group["size"] for row in _report(place, Batch(), by=("size",)).rows} == {"0-1k", "4k-16k", None}


def test_counted_refusals_stand_beside_the_calls(place: Path) -> None:
    """F5: refused calls leave a trace, a flood of them at least its number."""

    def count(seq: int, tenant: str, at: int) -> RefusedCount:
        return RefusedCount(tenant, "default", LANE, seq, "UNAUTHORIZED", "no key", 10, at, at + 1_000_000)

    hour = 3_600_000_000
    batch = Batch(refused=(count(1, "default", START), count(2, "default", START + hour), count(3, "b", START)))
    assert _report(place, batch).refused_uncounted == 20
    assert _report(place, Batch(), since=BEGIN + timedelta(minutes=1)).refused_uncounted == 10
    assert _report(place, Batch(), until=BEGIN + timedelta(minutes=1)).refused_uncounted == 10


def test_a_report_is_of_its_time(place: Path) -> None:
    batch = _batch(*[({}, {})] * 10)
    report = _report(place, batch, BEGIN + timedelta(seconds=2), BEGIN + timedelta(seconds=5))
    assert report.calls == 3
    assert (report.since, report.until) == (BEGIN + timedelta(seconds=2), BEGIN + timedelta(seconds=5))


@settings(max_examples=15)
@given(durations=st.lists(st.integers(0, 10**13), min_size=1, max_size=40))
def test_percentiles_are_right_to_their_steps(new_place: Callable[[], Path], durations: list[int]) -> None:
    report = _report(new_place(), _batch(*[({}, {"duration_us": each}) for each in durations]))
    ranked = sorted(durations)
    assert report.avg_us == sum(durations) // len(durations)
    for found, percent in ((report.p50_us, 50), (report.p95_us, 95), (report.rows[0].p95_us, 95)):
        true = ranked[math.ceil(len(ranked) * percent / 100) - 1]
        assert found is not None
        assert true * 0.975 <= found <= true
        assert true >= 100 or found == true
