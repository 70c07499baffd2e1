"""No query reads a whole table: each finds its rows along an index, whatever the store holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.rows import Batch, LinkKey
from gatehouse.store.sight import Sight
from gatehouse.store.times import DAY, HOUR
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
    tables = ("rolled", "rollups", "rollup_durations", "traces", "spans", "bodies", "refusals", "link_keys")
    return [plan for plan in plans if plan.startswith(tuple(f"SCAN {table}" for table in tables))]


def test_reading(tmp_path: Path) -> None:
    calls = [call_id(START + n * 1000, n) for n in range(50)]

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls))))
        reading = engine.reader(engine.locate(tmp_path, None))
        said = _listen(reading)
        queries = Queries(reading, Sight("default"))
        page = await queries.page(TraceFilter(), 10)
        await queries.page(TraceFilter(provider="openai", since=START), 10, page.next_cursor)
        await queries.page(TraceFilter(since=START, until=START + 1), 10)
        await queries.page(TraceFilter(trace="c" * 32), 10)
        for wanted in (TraceFilter(run="r"), TraceFilter(thread="t"), TraceFilter(group="g"), TraceFilter(job="j")):
            await queries.page(wanted, 10)
        await queries.page(TraceFilter(loop=calls[0]), 10)
        await queries.trace(calls[0])
        await queries.trace("c" * 32)
        await queries.last()
        await queries.body(calls[0], "request")
        plans = await _plans(reading, said)
        await reading.dispose()
        return plans

    plans = asyncio.run(run())
    assert len(plans) > 10
    assert _scans(plans) == []
    by_trace = [plan for plan in plans if "USING INDEX traces_sent (tenant=? AND trace_id=?)" in plan]
    assert len(by_trace) == 2  # one call, and the list filtered by it
    for name in ("run", "thread", "group"):
        assert [plan for plan in plans if f"USING INDEX traces_{name} (tenant=? AND {name}_id=?" in plan], name
    for name in ("job", "loop"):
        assert [plan for plan in plans if f"INDEX traces_{name} (tenant=? AND {name}=?" in plan], name


def test_analytics(tmp_path: Path) -> None:
    calls = [call_id(START + n * 1000, n) for n in range(50)]
    asked = Asked(since=START, until=START + 1000, group_by=("model", "key"), bucket="day")
    filtered = msgspec.structs.replace(asked, filter=TraceFilter(provider="openai", caller="k", outcome=("ok",)))

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls))))
        reading = engine.reader(engine.locate(tmp_path, None))
        said = _listen(reading)
        analytics = Analytics(reading, Sight("default"), stretch=20)
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


def test_summed_up(tmp_path: Path) -> None:
    """A window of whole hours is answered without a look at its calls; its edges look at theirs alone."""
    began = START - START % DAY
    calls = [call_id(began + n * HOUR // 2, n) for n in range(4 * 48)]

    async def run() -> tuple[list[str], list[str], list[str]]:
        async with opened(tmp_path) as (writer, writing):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls))))
            said = _listen(writing)
            while await writer.roller.step(began + 10 * DAY):
                pass
            await writer.roller.forget("hour", began)
            made = await _plans(writing, said)
        reading = engine.reader(engine.locate(tmp_path, None))
        said = _listen(reading)
        analytics = Analytics(reading, Sight("default"))
        found = []
        for since, until in ((began + HOUR, began + 3 * DAY), (began + HOUR // 2, began + 3 * DAY + HOUR // 2)):
            said.clear()
            for group_by in (("model",), ("key",), ("user", "provider")):
                asked = Asked(since=since, until=until, group_by=group_by, bucket="day")
                for question in (analytics.usage, analytics.cost, analytics.latency, analytics.errors):
                    assert (await question(asked)).items
            assert (await analytics.stats("7d", since, until)).total_requests == (until - since) // HOUR * 2
            found.append(await _plans(reading, said))
        await reading.dispose()
        return made, found[0], found[1]

    made, whole, edges = asyncio.run(run())
    assert _scans(made) == _scans(whole) == _scans(edges) == []
    assert not any("FROM traces" in plan for plan in whole)
    assert any("PRIMARY KEY (tenant=? AND cube=? AND grain=? AND start>? AND start<?)" in plan for plan in whole)
    assert any("USING INDEX traces_call (tenant=? AND call>? AND call<?)" in plan for plan in edges)


def test_writing(tmp_path: Path) -> None:
    early, late = call_id(START, 1), call_id(START, 2)

    async def run() -> list[str]:
        async with opened(tmp_path) as (writer, writing):
            said = _listen(writing)
            await writer.apply(Batch(decided=(decided(late),), concluded=(concluded(early),)))
            await writer.apply(Batch(decided=(decided(early),), concluded=(concluded(late),)))
            for call, offered in ((late, False), (early, True)):
                await writer.apply(Batch(links=(LinkKey("default", START // 86_400_000_000, "a" * 16, call, offered),)))
            await writer.forget(START - 1, 10)
            return await _plans(writing, said)

    plans = asyncio.run(run())
    # Partial, and nearly always empty.
    undecided = [plan for plan in _scans(plans) if "traces_undecided" in plan]
    # A few rows a minute at most, and looked at once a minute.
    counted = [plan for plan in _scans(plans) if plan.startswith("SCAN refusals")]
    assert set(_scans(plans)) == {*undecided, *counted}
    assert undecided
