"""I2: `kill -9` loses no outcome, and recovery, killed itself at any point, writes none twice."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from gatehouse.config import settings
from gatehouse.journal.files import CLOSED, RESERVE_FILE, take_lock
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import lanes
from gatehouse.journal.recovery import Recovery, RecoveryReport
from gatehouse.journal.segment import RESERVE
from gatehouse.journal.verify import verify
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import (
    FaultyFiles,
    Told,
    body,
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


def die(writer: JournalWriter) -> None:
    """What SIGKILL leaves: the lock is free, nothing more is written."""
    os.close(writer._lane._lock)
    writer._lane._lock = -1
    os.close(writer._lane.segment.fd)
    writer._running = False


def dead_worker(directory: Path, calls: int = 6, *, ended: int = 3, **options: int) -> str:
    """A lane whose process was killed with calls open: its id."""

    async def run() -> str:
        told = Told()
        writer = JournalWriter(
            directory, "worker", settings.Journal(**options), asyncio.get_running_loop()  # type: ignore[arg-type]
        )  # fmt: skip
        writer.open()
        for n in range(calls):
            writer.decide(f"t{n % 2}", decision(f"{writer.lane}/{n}", f"p{n}"), told(str(n)))
            await turn(1)
        for n in range(ended):
            writer.conclude(f"t{n % 2}", outcome(f"{writer.lane}/{n}", f"p{n}"))
        writer.refuse("t0", refusal("r"), authenticated=True)
        await turn(1)
        die(writer)
        return writer.lane

    return asyncio.run(run())


def control(directory: Path, *, kill: bool = False) -> RecoveryReport:
    """A control process that recovers, and ends in order or is killed."""

    async def run() -> RecoveryReport:
        writer = JournalWriter(directory, "control", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        report = recover(directory, writer)
        if kill:
            die(writer)
        else:
            writer.close()
        return report

    return asyncio.run(run())


def assert_whole(directory: Path) -> None:
    """Every call has exactly one outcome and the journal holds."""
    lines = read_all(directory)
    assert Counter(calls_of(lines, "decision")) == Counter(calls_of(lines, "outcome"))
    report = verify(directory)
    assert (report.first_bad, report.open_calls, report.torn) == (None, 0, ())


def test_open_calls_of_a_dead_lane_are_interrupted(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path)
    assert verify(tmp_path).open_calls == 3
    report = control(tmp_path)
    assert (report.closed, report.interrupted, report.torn_bytes, report.broken) == ((lane,), 3, 0, ())
    assert_whole(tmp_path)
    info = next(info for info in lanes(tmp_path) if info.lane == lane)
    assert info.closed is not None
    last = read_lane(tmp_path, lane)[-1]
    assert (info.closed.seq, info.closed.hash, info.closed.clean) == (last.seq, last.hash, False)
    (mine,) = [info.lane for info in lanes(tmp_path) if info.lane != lane]
    ours = read_lane(tmp_path, mine)
    assert [line.kind for line in ours] == [
        "lane_opened", "lane_opened", "outcome", "outcome", "outcome", "lane_closed", "lane_closed",
    ]  # fmt: skip
    assert body(ours[1])["first"] == read_lane(tmp_path, lane)[0].hash
    for n, line in zip((3, 4, 5), ours[2:5], strict=True):
        said = body(line)
        assert (line.tenant, said["call"], said["project"]) == (f"t{n % 2}", f"{lane}/{n}", f"p{n}")
        assert said["outcome"] == "interrupted"


def test_what_a_dead_process_had_allocated_is_given_back(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path)
    path = tmp_path / lane / "000001.jsonl"
    (tmp_path / lane / RESERVE_FILE).write_bytes(b"")
    assert path.stat().st_blocks * 512 > RESERVE
    control(tmp_path)
    assert path.stat().st_blocks * 512 < 100_000
    assert not (tmp_path / lane / RESERVE_FILE).exists()


def test_recovery_again_does_nothing_more(tmp_path: Path) -> None:
    dead_worker(tmp_path)
    first = control(tmp_path, kill=True)
    second = control(tmp_path)
    third = control(tmp_path)
    assert (first.interrupted, second.interrupted, third.interrupted) == (3, 0, 0)
    assert (len(second.closed), len(third.closed)) == (1, 1), "each closes the control lane before it"
    assert_whole(tmp_path)


def test_lanes_of_living_processes_are_noted_and_left(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as worker, journal(tmp_path, "control") as writer:
            worker.decide("default", decision("a"), told("a"))
            await turn()
            recovery = Recovery(tmp_path, writer)
            for _ in range(3):
                recovery.examine()
                assert recovery.commit() == RecoveryReport()
            noted = [line for line in read_lane(tmp_path, writer.lane) if line.kind == "lane_opened"]
            assert [body(line)["lane"] for line in noted] == [writer.lane, worker.lane]
            die(worker)
            recovery.examine()
            assert recovery.commit().interrupted == 1
            recovery.examine()
            assert recovery.commit() == RecoveryReport()
        assert_whole(tmp_path)

    asyncio.run(run())


def test_a_lane_closed_in_order_is_recorded_as_clean(tmp_path: Path) -> None:
    async def run() -> str:
        async with journal(tmp_path) as writer:
            return writer.lane

    lane = asyncio.run(run())
    assert control(tmp_path).closed == (lane,)
    (info,) = [info for info in lanes(tmp_path) if info.lane == lane]
    assert info.closed is not None
    assert info.closed.clean
    assert_whole(tmp_path)


def test_recovery_reads_one_segment(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 200, ended=120, segment_bytes=20_000)
    segments = sorted((tmp_path / lane).glob("*.jsonl"))
    assert len(segments) > 5
    for path in segments[:-1]:
        path.write_bytes(b"unreadable")
    assert control(tmp_path).interrupted == 80


@pytest.mark.parametrize("kind", ["decision", "outcome"])
def test_a_torn_tail_is_set_aside_at_any_byte(tmp_path: Path, kind: str) -> None:
    """Truncated at any byte of its last line, a lane is closed at the line before."""
    lane = dead_worker(tmp_path / "whole", 2, ended=1 if kind == "outcome" else 0)
    path = Path(lane) / "000001.jsonl"
    data = (tmp_path / "whole" / path).read_bytes()
    lines = data.splitlines(keepends=True)[:-1]  # without the refusal
    kept, last = b"".join(lines[:-1]), lines[-1]
    for cut in range(0, len(last), 13):
        broken = tmp_path / f"at-{cut}"
        shutil.copytree(tmp_path / "whole", broken)
        (broken / path).write_bytes(kept + last[:cut])
        report = control(broken)
        assert (report.torn_bytes, report.broken) == (cut, ())
        assert report.interrupted == (2 if kind == "outcome" else 1)
        torn = broken / lane / "000001.torn"
        assert (torn.read_bytes() if cut else b"") == last[:cut]
        assert (broken / path).read_bytes() == kept
        assert_whole(broken)


def test_blocks_that_never_reached_the_disk_are_a_torn_tail(tmp_path: Path) -> None:
    """After a power cut, `durability: process` may find zeros where lines were."""
    lane = dead_worker(tmp_path)
    path = tmp_path / lane / "000001.jsonl"
    data = path.read_bytes()
    at = data.rindex(b"\n", 0, len(data) - 1) - 100
    path.write_bytes(data[:at] + b"\0" * 90 + data[at + 90 :])
    report = control(tmp_path)
    assert report.torn_bytes > 1000
    assert (tmp_path / lane / "000001.torn").exists()
    assert_whole(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 4096)
    (tmp_path / lane / CLOSED).unlink()
    (tmp_path / lane / "000001.torn").unlink()
    assert control(tmp_path).torn_bytes == 4096
    assert not (tmp_path / lane / "000001.torn").exists(), "zeros alone are nothing to keep"
    assert_whole(tmp_path)


def test_a_segment_of_which_nothing_reached_the_disk(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 60, ended=20, segment_bytes=20_000)
    segments = sorted((tmp_path / lane).glob("*.jsonl"))
    segments[-1].write_bytes(b"\0" * 100)
    report = control(tmp_path)
    assert not segments[-1].exists()
    assert report.broken == ()
    assert report.interrupted > 0
    assert_whole(tmp_path)


def test_an_altered_line_is_not_repaired(tmp_path: Path) -> None:
    """Only a torn tail is recovery's business: anything else is said, and the other lanes are closed."""
    bad, good = dead_worker(tmp_path), dead_worker(tmp_path)
    path = tmp_path / bad / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"seq":4', b'"seq":9', 1))
    report = control(tmp_path)
    assert report.closed == (good,)
    assert [text.split(": ", 1)[1] for text in report.broken] == ["the header does not match its hash"]
    assert f"{bad}/000001.jsonl:4" in report.broken[0]
    assert verify(tmp_path).first_bad == report.broken[0]


