"""Journal to store: once, in any company, through interruptions and outages. Real lanes, real files."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from gatehouse.config import settings
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Capture
from gatehouse.store import reading, times
from gatehouse.store.rows import Batch
from tests.collector.lanes_on_disk import Worker, calls, collect, collecting, held, of_calls, refusal
from tests.journal.samples import recover
from tests.store import databases
from tests.store.samples import concluded, decided, opened, queried


def test_every_kind_of_line_is_collected_once(place: Path) -> None:
    """I2, O2: refused, open and ended calls, captures; collecting again changes nothing."""
    names = calls(6)

    async def run() -> None:
        worker = Worker(place / "journal")
        for name in names[:3]:
            worker.call(name)
        worker.decide(names[3])
        worker.writer.refuse("default", refusal(names[4]), authenticated=True)
        worker.writer.capture("default", [Capture(names[0], "default", "request", 0, True, "eJw=", size=2)])
        worker.call(names[5], tenant="other")
        worker.writer.flush()
        first = await collect(place)
        assert first.state.lines_behind == first.state.unreadable == 0
        assert first.state.collected == worker.writer.head[0]
        stored = await held(place)
        assert {table: len(rows) for table, rows in of_calls(stored).items() if rows} == {
            "bodies": 1,
            "lanes": 1,
            "spans": 4 * 2 + 1,
            "traces": 6,
        }
        again = await collect(place)
        assert again.state.collected == 0
        assert await held(place) == stored
        async with reading.open(place, databases.address(place)) as reader:
            report = await reader.report()
            assert report.outcomes == {"ok": 3, "open": 1, "refused": 1}
            assert report.cost_nano_usd == 3 * 12_345
        worker.writer.close()

    asyncio.run(run())


def test_recovery_ends_the_calls_of_a_dead_worker_in_the_store_too(place: Path) -> None:
    """I2: the outcome stands in control's lane, and may be read before the decision."""
    open_, ended = calls(2)

    async def run() -> None:
        worker = Worker(place / "journal")
        worker.call(ended)
        worker.decide(open_)
        worker.die()
        control = Worker(place / "journal", role="control")
        assert recover(place / "journal", control.writer).interrupted == 1
        early = place / "early"
        (early / "journal").mkdir(parents=True)
        shutil.copytree(place / "journal" / control.writer.lane, early / "journal" / control.writer.lane)
        await collect(early)
        async with queried(early) as queries:
            trace = await queries.trace(open_)
            assert trace is not None and (trace.outcome, trace.path) == ("interrupted", None)
        shutil.rmtree(early / "journal")
        shutil.copytree(place / "journal", early / "journal")
        await collect(early)
        await collect(place)
        assert of_calls(await held(early)) == of_calls(await held(place))
        async with queried(place) as queries:
            trace = await queries.trace(open_)
            assert trace is not None and (trace.outcome, trace.method) == ("interrupted", "POST")
            assert len(trace.spans) == 1
        control.writer.close()

    asyncio.run(run())


@hypothesis(max_examples=10)
@given(data=st.data())
def test_any_interleaving_of_lanes_and_collecting_gives_the_same_store(data: st.DataObject) -> None:
    """Lines are written to several lanes and collected meanwhile, by collectors that stop and start anywhere."""
    names = calls(data.draw(st.integers(1, 8)))
    lane_of = {name: data.draw(st.integers(0, 2)) for name in names}
    ended = [name for name in names if data.draw(st.booleans())]
    drawn = data.draw(st.permutations([*names, *ended]))
    # The first time a call is drawn it is decided, the second time it ends.
    order = [(name, "conclude" if name in drawn[:at] else "decide") for at, name in enumerate(drawn)]
    rests = data.draw(st.lists(st.integers(0, 3), min_size=len(order), max_size=len(order)))

    async def run(directory: Path) -> None:
        workers = [Worker(directory / "journal") for _ in range(3)]
        for (name, what), steps in zip(order, rests, strict=True):
            getattr(workers[lane_of[name]], what)(name)
            workers[lane_of[name]].writer.flush()
            if steps:
                async with collecting(directory) as collector:
                    for _ in range(steps):
                        await collector.step()
        await collect(directory)
        piecemeal = of_calls(await held(directory))
        _remove_store(directory)
        await collect(directory)
        assert of_calls(await held(directory)) == piecemeal
        assert len(piecemeal["traces"]) == len(names)
        for worker in workers:
            worker.writer.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


