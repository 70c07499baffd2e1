"""What an auditor is told: a good journal passes, and any altered byte is named by file and line."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatehouse.journal.files import CLOSED
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import LaneClosed, OpenCall, SegmentDeleted
from gatehouse.journal.retention import compress
from gatehouse.journal.verify import Report, verify
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import (
    Told,
    calls_of,
    decision,
    journal,
    outcome,
    read_all,
    read_lane,
    recover,
    refusal,
    turn,
)
from tests.journal.test_recovery import control, dead_worker, die


def house(directory: Path, calls: int = 12, *, segment_bytes: int = 8_000) -> tuple[str, str]:
    """A worker lane of some segments and the control lane that closed it: their ids."""

    async def run() -> str:
        told = Told()
        async with journal(directory, segment_bytes=segment_bytes) as writer:
            for n in range(calls):
                writer.decide(f"t{n % 2}", decision(f"c{n}"), told(str(n)))
                await turn(1)
                if n % 3:
                    writer.conclude(f"t{n % 2}", outcome(f"c{n}"))
            writer.refuse("t0", refusal("r"), authenticated=True)
            die_later = writer.lane
            await turn(1)
            if calls % 3 == 0:
                die(writer)
            return die_later

    worker = asyncio.run(run())
    control(directory)
    (ours,) = [path.name for path in directory.iterdir() if path.name != worker]
    return worker, ours


def test_a_good_journal_passes_with_its_counts(tmp_path: Path) -> None:
    worker, ours = house(tmp_path)
    lines = read_all(tmp_path)
    report = verify(tmp_path)
    assert report == Report(
        ok=True,
        first_bad=None,
        lanes=2,
        segments=len(list(tmp_path.glob("*/*.jsonl"))),
        lines=len(lines),
        calls=13,
        open_calls=0,
    )
    alone = verify(tmp_path / worker)
    assert (alone.ok, alone.calls, alone.open_calls) == (True, 13, 4), "control's lane has the other outcomes"
    assert verify(tmp_path / ours).ok
    for path in (tmp_path / worker).glob("*.jsonl"):
        assert verify(path).ok
    with pytest.raises(JournalError, match="not a segment"):
        verify(tmp_path / worker / "lock")
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nothing")
    with pytest.raises(JournalError, match="neither a journal nor a lane"):
        verify(tmp_path.parent)


def test_an_empty_directory_is_an_empty_journal(tmp_path: Path) -> None:
    assert verify(tmp_path) == Report(ok=True, first_bad=None)


def test_any_altered_byte_is_found_and_named(tmp_path: Path) -> None:
    """A middle line byte for byte, and a sample of all others; the newest line of all may be torn."""
    worker, ours = house(tmp_path, 6, segment_bytes=4_000)
    rng = random.Random(1)
    for path in sorted(tmp_path.glob("*/*.jsonl")):
        data = path.read_bytes()
        starts = [0, *(index + 1 for index, byte in enumerate(data[:-1]) if byte == 10)]
        everywhere = range(starts[1], starts[2]) if path.parts[-2:] == (worker, "000001.jsonl") else range(0)
        last_line = starts[-1] if path.parent.name == ours else len(data)
        for at in sorted({*everywhere, *rng.sample(range(len(data)), 30), *(start - 1 for start in starts[1:])}):
            if at == len(data) - 1 and at >= last_line:
                continue  # The newline of the newest line of all: half a line.
            for byte in {rng.choice((data[at] ^ 1, 10, rng.randrange(256)))} - {data[at]}:
                path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
                report = verify(tmp_path)
                line = data.count(b"\n", 0, at) + 1
                assert not report.ok, (path.name, at, byte)
                assert report.first_bad is not None
                file, number, _ = report.first_bad.split(":", 2)
                # A newline that is gone joins two lines; one at a segment's end is missed by the next segment.
                assert file == str(path) or data[at] == 10, report.first_bad
                assert int(number) == line or data[at] == 10, report.first_bad
        path.write_bytes(data)
    assert verify(tmp_path).ok


@pytest.mark.parametrize("what", ["first", "middle", "last", "swap", "double"])
def test_lines_removed_or_moved_are_found(tmp_path: Path, what: str) -> None:
    worker, _ = house(tmp_path)
    path = tmp_path / worker / "000002.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "first": lines[1:],
        "middle": lines[:3] + lines[4:],
        "last": lines[:-1],
        "swap": [lines[0], lines[2], lines[1], *lines[3:]],
        "double": [*lines[:2], lines[1], *lines[2:]],
    }[what]
    path.write_bytes(b"".join(changed))
    report = verify(tmp_path)
    assert report.first_bad is not None
    assert worker in report.first_bad


def test_the_newest_lines_of_a_closed_lane_cannot_be_cut_off(tmp_path: Path) -> None:
    """Control's word on how a lane ended stands in another lane."""
    worker, ours = house(tmp_path)
    path = sorted((tmp_path / worker).glob("*.jsonl"))[-1]
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert f"{path}:{len(lines) - 1}: the lane ends with line" in bad
    assert ours in bad
    path.write_bytes(data + b'{"header":')
    assert "bytes behind the end of the lane" in str(verify(tmp_path).first_bad)
    path.write_bytes(data)
    shutil.move(tmp_path / worker, tmp_path / "elsewhere")
    assert f"lane {worker} is missing" in str(verify(tmp_path).first_bad)


