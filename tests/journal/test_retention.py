"""Retention: only what is collected, oldest first, never without a durable tombstone."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gatehouse.config import settings
from gatehouse.journal import retention
from gatehouse.journal.files import directory_bytes
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import LaneReader, lanes
from gatehouse.journal.retention import Retention, RetentionReport, compress
from gatehouse.journal.verify import verify
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import (
    FaultyFiles,
    Told,
    body,
    decision,
    journal,
    outcome,
    read_all,
    read_lane,
    state,
    turn,
    until,
)
from tests.journal.test_recovery import control, dead_worker


async def keep(directory: Path, writer: JournalWriter, collected: dict[str, int], **options: Any) -> RetentionReport:
    return await Retention(directory, writer, settings.Journal(**options)).run(collected)


def all_of(directory: Path) -> dict[str, int]:
    """A collector that has read everything."""
    return {info.lane: read_lane(directory, info.lane)[-1].seq for info in lanes(directory)}


def swept(writer: JournalWriter) -> JournalWriter:
    writer.sweep()
    return writer


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("0"))


def test_collected_segments_are_compressed_and_nothing_else(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 60, ended=60, segment_bytes=15_000)
    before = read_lane(tmp_path, lane)
    third = next(line.seq for line in before if line.file.endswith("000003.jsonl"))

    async def run() -> None:
        async with journal(tmp_path, "control") as writer:
            os.utime(tmp_path / lane / "000001.jsonl", (1_000_000_000, 1_000_000_000))
            assert (await keep(tmp_path, writer, {})).compressed == 0
            report = await keep(tmp_path, writer, {lane: third}, keep_days=100_000)
            assert report.compressed == 2
            assert names(tmp_path / lane)[:3] == ["000001.jsonl.gz", "000002.jsonl.gz", "000003.jsonl"]
            stat = (tmp_path / lane / "000001.jsonl.gz").stat()
            assert (stat.st_mtime, stat.st_mode & 0o777) == (1_000_000_000, 0o600), "age and privacy stay"
            report = await keep(tmp_path, writer, {lane: before[-1].seq}, keep_days=100_000)
            assert names(tmp_path / lane)[-1].endswith(".jsonl"), "the last segment of a lane nobody has closed"

    asyncio.run(run())
    after = read_lane(tmp_path, lane)
    assert [(line.hash, line.body) for line in after] == [(line.hash, line.body) for line in before]
    assert control(tmp_path).broken == ()
    assert verify(tmp_path).first_bad is None


def test_a_closed_lane_is_compressed_whole_and_deleted_whole(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 20, ended=15, segment_bytes=8_000)
    control(tmp_path)
    count = len(read_lane(tmp_path, lane))

    async def run() -> None:
        async with journal(tmp_path, "control") as writer:
            collected = all_of(tmp_path)
            for _ in range(5):
                await keep(tmp_path, writer, collected)
            assert {name[6:] for name in names(tmp_path / lane)} == {".jsonl.gz"}
            for path in (tmp_path / lane).iterdir():
                os.utime(path, (0, 0))
            report = await keep(tmp_path, writer, collected, keep_days=1)
            assert all(name.startswith(lane) for name in report.deleted), "control's own lanes stay"
            assert not (tmp_path / lane).exists()
            assert [info.lane for info in lanes(tmp_path)] != []

    asyncio.run(run())
    report = verify(tmp_path)
    assert (report.first_bad, report.deleted) == (None, count)
    stones = [body(line) for line in read_all(tmp_path) if line.kind == "segment_deleted"]
    assert {stone["rule"] for stone in stones} == {"keep_days"}
    assert [stone["file"] for stone in stones] == [f"{n + 1:06d}.jsonl" for n in range(len(stones))]


def test_max_bytes_deletes_the_oldest_collected_first(tmp_path: Path) -> None:
    old, new = (dead_worker(tmp_path, 60, ended=60, segment_bytes=15_000) for _ in range(2))
    control(tmp_path)
    now = time.time()
    for age, lane in ((3000, old), (1000, new)):
        for number, name in enumerate(names(tmp_path / lane)):
            when = now - age + number
            os.utime(tmp_path / lane / name, (when, when))

    async def run() -> None:
        async with journal(tmp_path, "control") as writer:
            limit = int(directory_bytes(tmp_path) * 1.05)
            collected = all_of(tmp_path)
            report = await keep(tmp_path, writer, {}, max_bytes=limit)
            assert report.deleted == (), "nothing is collected: the writers refuse instead"
            assert report.warn
            while (await keep(tmp_path, writer, collected)).compressed:
                pass
            size = directory_bytes(tmp_path)
            report = await keep(tmp_path, writer, collected, max_bytes=size, when_full="refuse")
            assert report.deleted == (), "`refuse` deletes nothing for its size"
            report = await keep(tmp_path, writer, collected, max_bytes=size)
            assert report.deleted
            assert all(name.startswith(old) for name in report.deleted)
            assert names(tmp_path / new)[0].startswith("000001")
            assert report.bytes <= 0.95 * size

    asyncio.run(run())
    assert verify(tmp_path).first_bad is None
    reader = LaneReader(tmp_path, old)
    assert reader.read()[0].seq > 1, "who starts from nothing starts at what is there"
    reader.close()


def test_the_tombstone_is_durable_before_the_file_goes(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 20, ended=20, segment_bytes=8_000)
    control(tmp_path)
    for path in (tmp_path / lane).glob("0*"):
        os.utime(path, (0, 0))

    async def run() -> None:
        files = FaultyFiles()
        async with journal(tmp_path, "control", files=files) as writer:
            files.write_error = 5
            collected = all_of(tmp_path)
            rounds = asyncio.create_task(
                Retention(tmp_path, writer, settings.Journal(keep_days=1), patience=0.2).run(collected)
            )
            with pytest.raises(JournalError, match="nothing is deleted"):
                await rounds
            assert len(names(tmp_path / lane)) > 2
            files.write_error = None
            writer.sweep()
            await turn()
            report = await keep(tmp_path, writer, collected, keep_days=1)
            assert report.deleted

    asyncio.run(run())
    assert verify(tmp_path).first_bad is None


def test_a_living_lane_keeps_its_last_segment(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=8_000) as worker, journal(tmp_path, "control") as writer:
            reader = LaneReader(tmp_path, worker.lane)
            for n in range(30):
                worker.decide("t", decision(str(n)), told(str(n)))
                worker.conclude("t", outcome(str(n)))
                await turn(1)
                for path in (tmp_path / worker.lane).glob("0*"):
                    os.utime(path, (0, 0))
                while reader.read():
                    pass
                await keep(tmp_path, writer, {worker.lane: reader.seq}, keep_days=1)
                assert verify(tmp_path).first_bad is None
            assert names(tmp_path / worker.lane) == [f"{worker.counters.rotations + 1:06d}.jsonl"]
            reader.close()

    asyncio.run(run())
    assert verify(tmp_path).first_bad is None


def test_a_journal_that_was_full_finds_room_when_the_collector_is_back(tmp_path: Path) -> None:
    """`drop_oldest_collected` falls back to refusing, and not for ever: what is being written is left behind too."""

    async def run() -> None:
        told = Told()
        limits: dict[str, Any] = {"max_bytes": 3_000_000, "segment_bytes": 64 * 1024 * 1024}
        async with journal(tmp_path, **limits) as worker, journal(tmp_path, "control") as writer:
            made = 0
            while not told.failed:
                made += 50
                for n in range(made - 50, made):
                    worker.decide("t", decision(str(n)), told(str(n)))
                await turn(1)
                for n in range(made - 50, made):
                    if str(n) in told.stood:
                        worker.conclude("t", outcome(str(n)))
                await turn(1)
            assert state(worker) == "full"
            keeper = Retention(tmp_path, writer, settings.Journal(**limits))
            assert (await keeper.run({})).deleted == ()
            worker.sweep()
            assert worker.counters.rotations >= 2, "the size of a small journal's segments, and leaving the last"
            while (await keeper.run(all_of(tmp_path))).compressed:
                pass
            await until(lambda: swept(worker).state == "ok")
            worker.decide("t", decision("again"), told("again"))
            await turn(1)
            worker.conclude("t", outcome("again"))
            assert "again" in told.stood

    asyncio.run(run())
    assert verify(tmp_path).first_bad is None


def test_a_small_journal_drops_the_oldest_and_refuses_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        limits: dict[str, Any] = {"max_bytes": 3_000_000}
        async with journal(tmp_path, **limits) as worker, journal(tmp_path, "control") as writer:
            keeper = Retention(tmp_path, writer, settings.Journal(**limits))
            reader = LaneReader(tmp_path, worker.lane)
            for n in range(0, 4000, 40):
                for part in range(n, n + 40):
                    worker.decide("t", decision(str(part), user_agent=os.urandom(400).hex()), told(str(part)))
                    worker.conclude("t", outcome(str(part)))
                await turn(1)
                while reader.read():
                    pass
                await keeper.run({worker.lane: reader.seq})
                await until(lambda: swept(worker).total_bytes < 0.95 * limits["max_bytes"])
            reader.close()
            assert told.failed == set()
            assert len(told.stood) == 4000

    asyncio.run(run())
    report = verify(tmp_path)
    assert report.first_bad is None
    assert report.deleted > 2000


def test_half_a_line_is_not_compressed_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "000001.jsonl"
    path.write_bytes(b"one\ntwo\nhal")
    compress(path)
    assert not path.exists()
    assert gzip.decompress((tmp_path / "000001.jsonl.gz").read_bytes()) == b"one\ntwo\n"


def test_compression_cut_short_is_finished(tmp_path: Path) -> None:
    """Killed between putting the archive there and removing the plain file; or before."""
    path = tmp_path / "000001.jsonl"
    path.write_bytes(b"one\n")
    (tmp_path / ".000001.jsonl.gz").write_bytes(b"half an arch")
    compress(path)
    archive = (tmp_path / "000001.jsonl.gz").read_bytes()
    path.write_bytes(b"one\n")
    compress(path)
    assert not path.exists()
    assert (tmp_path / "000001.jsonl.gz").read_bytes() == archive
    assert retention.COMPRESS_PER_RUN >= 1


def test_the_rest_of_a_deleted_lane_is_removed(tmp_path: Path) -> None:
    """Killed between deleting a closed lane's last segment and its directory."""
    lane = dead_worker(tmp_path, 2, ended=2)
    control(tmp_path)
    (tmp_path / lane / "000001.jsonl").unlink()

    async def run() -> None:
        async with journal(tmp_path, "control") as writer:
            await keep(tmp_path, writer, {})
            assert not (tmp_path / lane).exists()

    asyncio.run(run())
