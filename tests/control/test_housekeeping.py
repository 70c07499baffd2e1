"""The journal's housekeeping, on real lanes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gatehouse.config import settings
from gatehouse.control.housekeeping import RETAIN_SECONDS, Housekeeping
from gatehouse.journal.files import directory_bytes
from gatehouse.journal.retention import COMPRESS_PER_RUN
from tests.collector.lanes_on_disk import Worker, calls, collect, collecting, held, of_calls

SMALL = msgspec.structs.replace(settings.Journal(), segment_bytes=20_000)


async def _rotated(journal: Path, count: int = 100) -> Worker:
    worker = Worker(journal, SMALL)
    for name in calls(count):
        worker.call(name)
        await asyncio.sleep(0)
        worker.writer.sweep()
    worker.writer.flush()
    return worker


def test_collected_segments_are_compressed_and_still_make_the_same_store(tmp_path: Path) -> None:
    """The store is a projection of the journal: it can be built again from what retention left, compressed or not."""

    async def run() -> None:
        journal = tmp_path / "journal"
        worker = await _rotated(journal)
        control = Worker(journal, role="control")
        async with collecting(tmp_path) as collector:
            keeping = Housekeeping(journal, control.writer, settings.Journal(), lambda: collector.collected)
            await keeping.retain()
            assert not _compressed(journal)  # nothing is collected yet
            while await collector.step():
                pass
            await keeping.retain()
            assert len(_compressed(journal)) == COMPRESS_PER_RUN
            worker.call(calls(1, seed=9)[0])
            worker.writer.flush()
            while await collector.step():
                pass
            assert collector.state.stopped == ()
        before = of_calls(await held(tmp_path))
        assert len(before["traces"]) == 101
        again = tmp_path / "again"
        again.mkdir()
        (again / "journal").symlink_to(journal)
        await collect(again)
        assert of_calls(await held(again)) == before
        worker.writer.close()
        control.writer.close()

    asyncio.run(run())


def test_deleting_needs_a_tombstone_and_collected_segments_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        journal = tmp_path / "journal"
        worker = await _rotated(journal)
        control = Worker(journal, role="control")
        options = msgspec.structs.replace(settings.Journal(), max_bytes=60_000)
        collected: dict[str, int] = {}
        keeping = Housekeeping(journal, control.writer, options, lambda: collected)
        await keeping.retain()
        assert keeping.warn
        assert len(_plain(journal)) > 5
        before = len(_plain(journal))
        await collect(tmp_path)
        async with collecting(tmp_path) as collector:
            await collector.step()
            collected |= collector.collected
            await keeping.retain()
            assert len(_plain(journal)) + len(_compressed(journal)) < before
            control.writer.flush()
            while await collector.step():
                pass
            assert collector.state.stopped == ()
        stones = (journal / control.writer.lane / "000001.jsonl").read_text().count('"kind":"segment_deleted"')
        assert stones > 0
        assert len((await held(tmp_path))["traces"]) == 100  # what was collected stays
        worker.writer.close()
        control.writer.close()

    asyncio.run(run())
    assert "segments of the journal deleted" in caplog.text


def test_room_is_made_as_soon_as_the_limit_is_near(tmp_path: Path) -> None:
    """`drop_oldest_collected` refuses only where nothing is collected, not until the next round."""

    async def run() -> None:
        journal = tmp_path / "journal"
        worker = await _rotated(journal)
        control = Worker(journal, role="control")
        options = msgspec.structs.replace(settings.Journal(), max_bytes=60_000)
        async with collecting(tmp_path) as collector:
            while await collector.step():
                pass
            keeping = Housekeeping(journal, control.writer, options, lambda: collector.collected)
            regular = [asyncio.create_task(each) for each in (keeping.sweep(), keeping.retain_regularly())]
            async with asyncio.timeout(RETAIN_SECONDS / 2):
                while directory_bytes(journal) > options.max_bytes:  # noqa: ASYNC110 - what the tasks do to files
                    await asyncio.sleep(0.05)
            for task in regular:
                task.cancel()
            await asyncio.gather(*regular, return_exceptions=True)
        worker.writer.close()
        control.writer.close()

    asyncio.run(run())


def test_dead_lanes_are_closed_and_broken_ones_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        journal = tmp_path / "journal"
        alive, dead, broken = Worker(journal), Worker(journal), Worker(journal)
        for number, worker in enumerate((alive, dead, broken)):
            worker.decide(calls(3)[number])
        dead.die()
        broken.die()
        segment = journal / broken.writer.lane / "000001.jsonl"
        segment.write_bytes(segment.read_bytes().replace(b"gpt-4o-mini", b"gpt-9o-mini"))
        control = Worker(journal, role="control")
        keeping = Housekeeping(journal, control.writer, settings.Journal(), lambda: {alive.writer.lane: 2})
        await keeping.recover()
        await keeping.recover()
        [why] = keeping.broken
        assert why.startswith(f"{segment}:2: ")
        lanes = {lane.lane: (lane.role, lane.collected_seq) for lane in keeping.lanes()}
        assert lanes[alive.writer.lane] == ("worker", 2)
        assert lanes[control.writer.lane] == ("control", 0)
        assert dead.writer.lane not in lanes
        await collect(tmp_path)
        outcomes = {row[2]: row for row in (await held(tmp_path))["traces"]}
        assert "interrupted" in outcomes[calls(3)[1]]
        assert "open" in outcomes[calls(3)[0]]
        alive.writer.close()
        control.writer.close()

    asyncio.run(run())
    assert caplog.text.count("000001.jsonl:2: ") == 2  # said once by us and once by the collector


def _plain(journal: Path) -> list[Path]:
    return sorted(journal.glob("*/*.jsonl"))


def _compressed(journal: Path) -> list[Path]:
    return sorted(journal.glob("*/*.jsonl.gz"))