def test_a_collector_that_is_killed_leaves_nothing_behind_and_nothing_out(tmp_path: Path) -> None:
    """kill -9 at any time: the next collector goes on behind the last transaction."""

    async def write() -> None:
        worker = Worker(tmp_path / "journal")
        for number, name in enumerate(calls(2_000)):
            worker.call(name)
            if number % 100 == 0:
                worker.writer.flush()
        worker.writer.close()

    asyncio.run(write())
    program = f"""
import asyncio, pathlib
from gatehouse.collector.collect import Collector
from gatehouse.config.settings import Database
from gatehouse.store import engine
data = pathlib.Path({str(tmp_path)!r})
async def run():
    collector = Collector(data / "journal", engine.locate(data, None), Database(keep_days=36500), lines=60)
    print(flush=True)
    while await collector.step():
        pass
asyncio.run(run())
"""
    killed = 0
    for delay in (0.0, 0.05, 0.15):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.wait(30)
        child.stdout.close()
    assert killed

    async def check() -> None:
        await collect(tmp_path)
        interrupted = await held(tmp_path)
        assert len(interrupted["traces"]) == 2_000
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        (fresh / "journal").symlink_to(tmp_path / "journal")
        await collect(fresh)
        assert await held(fresh) == interrupted

    asyncio.run(check())


def test_an_outage_of_the_store_loses_nothing(tmp_path: Path) -> None:
    """The journal is the buffer; the state says what is wrong and how far behind the store is."""
    first, second, third = calls(3)
    away = tmp_path / "away"
    away.mkdir()

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        stopping = asyncio.Event()
        async with collecting(tmp_path) as collector:
            running = asyncio.create_task(collector.run(stopping, 5))
            worker.call(first)
            await _until(lambda: collector.state.collected == 3)
            _move_store(tmp_path, away)
            (tmp_path / "store.db").mkdir()
            worker.call(second)
            await _until(lambda: collector.state.store == "unavailable" and collector.state.lines_behind == 2)
            assert "Is a directory" in str(collector.state.error)
            assert collector.state.lag(times.now() + 3_000_000) > 3
            (tmp_path / "store.db").rmdir()
            _move_store(away, tmp_path)
            worker.call(third)
            await _until(lambda: collector.state.error is None and collector.state.collected == 7)
            assert collector.state.store == "connected"
            stopping.set()
            await asyncio.wait_for(running, 30)
        assert len((await held(tmp_path))["traces"]) == 3
        worker.writer.close()

    asyncio.run(run())


def test_stopping_does_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        worker.call(calls(1)[0])
        worker.writer.flush()
        (tmp_path / "store.db").mkdir()
        stopping = asyncio.Event()
        stopping.set()
        async with collecting(tmp_path) as collector:
            await asyncio.wait_for(collector.run(stopping, 120), 30)
            assert collector.state.store == "unavailable"
        (tmp_path / "store.db").rmdir()
        assert (await collect(tmp_path)).state.collected == 3
        worker.writer.close()

    asyncio.run(run())


def test_a_store_that_was_removed_is_built_again_from_the_journal(tmp_path: Path) -> None:
    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        for name in calls(5):
            worker.call(name)
        worker.writer.flush()
        async with collecting(tmp_path) as collector:
            await collector.step()
            before = await held(tmp_path)
            _remove_store(tmp_path)
            while await collector.step():
                pass
        assert await held(tmp_path) == before
        worker.writer.close()

    asyncio.run(run())


