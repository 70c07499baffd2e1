"""Reading lanes as they grow, rotate, are compressed and break."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gatehouse.journal.files import segment_path
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import LaneReader, first_line, lanes, role_of
from gatehouse.journal.retention import compress
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import Told, decision, journal, outcome, read_lane, turn


def write(directory: Path, calls: int, **options: Any) -> str:
    """A lane of so many calls, closed in order: its id. Lines: 2 + 2 per call + 1 per later segment."""

    async def run() -> str:
        told = Told()
        async with journal(directory, **options) as writer:
            for n in range(calls):
                await call(writer, told, str(n))
            return writer.lane

    return asyncio.run(run())


async def call(writer: JournalWriter, told: Told, name: str) -> None:
    writer.decide("default", decision(name), told(name))
    await turn(1)
    writer.conclude("default", outcome(name))
    await turn(1)


def test_lines_come_once_in_order_while_the_lane_grows(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=15_000) as writer:
            reader = LaneReader(tmp_path, writer.lane)
            found = reader.read()
            for n in range(100):
                await call(writer, told, str(n))
                found += reader.read()
            assert [line.seq for line in found] == list(range(1, writer.head[0] + 1))
            assert (reader.seq, found[-1].hash) == writer.head
            assert len({line.file for line in found}) > 5
            assert reader.read() == []
            for line in found:
                with open(line.file, "rb") as file:  # noqa: ASYNC230 - a test
                    assert line.hash.encode() in file.read().split(b"\n")[line.line_no - 1]
            reader.close()

    asyncio.run(run())


def test_a_half_written_line_is_not_read(tmp_path: Path) -> None:
    lane = write(tmp_path, 3)
    path = tmp_path / lane / "000001.jsonl"
    data = path.read_bytes()
    for cut in range(len(data) - 700, len(data)):
        path.write_bytes(data[:cut])
        assert len(read_lane(tmp_path, lane)) == data[:cut].count(b"\n")


def test_a_half_line_that_was_taken_back_is_forgotten(tmp_path: Path) -> None:
    """The writer cuts off what a failed write left; a reader that saw half a line must not join it to the next."""
    lane = write(tmp_path, 3)
    path = tmp_path / lane / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + b'{"header":{"v":1,"half')
    reader = LaneReader(tmp_path, lane)
    assert len(reader.read()) == 2
    path.write_bytes(b"".join(lines))
    assert len(reader.read()) == len(lines) - 2
    reader.close()


@pytest.mark.parametrize("after", [0, 1, 2, 57, 58, 59, 99, 210])
@pytest.mark.parametrize("packed", [False, True])
def test_reading_resumes_behind_any_line(tmp_path: Path, after: int, packed: bool) -> None:
    lane = write(tmp_path, 100, segment_bytes=15_000)
    everything = read_lane(tmp_path, lane)
    assert len(everything) > 210
    if packed:
        for path in sorted((tmp_path / lane).glob("*.jsonl")):
            compress(path)
    reader = LaneReader(tmp_path, lane, after, everything[after - 1].hash if after else None)
    found = []
    while lines := reader.read(max_lines=7):
        assert len(lines) <= 7
        found += lines
    assert [line.seq for line in found] == [line.seq for line in everything[after:]]
    assert [line.hash for line in found] == [line.hash for line in everything[after:]]
    reader.close()
    wrong = LaneReader(tmp_path, lane, max(after, 1), "f" * 64)
    with pytest.raises(JournalError, match="had hash f+ before"):
        wrong.read()
    wrong.close()


def test_an_archive_larger_than_one_piece(tmp_path: Path) -> None:
    lane = write(tmp_path, 1000)
    before = read_lane(tmp_path, lane)
    assert (tmp_path / lane / "000001.jsonl").stat().st_size > 3 * 512 * 1024
    compress(tmp_path / lane / "000001.jsonl")
    after = read_lane(tmp_path, lane)
    assert [(line.hash, line.line_no) for line in after] == [(line.hash, line.line_no) for line in before]


def test_lines_that_were_read_before_and_are_gone_are_missed(tmp_path: Path) -> None:
    """Cutting off a lane's newest lines is noticed by who has read them."""
    lane = write(tmp_path, 10)
    reader = LaneReader(tmp_path, lane, 40)
    with pytest.raises(JournalError, match="ends at line 22 of the lane; line 40 was read before"):
        reader.read()
    reader.close()
    for path in (tmp_path / lane).iterdir():
        path.unlink()
    with pytest.raises(JournalError, match="no longer there"):
        LaneReader(tmp_path, lane, 5).read()


