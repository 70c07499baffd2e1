"""The store once more from the journal: the same tables, at once for readers, and nothing dropped unasked."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gatehouse.collector.lock import CollectorLock
from gatehouse.collector.rebuild import NotRebuiltError, Rebuilt, rebuild
from gatehouse.config.settings import Database, Settings
from gatehouse.model.record import Capture
from gatehouse.store import engine
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.rows import AuditRow, Batch, LedgerRow, Rolled
from gatehouse.store.schema import rolled
from gatehouse.store.sight import Sight
from tests.collector.lanes_on_disk import Worker, calls, collect, held, refusal
from tests.journal.samples import recover
from tests.store import databases
from tests.store.samples import START, opened, queried

DAYS = 36_500
"""The calls of these tests are of November 2025."""


async def _rebuild(data: Path, *, discard_older: bool = False) -> Rebuilt:
    settings = Settings(database=Database(url=databases.address(data), keep_days=DAYS))
    seen: list[int] = []
    done = await rebuild(data, settings, discard_older=discard_older, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == done.lines
    return done


async def _write(data: Path) -> list[str]:
    """Two lanes of every kind of line, one of them of a worker that died."""
    names = calls(60)
    first, second = Worker(data / "journal"), Worker(data / "journal")
    for name in names[:50]:
        first.call(name, tenant="default" if name < names[40] else "other")
    first.writer.refuse("default", refusal(names[50]), authenticated=True)
    first.writer.capture("default", [Capture(names[0], "default", "request", 0, True, "eJw=", size=2)])
    first.decide(names[51])
    first.writer.close()
    for name in names[52:]:
        second.decide(name)
    second.die()
    control = Worker(data / "journal", role="control")
    assert recover(data / "journal", control.writer).interrupted == 9
    control.writer.close()
    return names


def test_the_same_tables(place: Path) -> None:
    """The store is a projection of the journal."""

    async def run() -> None:
        await _write(place)
        await collect(place)
        before = await held(place)
        done = await _rebuild(place)
        assert done.discarded.calls == done.unreadable == 0
        assert done.reaches is not None
        assert done.lines == sum(row[1] for row in before["lanes"])
        assert await held(place) == before
        assert (await collect(place)).state.collected == 0

    asyncio.run(run())
    assert [path.name for path in place.glob("*rebuilding*")] == []


def test_readers_see_one_store_or_the_other(place: Path) -> None:
    """Those that come and go, and those whose connections outlive the change."""

    async def run() -> None:
        names = await _write(place)
        await collect(place)
        readers = Readers(databases.url(place))
        stop = asyncio.Event()

        async def read() -> int:
            seen = 0
            while not stop.is_set():
                page = await (await readers.queries(Sight("default"))).page(TraceFilter(), 500)
                assert len(page.items) == 50
                async with queried(place) as queries:
                    trace = await queries.trace(names[0])
                    assert trace is not None and len(trace.spans) == 2
                seen += 1
            return seen

        reading = asyncio.create_task(read())
        await _rebuild(place)
        stop.set()
        assert await reading > 0
        assert len((await (await readers.queries(Sight("default"))).page(TraceFilter(), 500)).items) == 50
        await readers.aclose()

    asyncio.run(run())


def test_a_store_that_is_not_there_is_built(place: Path) -> None:
    async def run() -> None:
        await _write(place)
        assert (await _rebuild(place)).discarded.calls == 0
        assert len((await held(place))["traces"]) == 60

    asyncio.run(run())


def test_calls_the_journal_has_no_longer_are_not_dropped_unasked(place: Path) -> None:
    """I7."""

    async def run() -> None:
        first, second = Worker(place / "journal"), Worker(place / "journal")
        names = calls(10)
        for name in names[:3]:
            first.call(name)
        for name in names[3:]:
            second.call(name)
        first.writer.close()
        second.writer.close()
        await collect(place)
        before = await held(place)
        shutil.rmtree(place / "journal" / first.writer.lane)
        with pytest.raises(NotRebuiltError) as failure:
            await _rebuild(place)
        assert "reaches back to 20" in str(failure.value)
        assert "no longer 3 calls of the store, begun between 2025-11-13T02:13:20.000000Z and" in str(failure.value)
        assert "--discard-older" in str(failure.value)
        assert await held(place) == before
        done = await _rebuild(place, discard_older=True)
        assert (done.discarded.calls, done.discarded.first) == (3, START)
        assert {row[2] for row in (await held(place))["traces"]} == set(names[3:])

    asyncio.run(run())


def test_half_a_call_is_missed_too(place: Path) -> None:
    """The outcome of recovery stands in another lane, and may be what is left."""

    async def run() -> None:
        worker = Worker(place / "journal")
        worker.decide(calls(1)[0])
        worker.die()
        control = Worker(place / "journal", role="control")
        recover(place / "journal", control.writer)
        control.writer.close()
        await collect(place)
        shutil.rmtree(place / "journal" / worker.writer.lane)
        with pytest.raises(NotRebuiltError, match="no longer 1 calls"):
            await _rebuild(place)

    asyncio.run(run())


def test_roll_ups_older_than_the_calls_stay(place: Path) -> None:
    """They are kept longer than the calls they were made of."""
    hour = 3_600_000_000
    old = Rolled("default", "main", "hour", START - START % hour - 24 * hour, 7)

    async def run() -> None:
        await _write(place)
        await collect(place)
        async with opened(place) as (_, writing), engine.transaction(writing) as connection:
            row: dict[str, Any] = {name: getattr(old, name) for name in Rolled.__struct_fields__}
            await connection.execute(rolled.insert(), [row])
        before = await held(place)
        await _rebuild(place)
        assert await held(place) == before

    asyncio.run(run())


def test_what_was_left_of_an_attempt_is_in_nobodys_way(place: Path) -> None:
    async def run() -> None:
        await _write(place)
        await collect(place)
        before = await held(place)
        beside = engine.writer(engine.beside(databases.url(place)))
        async with engine.transaction(beside) as connection:
            await connection.execute(text("CREATE TABLE lanes (half TEXT)"))
        await beside.dispose()
        await _rebuild(place)
        assert await held(place) == before

    asyncio.run(run())


def test_a_running_collector_is_not_disturbed(place: Path) -> None:
    async def run() -> None:
        await _write(place)
        await collect(place)
        lock = CollectorLock(place / "collector.lock")
        assert lock.take()
        with pytest.raises(NotRebuiltError, match="the gateway runs and has the store; stop it first"):
            await _rebuild(place)
        lock.release()
        with contextlib.suppress(NotRebuiltError):
            await _rebuild(place)

    asyncio.run(run())


def test_without_a_journal_nothing_is_touched(place: Path) -> None:
    async def run() -> None:
        with pytest.raises(NotRebuiltError, match="there is no journal at"):
            await _rebuild(place)
        assert not (place / "store.db").exists()

    asyncio.run(run())


def test_a_file_that_is_no_database_is_replaced_when_asked(tmp_path: Path) -> None:
    async def run() -> None:
        await _write(tmp_path)
        (tmp_path / "store.db").write_bytes(b"no database " * 1000)
        with pytest.raises(NotRebuiltError, match="not a database.*--discard-older"):
            await _rebuild(tmp_path)
        await _rebuild(tmp_path, discard_older=True)
        assert len((await held(tmp_path))["traces"]) == 60

    asyncio.run(run())


def test_events_and_counts_that_the_journal_has_no_longer(place: Path) -> None:
    """I4: what limits count is no less afterwards; and who changed what is not forgotten."""
    event = AuditRow("default", "evt_1", START, "user", "usr_1", "key.create", "key", "key_1", "{}", "gone", 7)
    spent = LedgerRow("default", "default/key/key_1/spend/month", "2025-11", 900, 3)

    async def run() -> None:
        await _write(place)
        await collect(place)
        async with opened(place) as (writer, _):
            await writer.apply(Batch(audit=(event,), ledger=(spent,)))
        before = await held(place)
        await _rebuild(place)
        after = await held(place)
        assert after == before
        assert (len(after["audit"]), len(after["ledger"])) == (1, 1)

    asyncio.run(run())