def test_lines_behind_a_lane_s_own_end_are_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with journal(tmp_path) as writer:
            writer.append("lane_closed", LaneClosed(writer.lane, *writer.head, clean=True))

    asyncio.run(run())
    assert "000001.jsonl:3: a line behind the lane's `lane_closed`" in str(verify(tmp_path).first_bad)


def test_a_lane_that_ends_elsewhere_than_its_last_line_says(tmp_path: Path) -> None:
    async def run() -> None:
        async with journal(tmp_path) as writer:
            writer.append("lane_closed", LaneClosed(writer.lane, 7, "0" * 64, clean=True))

    asyncio.run(run())
    assert "000001.jsonl:2: says that line 7 with hash 0" in str(verify(tmp_path).first_bad)


@pytest.mark.parametrize("listed", [[], ["a", "x"]])
def test_a_segment_that_lists_other_open_calls_is_found(tmp_path: Path, listed: list[str]) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as writer:
            writer.decide("t", decision("a"), told("a"))
            await turn()
            writer._lane.rotate([OpenCall(call, "t", "default") for call in listed], 0)
            writer.conclude("t", outcome("a"))

    asyncio.run(run())
    bad = str(verify(tmp_path).first_bad)
    assert f"000002.jsonl:1: lists call {'x' if listed else 'a'} as open, or leaves it out" in bad


def test_an_erased_body_still_verifies(tmp_path: Path) -> None:
    """A body can be erased, salt and all, and the chain holds."""
    worker, _ = house(tmp_path)
    for path in (tmp_path / worker).glob("*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(
            b"".join(
                line[: line.index(b',"salt":')] + b"}\n" if b'"call":"c1"' in line or b'"call":"c3"' in line else line
                for line in lines
            )
        )
    report = verify(tmp_path)
    assert report.first_bad is None
    assert report.erased >= 3
    assert [line.body for line in read_all(tmp_path) if line.body is None] == [None] * report.erased
    path = tmp_path / worker / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"}\n', b'","salt":""}\n', 1))
    assert not verify(tmp_path).ok


def test_a_second_outcome_is_found(tmp_path: Path) -> None:
    """I2: exactly one, in the lane itself or in control's."""

    async def run(record: str, twice: bool) -> None:
        async with journal(tmp_path, "control") as writer:
            for _ in range(1 + twice):
                writer.append("outcome", outcome(record), "t0")

    house(tmp_path)
    asyncio.run(run("c1", False))
    assert "an outcome for call c1, which no lane has open" in str(verify(tmp_path).first_bad)
    asyncio.run(run("c3", False))
    assert "a second outcome for call c3" in str(verify(tmp_path).first_bad)