def test_a_tampered_lane_stops_and_the_others_go_on(place: Path) -> None:
    """I7: a mismatch is never passed over in silence."""
    names = calls(6)

    async def run() -> None:
        good, bad = Worker(place / "journal"), Worker(place / "journal")
        for name in names[:2]:
            good.call(name)
        for name in names[2:5]:
            bad.call(name)
        good.writer.flush()
        bad.writer.close()
        segment = place / "journal" / bad.writer.lane / "000001.jsonl"
        lines = segment.read_bytes().split(b"\n")
        lines[4] = lines[4].replace(b'"outcome":"', b'"outcome" :"').replace(b"gpt-4o-mini", b"gpt-9o-mini", 1)
        segment.write_bytes(b"\n".join(lines))
        async with collecting(place) as collector:
            await collector.step()
            good.call(names[5])
            good.writer.flush()
            await collector.step()
            [stopped] = collector.state.stopped
            assert (stopped.lane, stopped.seq) == (bad.writer.lane, 4)
            assert f"{segment}:5: " in stopped.reason
        stored = await held(place)
        assert {row[2] for row in stored["traces"]} == {*names[:2], names[2], names[3], names[5]}
        good.writer.close()

    asyncio.run(run())


def test_a_lane_put_back_to_an_earlier_state_stops(tmp_path: Path) -> None:
    """The collector keeps (seq, hash) per lane: what it has seen cannot be taken out of the journal unnoticed."""

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        for name in calls(3):
            worker.call(name)
        worker.writer.close()
        await collect(tmp_path)
        segment = tmp_path / "journal" / worker.writer.lane / "000001.jsonl"
        segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-3]))
        collector = await collect(tmp_path)
        [stopped] = collector.state.stopped
        assert "was read before" in stopped.reason

    asyncio.run(run())


def test_a_row_no_database_takes_is_left_out_and_named(place: Path) -> None:
    """I7: the lines beside it are collected; what is missing is counted and shown."""
    names = calls(20)

    async def run() -> None:
        worker = Worker(place / "journal")
        for number, name in enumerate(names):
            worker.decide(name, max_output=2**63 if number == 7 else 5)
        worker.writer.flush()
        collector = await collect(place)
        assert collector.state.unreadable == 1
        assert f"{worker.writer.lane}/000001.jsonl:9: " in str(collector.state.last_unreadable)
        assert str(collector.state.last_unreadable).endswith(
            ("Python int too large to convert to SQLite INTEGER", "a value cannot be stored: value out of int64 range")
        )
        assert collector.state.collected == 21
        assert {row[2] for row in (await held(place))["traces"]} == {*names} - {names[7]}
        assert (await collect(place)).state.collected == 0
        worker.writer.close()

    asyncio.run(run())


def test_a_lane_that_cannot_be_read_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    names = calls(4)

    async def run() -> None:
        good, bad = Worker(tmp_path / "journal"), Worker(tmp_path / "journal")
        obstacle = tmp_path / "journal" / bad.writer.lane / "000002.jsonl"
        async with collecting(tmp_path) as collector:
            await collector.step()
            for name in names[:2]:
                bad.call(name)
            bad.writer.flush()
            obstacle.mkdir()  # what the system answers when it is opened is not "not there"
            good.call(names[2])
            good.writer.flush()
            assert not await collector.step()
            assert "Is a directory" in str(collector.state.error)
            assert {row[2] for row in (await held(tmp_path))["traces"]} == {names[2]}
            obstacle.rmdir()
            bad.call(names[3])
            bad.writer.flush()
            await collector.step()
            assert collector.state.error is None
        assert {row[2] for row in (await held(tmp_path))["traces"]} == set(names)
        good.writer.close()
        bad.writer.close()

    asyncio.run(run())


