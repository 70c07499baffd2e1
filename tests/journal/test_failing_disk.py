"""I2 and I7 on disks that fail: nothing is forwarded that is not on record, and no outcome is lost.

Faults come from a file seam that stands beside the system's, from a full tmpfs and from RLIMIT_FSIZE.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse.config.paths import write_private
from gatehouse.config.settings import Journal
from gatehouse.errors import JOURNAL_FULL, OVERLOADED
from gatehouse.journal.segment import RESERVE
from gatehouse.journal.verify import verify
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import (
    FaultyFiles,
    Told,
    body,
    calls_of,
    check,
    decision,
    journal,
    outcome,
    read_all,
    read_lane,
    refusal,
    state,
    turn,
    until,
)


async def concluded(writer: JournalWriter) -> None:
    """Sweep until every outcome is on disk."""
    for _ in range(400):
        if not writer.open_calls:
            return
        writer.sweep()
        await asyncio.sleep(0.005)
    raise AssertionError(f"{writer.open_calls} calls are still open: {writer.reason}")


@pytest.mark.parametrize("taken", [0, 1, 500, 1030, 1500, 2200, 3000, 3500])
@pytest.mark.parametrize("truncates", [True, False])
def test_a_short_write_keeps_whole_lines_and_cuts_the_rest(tmp_path: Path, taken: int, truncates: bool) -> None:
    """I2: lines that a reader may have seen stay; calls of the others are told, and forwarded nowhere."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            writer.decide("default", decision("early"), told("early"))
            await turn()
            files.short, files.write_error = taken, errno.EIO
            files.truncate_error = None if truncates else errno.EIO
            for call in ("a", "b", "c"):
                writer.decide(call, decision(call), told(call))
            writer.conclude("default", outcome("early"))
            await turn()
            assert state(writer) == "failing"
            assert len(told.stood) == 1 + files.shortened[:taken].count(b"\n")
            assert all(error is None or error.kind is OVERLOADED for error in told.answers.values())
            writer.decide("default", decision("later"), told("later"))
            assert "later" in told.failed, "at once"
            files.write_error = files.truncate_error = None
            for call in told.stood - {"early"}:
                writer.conclude(call, outcome(call))
            await concluded(writer)
            writer.sweep()
            assert state(writer) == "ok"
            writer.decide("default", decision("again"), told("again"))
            await turn()
            writer.conclude("default", outcome("again"))
            assert "again" in told.stood
        check(tmp_path, told, calls={"early", "a", "b", "c", "later", "again"})
        torn = [body(line).get("torn", False) for line in read_all(tmp_path) if line.kind == "segment"]
        assert torn == ([] if truncates else [True])

    asyncio.run(run())


def test_a_call_that_ends_before_its_decision_failed_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            files.write_error = errno.EIO
            writer.decide("default", decision("a"), told("a"))
            writer.conclude("default", outcome("a", outcome="client_gone"))
            writer.refuse("default", refusal("r"), authenticated=True)
            await turn()
            assert told.failed == {"a"}
            writer.refuse("default", refusal("a", "OVERLOADED"), authenticated=True)
            files.write_error = None
            writer.sweep()
            await turn()
            assert state(writer) == "ok"
        lines = read_all(tmp_path)
        assert calls_of(lines, "decision") == calls_of(lines, "outcome") == calls_of(lines, "call") == []
        counted = {body(line)["code"]: body(line)["count"] for line in lines if line.kind == "refused_many"}
        assert counted == {"UNAUTHORIZED": 1, "OVERLOADED": 1}, "never silence"

    asyncio.run(run())


def test_max_bytes_refuses_decisions_and_takes_outcomes(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, max_bytes=100_000) as writer:
            for n in range(200):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            assert state(writer) == "full"
            assert 50 < len(told.stood) < 150
            assert {error.kind for error in told.answers.values() if error} == {JOURNAL_FULL}
            assert "max_bytes" in (writer.reason or "")
            writer.refuse("default", refusal("r"), authenticated=True)
            for call in told.stood:
                writer.conclude("default", outcome(call))
            await turn()
            assert writer.open_calls == 0, "outcomes are written beyond the limit"
            assert writer.counters.decisions_failed == len(told.failed)
        check(tmp_path, told, calls={str(n) for n in range(200)})
        (summary,) = [body(line) for line in read_all(tmp_path) if line.kind == "refused_many"]
        assert summary["count"] == 1

    asyncio.run(run())


