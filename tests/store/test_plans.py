"""No query reads a whole table: each finds its rows along an index, whatever the store holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.rows import Batch
from tests.store.samples import START, call_id, concluded, decided, opened


async def _plans(reading: AsyncEngine, said: list[tuple[str, Any]]) -> list[str]:
    found = []
    async with reading.connect() as connection:
        for statement, parameters in [pair for pair in said if pair[0].startswith(("SELECT", "UPDATE"))]:
            given = parameters[0] if isinstance(parameters, list) else parameters
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(given))
            found += [f"{row.detail}  <-  {statement}" for row in rows]
    return found


def _listen(reading: AsyncEngine) -> list[tuple[str, Any]]:
    said: list[tuple[str, Any]] = []

    def executed(*arguments: Any) -> None:
        said.append((arguments[2], arguments[3]))

    event.listen(reading.sync_engine, "before_cursor_execute", executed)
    return said


def _scans(plans: list[str]) -> list[str]:
    """Scans of tables; those of what a subquery answered are bounded by it."""
    tables = ("traces", "spans", "bodies", "refusals")
    return [plan for plan in plans if plan.startswith(tuple(f"SCAN {table}" for table in tables))]


def test_reading(tmp_path: Path) -> None:
    calls = [call_id(START + n * 1000, n) for n in range(50)]
    moment = datetime(2025, 11, 13, tzinfo=UTC)

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls))))
        reading = engine.reader(engine.locate(tmp_path, None))
        said = _listen(reading)
        queries = Queries(reading, "default")
        page = await queries.page(TraceFilter(), 10)
        await queries.page(TraceFilter(provider="openai", since=START), 10, page.next_cursor)
        await queries.page(TraceFilter(since=START, until=START + 1), 10)
        await queries.page(TraceFilter(trace="c" * 32), 10)
        await queries.trace(calls[0])
        await queries.trace("c" * 32)
        await queries.last()
        await queries.body(calls[0], "request")
        await queries.report(moment, None)
        plans = await _plans(reading, said)
        await reading.dispose()
        return plans

    plans = asyncio.run(run())
    assert len(plans) > 10
    assert _scans(plans) == []
    by_trace = [plan for plan in plans if "USING INDEX traces_sent (tenant=? AND trace_id=?)" in plan]
    assert len(by_trace) == 2  # one call, and the list filtered by it


def test_analytics(tmp_path: Path) -> None:
    calls = [call_id(START + n * 1000, n) for n in range(50)]
    asked = Asked(since=START, until=START + 1000, group_by=("model", "key"), bucket="day")
    filtered = msgspec.structs.replace(asked, filter=TraceFilter(provider="openai", caller="k", outcome=("ok",)))

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls))))
        reading = engine.reader(engine.locate(tmp_path, None))
        said = _listen(reading)
        analytics = Analytics(reading, "default", stretch=20)
        for each in (asked, filtered):
            for question in (analytics.usage, analytics.cost, analytics.latency, analytics.errors, analytics.models):
                await question(each)
            await analytics.keys(each)
            await analytics.summary(each)
            await analytics.log(each.filter, 10, 30)
        await analytics.stats("7d", START, START + 1000)
        plans = await _plans(reading, said)
        await reading.dispose()
        return plans

    plans = asyncio.run(run())
    assert len(plans) > 30
    # Counted refusals are few, and have no index of their own.
    assert [plan for plan in _scans(plans) if not plan.startswith("SCAN refusals")] == []
    assert any("USING INDEX traces_call (tenant=? AND call>? AND call<?)" in plan for plan in plans)


def test_writing(tmp_path: Path) -> None:
    early, late = call_id(START, 1), call_id(START, 2)

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, writing):
            said = _listen(writing)
            await writer.apply(Batch(decided=(decided(late),), concluded=(concluded(early),)))
            await writer.apply(Batch(decided=(decided(early),), concluded=(concluded(late),)))
            await writer.forget(START - 1, 10)
            return await _plans(writing, said)

    plans = asyncio.run(run())
    # Partial, and nearly always empty.
    undecided = [plan for plan in _scans(plans) if "traces_undecided" in plan]
    # A few rows a minute at most, and looked at once a minute.
    counted = [plan for plan in _scans(plans) if plan.startswith("SCAN refusals")]
    assert set(_scans(plans)) == {*undecided, *counted}
    assert undecided