def test_rotation_and_many_batches(place: Path) -> None:
    async def run() -> None:
        options = msgspec.structs.replace(settings.Journal(), segment_bytes=20_000)
        worker = Worker(place / "journal", options)
        for name in calls(200):
            worker.call(name)
            await asyncio.sleep(0)
            worker.writer.sweep()
        worker.writer.close()
        assert len(list((place / "journal" / worker.writer.lane).glob("*.jsonl"))) > 5
        async with collecting(place) as collector:
            collector_steps = 0
            while await collector.step():
                collector_steps += 1
        assert len((await held(place))["traces"]) == 200

    asyncio.run(run())


def test_old_calls_leave_the_store(place: Path) -> None:
    """The store keeps calls for its own time, whatever the journal keeps."""

    async def run() -> None:
        worker = Worker(place / "journal")
        for name in calls(5):  # of November 2025
            worker.call(name)
        worker.writer.close()
        async with collecting(place, keep_days=1) as collector:
            while await collector.step() or collector.rolling:
                pass
        stored = await held(place)
        assert stored["traces"] == stored["spans"] == []
        assert len(stored["lanes"]) == 1

    asyncio.run(run())


def test_the_oldest_calls_leave_a_store_that_takes_too_much(place: Path) -> None:
    """In steps, until the rest has room; roll-ups stay."""
    names = calls(6_000)

    async def run() -> None:
        async with opened(place) as (writer, _):
            empty = await writer.used_bytes()
            for at in range(0, len(names), 2_000):
                some = names[at : at + 2_000]
                await writer.apply(Batch(tuple(map(decided, some)), tuple(map(concluded, some))))
            most = empty + (await writer.used_bytes() - empty) // 2
        (place / "journal").mkdir()
        async with collecting(place, max_bytes=most) as collector:
            for _ in range(3):
                assert not await collector.step()
                while collector.rolling:
                    await collector.step()
            assert times.now() - collector.state.cut < 60_000_000
        async with collecting(place, max_bytes=most) as collector:
            await collector.step()
            assert collector.state.cut == 0
        stored = await held(place)
        assert [row[2] for row in stored["traces"]] == names[4_000:]
        assert {row[1] for row in stored["spans"]} == set(names[4_000:])
        assert stored["rolled"]

    asyncio.run(run())


def test_collecting_goes_on_while_nothing_waits_for_it(place: Path) -> None:
    """O4: a line is in the store a moment after it was written; `stopping` drains what is left."""
    names = calls(300)

    async def run() -> None:
        worker = Worker(place / "journal")
        stopping = asyncio.Event()
        took = []
        async with collecting(place) as collector:
            running = asyncio.create_task(collector.run(stopping, 5))
            for number in range(3):
                worker.call(names[number])
                started = time.monotonic()
                await _until(lambda lines=2 * number + 3: collector.state.collected == lines)  # type: ignore[misc]
                took.append(time.monotonic() - started)
            assert min(took) < 2, "the best of three: the machine may be busy"
            for name in names[3:]:
                worker.call(name)
            worker.writer.flush()
            stopping.set()
            await asyncio.wait_for(running, 30)
        assert len((await held(place))["traces"]) == 300
        worker.writer.close()

    asyncio.run(run())


def test_journal_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with collecting(tmp_path) as collector:
            assert not await collector.step()
            worker = JournalWriter(tmp_path / "journal", "worker", settings.Journal(), asyncio.get_running_loop())
            worker.open()
            assert not await collector.step()
            assert collector.state.collected == 1
            worker.close()

    asyncio.run(run())


def _move_store(source: Path, target: Path) -> None:
    for path in source.glob("store.db*"):
        path.rename(target / path.name)


def _remove_store(data: Path) -> None:
    for path in data.glob("store.db*"):
        path.unlink()


async def _until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come about in time"
        await asyncio.sleep(0.01)