def test_a_full_journal_stays_full_though_its_disk_syncs(tmp_path: Path) -> None:
    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files, durability="disk", max_bytes=20_000) as writer:
            for n in range(40):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            await until(lambda: len(told.answers) == 40)
            syncs = files.syncs
            for call in told.stood:
                writer.conclude("default", outcome(call))
            await until(lambda: files.syncs > syncs and not files.unsynced)
            await turn()
            assert state(writer) == "full"
        check(tmp_path, told, calls={str(n) for n in range(40)})

    asyncio.run(run())


def test_room_that_comes_back_is_used(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        filler = tmp_path / "01900000-0000-7000-8000-000000000000"
        filler.mkdir()
        (filler / "000001.jsonl").write_bytes(b"x" * 100_000)
        async with journal(tmp_path, max_bytes=100_000) as writer:
            writer.decide("default", decision("a"), told("a"))
            await turn()
            assert told.failed == {"a"}
            (filler / "000001.jsonl").unlink()
            writer.sweep()
            await until(lambda: writer.total_bytes < 100_000)
            writer.sweep()
            assert state(writer) == "ok"
            writer.decide("default", decision("b"), told("b"))
            await turn()
            writer.conclude("default", outcome("b"))
            assert told.stood == {"b"}

    asyncio.run(run())


def test_the_reserve_file_lets_open_calls_end_on_a_full_disk(tmp_path: Path) -> None:
    """Where a filesystem cannot allocate ahead: 4 MiB of real bytes are given up for outcomes."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()

        class Disk(FaultyFiles):
            def write(self, fd: int, data: bytes, offset: int) -> int:
                used = sum(entry.stat().st_size for path in (tmp_path,) for entry in path.glob("*/*"))
                self.capacity = max(0, RESERVE + 300_000 - used)
                return super().write(fd, data, offset)

        files = Disk()
        async with journal(tmp_path, files=files) as writer:
            for n in range(400):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            assert state(writer) == "full"
            assert {error.kind for error in told.answers.values() if error} == {JOURNAL_FULL}
            assert 100 < len(told.stood) < 400
            for call in told.stood:
                writer.conclude("default", outcome(call))
            await concluded(writer)
        check(tmp_path, told, calls={str(n) for n in range(400)})

    asyncio.run(run())


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real filesystem of 8 MiB, or as many as the parameter says."""
    size = getattr(request, "param", 8)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
        timeout=10,
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=10)