def test_a_broken_control_lane_defers_outcomes(tmp_path: Path) -> None:
    """Nobody can say then which outcomes exist: none is written twice rather than all at once."""
    dead_worker(tmp_path)
    control(tmp_path, kill=True)
    (first,) = [info.lane for info in lanes(tmp_path) if info.closed is None]
    path = tmp_path / first / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"interrupted", b"intErrupted", 1))
    worker = next(info.lane for info in lanes(tmp_path) if info.closed is not None)
    (tmp_path / worker / CLOSED).unlink()
    report = control(tmp_path)
    assert report.interrupted == 0
    assert report.closed == ()
    assert len(report.broken) == 2


def test_recovery_killed_at_any_point_writes_no_outcome_twice(tmp_path: Path) -> None:
    """Whatever prefix of control's lane survived, with or without the marks: the next run completes it, once."""
    workers = [dead_worker(tmp_path / "before", 5, ended=2), dead_worker(tmp_path / "before", 4, ended=4)]
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    control(tmp_path / "after", kill=True)
    (ours,) = [path.name for path in (tmp_path / "after").iterdir() if path.name not in workers]
    data = (tmp_path / "after" / ours / "000001.jsonl").read_bytes()
    ends = [index + 1 for index, byte in enumerate(data) if byte == 10]
    for cut in sorted({ends[0], *(end + extra for end in ends for extra in (0, 300) if end + extra < len(data))}):
        for marked in (0, 1, 2) if cut == ends[-1] else (0,):
            state = tmp_path / f"state-{cut}-{marked}"
            shutil.copytree(tmp_path / "before", state)
            (state / ours).mkdir()
            (state / ours / "lock").touch()
            (state / ours / "000001.jsonl").write_bytes(data[:cut])
            for lane in workers[:marked]:
                shutil.copy(tmp_path / "after" / lane / CLOSED, state / lane / CLOSED)
            control(state, kill=True)
            control(state)
            assert_whole(state)