def test_a_second_outcome_in_the_same_lane_is_found(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as writer:
            writer.decide("t", decision("a"), told("a"))
            writer.conclude("t", outcome("a"))
            writer.append("outcome", outcome("a"), "t")

    asyncio.run(run())
    assert "000001.jsonl:4: an outcome for call a, which is not open in this lane" in str(verify(tmp_path).first_bad)


def bury(directory: Path, worker: str, count: int, **wrong: object) -> None:
    """Delete the first segments of a lane with tombstones in a new control lane."""

    async def run() -> None:
        async with journal(directory, "control") as writer:
            for path in sorted((directory / worker).glob("*.jsonl"))[:count]:
                lines = [line for line in read_lane(directory, worker) if line.file == str(path)]
                stone = SegmentDeleted(
                    worker, path.name, lines[0].seq, lines[-1].seq, lines[-1].hash, path.stat().st_size, "keep_days"
                )
                writer.append("segment_deleted", msgspec.structs.replace(stone, **wrong))
        for path in sorted((directory / worker).glob("*.jsonl"))[:count]:
            path.unlink()

    asyncio.run(run())


def test_a_gap_needs_its_tombstone(tmp_path: Path) -> None:
    worker, _ = house(tmp_path, 24)
    deleted = len(read_lane(tmp_path, worker))
    shutil.copytree(tmp_path, tmp_path.with_name("bare"))
    first = sorted((tmp_path.with_name("bare") / worker).glob("*.jsonl"))[0]
    first.unlink()
    assert "are missing before this one, and no tombstone covers them" in str(
        verify(tmp_path.with_name("bare")).first_bad
    )
    bury(tmp_path, worker, 2)
    deleted -= len(read_lane(tmp_path, worker))
    report = verify(tmp_path)
    assert (report.first_bad, report.deleted, report.open_calls) == (None, deleted, 0)
    assert verify(tmp_path / worker).ok, "a lane alone may begin anywhere"
    (tmp_path / worker / "000004.jsonl").unlink()
    assert not verify(tmp_path).ok
    assert not verify(tmp_path / worker).ok


@pytest.mark.parametrize("wrong", [{"last_hash": "0" * 64}, {"first_seq": 2}, {"lane": "x"}, {"last_seq": 3}])
def test_a_tombstone_that_says_something_else_does_not_cover(tmp_path: Path, wrong: dict[str, object]) -> None:
    worker, _ = house(tmp_path)
    bury(tmp_path, worker, 1, **wrong)
    assert not verify(tmp_path).ok


def test_a_lane_deleted_whole_is_covered_by_its_tombstones(tmp_path: Path) -> None:
    worker, _ = house(tmp_path)
    bury(tmp_path, worker, 100)
    assert verify(tmp_path).first_bad is None
    shutil.rmtree(tmp_path / worker)
    report = verify(tmp_path)
    assert (report.first_bad, report.lanes) == (None, 2)


def unpacked(data: bytes) -> bytes | None:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


def test_compressed_segments_verify_and_their_altered_bytes_are_found(tmp_path: Path) -> None:
    worker, _ = house(tmp_path)
    for path in sorted((tmp_path / worker).glob("*.jsonl"))[:-1]:
        compress(path)
    assert verify(tmp_path).ok
    path = tmp_path / worker / "000001.jsonl.gz"
    data = path.read_bytes()
    for at in random.Random(2).sample(range(10, len(data)), 100):  # the gzip header says nothing about the lines
        altered = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        if unpacked(altered) == gzip.decompress(data):
            continue  # bits of a deflate stream that mean nothing
        path.write_bytes(altered)
        report = verify(tmp_path)
        assert not report.ok
        assert str(path) in str(report.first_bad)


def test_a_journal_that_is_being_written_verifies(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=8_000) as writer, journal(tmp_path, "control") as ours:
            for n in range(40):
                writer.decide("t", decision(str(n)), told(str(n)))
                await turn(1)
                recover(tmp_path, ours)
                report = verify(tmp_path)
                assert (report.first_bad, report.open_calls) == (None, 1)
                writer.conclude("t", outcome(str(n)))
                await turn(1)

    asyncio.run(run())


def test_half_a_line_at_a_living_end_is_reported_not_complained_of(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path)
    path = tmp_path / lane / "000001.jsonl"
    lines = path.read_bytes().count(b"\n")
    with path.open("ab") as file:
        file.write(b'{"header":{')
    report = verify(tmp_path)
    assert (report.ok, report.torn) == (True, (f"{path}:{lines + 1}",))
    assert verify(path).torn == report.torn
    assert not (tmp_path / lane / CLOSED).exists(), "verify writes nothing"


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["decide", "conclude", "refuse", "turn", "sweep"]), st.integers(0, 5)), max_size=80
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, segment_bytes=st.sampled_from([2_000, 6_000, 1_000_000]), killed=st.booleans())
def test_any_interleaving_verifies(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]], segment_bytes: int, killed: bool
) -> None:
    """I2 over tenants, rotations and both ends of a process."""
    directory = tmp_path_factory.mktemp("journal")
    done = asyncio.run(play(directory, actions, segment_bytes, killed=killed))
    control(directory)
    lines = read_all(directory)
    decided = calls_of(lines, "decision")
    assert sorted(decided) == sorted(calls_of(lines, "outcome"))
    assert done <= set(decided)
    report = verify(directory)
    assert (report.first_bad, report.open_calls) == (None, 0)


async def play(directory: Path, actions: list[tuple[str, int]], segment_bytes: int, *, killed: bool) -> set[str]:
    told = Told()
    async with journal(directory, segment_bytes=segment_bytes) as writer:
        made, running = 0, list[str]()
        for action, number in actions:
            made += 1
            if action == "decide":
                running.append(f"{made}")
                writer.decide(f"t{made % 3}", decision(f"{made}"), told(f"{made}"))
            elif action == "conclude" and running:
                _conclude(writer, running.pop(number % len(running)))
            elif action == "refuse":
                writer.refuse(f"t{number}", refusal(f"r{made}"), authenticated=number > 2)
            elif action == "sweep":
                writer.sweep()
            else:
                await turn(1)
        if killed:
            stood = told.stood
            await turn(1) if len(actions) % 2 else None
            die(writer)
            return stood
        for call in running:
            _conclude(writer, call)
    return told.stood


def _conclude(writer: JournalWriter, call: str) -> None:
    writer.conclude(f"t{int(call) % 3}", outcome(call))