def test_a_disk_that_is_really_full(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """I2: with room allocated ahead, outcomes are written although others have taken every byte. The log says so, once,
    and whoever starts now, which place has no room."""

    async def run() -> None:
        told = Told()
        async with journal(small_disk / "journal") as writer:
            for n in range(1000):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            assert len(told.stood) == 1000
            with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
                while True:
                    filler.write(b"x" * 4096)
            for n in range(1000, 4000):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            assert state(writer) == "full"
            assert "the disk that holds the journal is full" in (writer.reason or "")
            assert len(told.failed) > 1000
            for call in told.stood:
                writer.conclude("default", outcome(call))
            await turn(10)
            assert writer.open_calls == 0
            assert os.statvfs(small_disk).f_bavail == 0
            assert caplog.text.count(f"journal {small_disk / 'journal' / writer.lane}: the disk that holds") == 1
            with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/journal/"):
                JournalWriter(small_disk / "journal", "worker", Journal(), asyncio.get_running_loop()).open()
            with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/snapshot.bin'"):
                write_private(small_disk / "snapshot.bin", b"x" * 8192)
            (small_disk / "filler").unlink()
            writer.sweep()
            assert state(writer) == "ok"
        check(small_disk / "journal", told, calls={str(n) for n in range(4000)})

    asyncio.run(run())


@pytest.mark.parametrize("small_disk", [32], indirect=True)
def test_more_open_calls_than_the_reserve_could_close_widen_it(small_disk: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(small_disk / "journal", segment_bytes=5_000_000) as writer:
            for n in range(6000):
                writer.decide("default", decision(str(n)), told(str(n)))
                if n % 50 == 0:
                    writer.sweep()
                    await turn()
            await turn()
            await concluded_when_full(writer, told, small_disk)
        report = verify(small_disk / "journal")
        assert (report.first_bad, report.open_calls) == (None, 0)

    async def concluded_when_full(writer: JournalWriter, told: Told, disk: Path) -> None:
        with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(b"x" * 4096)
        for call in told.stood:
            writer.conclude("default", outcome(call, reason="r" * 800))
        await turn(100)
        assert writer.open_calls == 0
        assert writer.counters.write_errors == 0

    asyncio.run(run())


def test_a_file_size_limit_starts_new_segments(tmp_path: Path) -> None:
    """EFBIG (RLIMIT_FSIZE) in a child: the segment is left, the calls of the failed batch are told, and it goes on."""
    limit = 200_000
    done = subprocess.run(
        [sys.executable, "-m", "tests.journal.loaded_writer", str(tmp_path), "600"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    stood = {line for line in done.stdout.splitlines() if not line.startswith("!")}
    failed = {line[1:] for line in done.stdout.splitlines() if line.startswith("!")}
    assert failed
    assert len(stood) + len(failed) == 600
    lines = read_all(tmp_path)
    decided = set(calls_of(lines, "decision"))
    assert stood <= decided
    assert decided == set(calls_of(lines, "outcome"))
    report = verify(tmp_path)
    assert (report.first_bad, report.open_calls) == (None, 0)
    assert report.segments > 4
    assert max(path.stat().st_size for path in tmp_path.glob("*/*.jsonl")) <= limit


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_segment_that_is_taken_away_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, durability: str
) -> None:
    """I7: a cleaner that deletes files must not make the record vanish while calls go on."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path, durability=durability) as writer:
            writer.decide("default", decision("early"), told("early"))
            await until(lambda: "early" in told.stood)
            (tmp_path / writer.lane / "000001.jsonl").unlink()
            writer.sweep()
            assert state(writer) == "ok"
            writer.conclude("default", outcome("early"))
            writer.decide("default", decision("later"), told("later"))
            await until(lambda: "later" in told.stood)
            writer.conclude("default", outcome("later"))
            shutil.rmtree(tmp_path / writer.lane)
            writer.sweep()
            assert (state(writer), writer.lost) == ("failing", True)
            writer.decide("default", decision("never"), told("never"))
            assert "never" in told.failed
            (tmp_path / writer.lane).mkdir()
            for _ in range(500):
                writer.sweep()
                await asyncio.sleep(0.01)
                if state(writer) == "ok":
                    break
            assert state(writer) == "ok"
        assert [path.name for path in (tmp_path / writer.lane).glob("*.jsonl")] == ["000003.jsonl"]
        assert "no tombstone covers" in str(verify(tmp_path).first_bad)

    asyncio.run(run())
    assert "000001.jsonl was taken away" in caplog.text


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_segment_that_is_emptied_while_it_is_written_is_left(tmp_path: Path, durability: str) -> None:
    """I7: `logrotate` with `copytruncate`. What is written before that is noticed stands behind a hole."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path, durability=durability) as writer:
            writer.decide("default", decision("early"), told("early"))
            await until(lambda: "early" in told.stood)
            writer.sweep()
            os.truncate(tmp_path / writer.lane / "000001.jsonl", 0)
            writer.conclude("default", outcome("early"))
            writer.decide("default", decision("between"), told("between"))
            await until(lambda: "between" in told.stood)
            writer.sweep()
            writer.conclude("default", outcome("between"))
        second = (tmp_path / writer.lane / "000002.jsonl").read_bytes()
        assert b'"between"' in second and second.count(b"\n") == 3
        assert "000001.jsonl" in str(verify(tmp_path).first_bad)

    asyncio.run(run())


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_segment_that_is_cut_off_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture, durability: str) -> None:
    """I7: behind the hole that writing on would leave, nobody could read what follows."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path, durability=durability) as writer:
            writer.decide("default", decision("early"), told("early"))
            await until(lambda: "early" in told.stood)
            segment = tmp_path / writer.lane / "000001.jsonl"
            whole = segment.read_bytes().rstrip(b"\0")
            os.truncate(segment, len(whole) - 100)
            writer.sweep()
            assert state(writer) == "ok"
            writer.conclude("default", outcome("early"))
            writer.decide("default", decision("later"), told("later"))
            await until(lambda: "later" in told.stood)
            writer.conclude("default", outcome("later"))
        assert segment.read_bytes() == whole[:-100]
        second = (tmp_path / writer.lane / "000002.jsonl").read_bytes().splitlines()
        assert [b'"later"' in line for line in second] == [False, False, True, True, False]
        said = str(verify(tmp_path).first_bad)
        assert "000002.jsonl:1: line 3 of the lane stands where line 2 belongs" in said

    asyncio.run(run())
    assert "000001.jsonl was cut off; the lines in it are lost" in caplog.text


def test_a_failed_sync_abandons_the_segment(tmp_path: Path) -> None:
    """After a failed fdatasync nothing in the segment is trusted: who waits is told, and a new one is begun."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files, durability="disk") as writer:
            writer.decide("default", decision("good"), told("good"))
            await until(lambda: "good" in told.answers)
            files.sync_error = errno.EIO
            for call in ("refused", "left"):
                writer.decide("default", decision(call), told(call))
            await until(lambda: len(told.answers) == 3)
            assert told.failed == {"refused", "left"}
            assert state(writer) == "failing"
            writer.refuse("default", refusal("refused", "OVERLOADED"), authenticated=True)
            writer.conclude("default", outcome("good"))
            writer.decide("default", decision("now"), told("now"))
            assert "now" in told.failed
            files.sync_error = None
            for _ in range(500):
                writer.sweep()
                await asyncio.sleep(0.01)
                if state(writer) == "ok" and not writer.open_calls:
                    break
            assert (state(writer), writer.open_calls) == ("ok", 0)
            assert writer.counters.rotations == 1
            lane = writer.lane
        check(tmp_path, told, calls={"good", "refused", "left", "now"})
        ends = {body(line)["call"]: body(line) for line in read_lane(tmp_path, lane) if line.kind == "outcome"}
        assert ends["refused"]["outcome"] == ends["left"]["outcome"] == "refused"
        assert (ends["refused"]["status"], ends["refused"]["code"]) == (401, "OVERLOADED")
        assert ends["left"]["reason"] == "the decision could not be made durable"

    asyncio.run(run())


def test_what_was_written_during_a_failing_sync_is_not_trusted_either(tmp_path: Path) -> None:
    async def run() -> None:
        files, told = FaultyFiles(), Told()
        files.sync_gate = threading.Event()
        files.sync_gate.set()
        async with journal(tmp_path, files=files, durability="disk") as writer:
            files.sync_gate.clear()
            writer.decide("default", decision("a"), told("a"))
            await until(lambda: files.syncs > 1)
            files.sync_error = errno.EIO
            writer.decide("default", decision("meanwhile"), told("meanwhile"))
            await turn()
            files.sync_gate.set()
            await until(lambda: len(told.answers) == 2)
            assert told.failed == {"a", "meanwhile"}
            files.sync_error = None
        check(tmp_path, told, calls={"a", "meanwhile"})

    asyncio.run(run())


def test_outcomes_wait_in_order_while_nothing_can_be_written(tmp_path: Path) -> None:
    """I2: an outcome is not lost while the process lives."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            for n in range(300):
                writer.decide("default", decision(str(n)), told(str(n)))
            await turn()
            files.write_error = errno.EIO
            for n in range(300):
                writer.conclude("default", outcome(str(n)))
                await turn(1)
            writes = files.writes
            for _ in range(10):
                writer.sweep()
                await turn()
            assert files.writes - writes <= 2, "not at every turn"
            assert writer.open_calls == 300
            files.write_error = None
            await asyncio.sleep(0.5)
            await concluded(writer)
        assert calls_of(read_all(tmp_path), "outcome") == [str(n) for n in range(300)]

    asyncio.run(run())


def test_what_cannot_be_written_at_the_end_is_left_to_recovery(tmp_path: Path) -> None:
    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            writer.decide("default", decision("a"), told("a"))
            await turn()
            files.write_error = errno.EIO
            writer.conclude("default", outcome("a"))
        report = verify(tmp_path)
        assert (report.ok, report.open_calls) == (True, 1)
        assert read_all(tmp_path)[-1].kind == "decision", "no last line that would say all is in order"

    asyncio.run(run())