def test_a_chain_of_killed_recoveries(tmp_path: Path) -> None:
    """Outcomes in a control lane that was itself closed long ago are still found."""
    lane = dead_worker(tmp_path)
    control(tmp_path, kill=True)
    (tmp_path / lane / CLOSED).unlink()
    for _ in range(3):
        control(tmp_path, kill=True)
        (tmp_path / lane / CLOSED).unlink()
    control(tmp_path)
    assert_whole(tmp_path)


def test_a_control_that_cannot_write_closes_nothing_and_tries_again(tmp_path: Path) -> None:
    lane = dead_worker(tmp_path, 30, ended=0)

    async def run() -> None:
        files = FaultyFiles()
        async with journal(tmp_path, "control", files=files) as writer:
            recovery = Recovery(tmp_path, writer)
            files.write_error = 5
            recovery.examine()
            with pytest.raises(JournalError, match="lines wait"):
                recovery.commit()
            assert not (tmp_path / lane / CLOSED).exists()
            lock = take_lock(tmp_path / lane)
            assert lock is not None, "locks are given back"
            os.close(lock)
            files.write_error = None
            recovery.examine()
            assert recovery.commit().closed == (lane,)
        assert_whole(tmp_path)

    asyncio.run(run())


def test_lanes_that_never_came_to_be_are_removed_when_old(tmp_path: Path) -> None:
    young = tmp_path / ".01900000-0000-7000-8000-000000000001"
    old = tmp_path / ".01900000-0000-7000-8000-000000000002"
    young.mkdir()
    old.mkdir()
    (old / "lock").touch()
    os.utime(old, (0, 0))
    control(tmp_path)
    assert young.exists()
    assert not old.exists()