def test_compression_under_a_reader(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=10_000) as writer:
            reader = LaneReader(tmp_path, writer.lane)
            found = []
            for n in range(60):
                await call(writer, told, str(n))
                found += reader.read(max_lines=1)
                done = sorted((tmp_path / writer.lane).glob("*.jsonl"))[:-1]
                for path in done:
                    compress(path)
            while lines := reader.read():
                found += lines
            assert [line.seq for line in found] == list(range(1, writer.head[0] + 1))
            assert any(line.file.endswith(".gz") for line in found)
            reader.close()

    asyncio.run(run())


def test_what_does_not_hold_is_named_after_what_does(tmp_path: Path) -> None:
    lane = write(tmp_path, 10)
    path = tmp_path / lane / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b"default", b"defauld", 1)
    path.write_bytes(b"".join(lines))
    reader = LaneReader(tmp_path, lane)
    assert [line.seq for line in reader.read()] == [1, 2, 3, 4, 5, 6]
    for _ in range(2):
        with pytest.raises(JournalError, match=r"000001\.jsonl:7: the header does not match its hash"):
            reader.read()
    reader.close()


def test_a_segment_that_does_not_join_is_named(tmp_path: Path) -> None:
    lane = write(tmp_path, 30, segment_bytes=10_000)
    first = tmp_path / lane / "000001.jsonl"
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:-1]))
    reader = LaneReader(tmp_path, lane)
    assert len(reader.read()) == len(lines) - 1
    with pytest.raises(JournalError, match=r"000002\.jsonl:1: line \d+ of the lane stands where line \d+ belongs"):
        reader.read()
    reader.close()


def test_half_a_line_between_segments_must_be_known_to_the_next(tmp_path: Path) -> None:
    lane = write(tmp_path, 30, segment_bytes=10_000)
    with (tmp_path / lane / "000001.jsonl").open("ab") as file:
        file.write(b'{"header":')
    reader = LaneReader(tmp_path, lane)
    assert reader.read()
    with pytest.raises(JournalError, match="ends in half a line that this segment does not know of"):
        reader.read()
    reader.close()


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    lane = write(tmp_path, 30, segment_bytes=10_000)
    compress(tmp_path / lane / "000001.jsonl")
    packed = tmp_path / lane / "000001.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(JournalError, match=r"000001\.jsonl\.gz: cannot be decompressed"):
        read_lane(tmp_path, lane)


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    lane = write(tmp_path, 1)
    with (tmp_path / lane / "000001.jsonl").open("ab") as file:
        file.write(b"x" * 600_000)
    reader = LaneReader(tmp_path, lane)
    assert len(reader.read()) == 4
    with pytest.raises(JournalError, match="000001.jsonl:5: longer than a line can be"):
        reader.read()
    reader.close()


def test_lanes_roles_and_first_lines(tmp_path: Path) -> None:
    assert lanes(tmp_path / "nothing") == []
    old = write(tmp_path, 1)
    new = write(tmp_path, 1)
    (tmp_path / "not-a-lane").mkdir()
    assert [(info.lane, info.closed) for info in lanes(tmp_path)] == [(lane, None) for lane in sorted((old, new))]
    assert role_of(tmp_path / old) == "worker"
    first = first_line(tmp_path / old)
    assert first is not None
    assert first.header.kind == "lane_opened"
    (tmp_path / old / "closed").write_text("{")
    with pytest.raises(JournalError, match="closed"):
        lanes(tmp_path)


def test_a_lane_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    reader = LaneReader(tmp_path, "01900000-0000-7000-8000-000000000000")
    assert reader.read() == []
    reader.close()


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    lane = write(tmp_path, 100, segment_bytes=10_000)
    compress(tmp_path / lane / "000002.jsonl")
    before = len(os.listdir("/proc/self/fd"))
    for after in (0, 50, 100):
        read_lane(tmp_path, lane, after)
    assert len(os.listdir("/proc/self/fd")) == before
    assert segment_path(tmp_path / lane, 2) == tmp_path / lane / "000002.jsonl.gz"
