"""The writer on a healthy disk: group commit, one outcome per decision, refusals, rotation, both durabilities."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest
import uvloop

from gatehouse.config import settings
from gatehouse.errors import BAD_REQUEST, OVERLOADED, GatehouseError
from gatehouse.journal.files import directory_bytes, take_lock
from gatehouse.journal.lines import MAX_WRITE, JournalError
from gatehouse.journal.records import LaneOpened
from gatehouse.journal.verify import verify
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Capture
from gatehouse.ports import Journal
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
    refusal,
    turn,
    until,
)


def test_all_of_one_turn_is_one_write(tmp_path: Path) -> None:
    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            files.writes = 0
            port: Journal = writer
            for n in range(50):
                port.decide("default", decision(str(n)), told(str(n)))
            assert told.answers == {}, "I2: nobody is told before the write"
            await turn(1)
            assert files.writes == 1 + 16, "the reserve's 16 blocks, where nothing can be allocated ahead"
            assert len(told.stood) == 50
            for n in range(50):
                writer.conclude("default", outcome(str(n)))
            await turn(1)
            assert files.writes == 1 + 16, "outcomes alone wait until the answers of this turn are sent"
            await turn(1)
            assert files.writes == 2 + 16
            lane = writer.lane
        kinds = [line.kind for line in read_lane(tmp_path, lane)]
        assert kinds == ["lane_opened", *["decision"] * 50, *["outcome"] * 50, "lane_closed"]

    asyncio.run(run())


def test_a_write_is_never_larger_than_256_kib(tmp_path: Path) -> None:
    """Larger writes can be torn by SIGKILL."""

    async def run() -> None:
        sizes: list[int] = []

        class Sizes(FaultyFiles):
            def write(self, fd: int, data: bytes, offset: int) -> int:
                sizes.append(len(data))
                return super().write(fd, data, offset)

        told = Told()
        async with journal(tmp_path, files=Sizes()) as writer:
            for n in range(1500):
                writer.decide("default", decision(str(n), path="/x" * 500), told(str(n)))
            await turn(1)
            assert len(told.stood) == 1500
            assert max(sizes) <= MAX_WRITE
            assert len(sizes) > 10

    asyncio.run(run())


def test_a_second_outcome_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """I2: every decision gets exactly one outcome."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as writer:
            writer.decide("default", decision("a"), told("a"))
            writer.conclude("default", outcome("a"))
            writer.conclude("default", outcome("a", outcome="cut"))
            await turn()
            writer.conclude("default", outcome("a", outcome="cut"))
            writer.conclude("default", outcome("never decided"))
            assert writer.counters.stray_outcomes == 3
            assert writer.open_calls == 0
        assert calls_of(read_all(tmp_path), "outcome") == ["a"]

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(run())
    assert verify(tmp_path).ok


def test_a_callback_that_raises_does_not_silence_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        raised = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, __: raised.set())

        def bad(_: GatehouseError | None) -> None:
            raise RuntimeError("a bug in a caller")

        async with journal(tmp_path) as writer:
            writer.decide("default", decision("a"), told("a"))
            writer.decide("default", decision("b"), bad)
            writer.decide("default", decision("c"), told("c"))
            await turn()
            assert told.stood == {"a", "c"}
            assert raised.is_set()

    asyncio.run(run())


def test_what_cannot_be_recorded_is_refused_and_outcomes_are_fitted(tmp_path: Path) -> None:
    """I2: no call goes on without its decision; no outcome is lost to a strange string or number."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as writer:
            writer.decide("default", decision("huge", model="x" * MAX_WRITE), told("huge"))
            writer.decide("default", decision("odd", user_agent="\ud800"), told("odd"))
            assert {error.kind for error in told.answers.values() if error} == {BAD_REQUEST}
            for call, fields in (("a", {"model": "\udc80"}), ("b", {"cost": 2**70}), ("c", {"model": "x" * MAX_WRITE})):
                writer.decide("default", decision(call), told(call))
                writer.conclude("default", outcome(call, **fields))
            await turn()
            assert writer.open_calls == 0
        assert calls_of(read_all(tmp_path), "decision") == ["a", "b", "c"]
        assert calls_of(read_all(tmp_path), "outcome") == ["a", "b", "c"]

    asyncio.run(run())


def test_refusals_before_authentication_are_a_bounded_flood(tmp_path: Path) -> None:
    """10/s per code get a line, the rest one line together."""

    async def run() -> None:
        async with journal(tmp_path) as writer:
            for n in range(1000):
                writer.refuse("default", refusal(f"u{n}"), authenticated=False)
            for n in range(30):
                writer.refuse("default", refusal(f"a{n}", "RATE_LIMITED"), authenticated=True)
            await turn()
        lines = read_all(tmp_path)
        written = calls_of(lines, "call")
        assert [call for call in written if call[0] == "a"] == [f"a{n}" for n in range(30)]
        alone = [call for call in written if call[0] == "u"]
        (summary,) = [body(line) for line in lines if line.kind == "refused_many"]
        assert len(alone) in (10, 20)  # 20 if a second ended meanwhile
        assert (summary["code"], summary["count"]) == ("UNAUTHORIZED", 1000 - len(alone))

    asyncio.run(run())


def test_rotation_names_the_open_calls(tmp_path: Path) -> None:
    """A segment's first line is enough for recovery."""

    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=20_000) as writer:
            for n in range(100):
                writer.decide(f"t{n % 3}", decision(str(n), f"p{n % 2}"), told(str(n)))
                if n >= 10:
                    writer.conclude(f"t{(n - 10) % 3}", outcome(str(n - 10)))
                await turn()
            lane = writer.lane
            assert writer.counters.rotations >= 5
            assert writer.open_calls == 10
            for n in range(90, 100):
                writer.conclude(f"t{n % 3}", outcome(str(n)))
        lines = read_lane(tmp_path, lane)
        opened = [line for line in lines if line.kind == "segment"]
        assert [line.line_no for line in opened] == [1] * len(opened)
        for line in opened:
            said = body(line)
            before = [earlier for earlier in lines if earlier.seq < line.seq]
            still = set(calls_of(before, "decision")) - set(calls_of(before, "outcome"))
            assert {call["call"] for call in said["open"]} == still
            assert {(call["tenant"], call["project"]) for call in said["open"]} == {
                (f"t{int(call) % 3}", f"p{int(call) % 2}") for call in still
            }
            assert said["hash"] == line.prev
        assert verify(tmp_path).ok

    asyncio.run(run())


def test_thousands_of_open_calls_take_several_lines(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, segment_bytes=2_000_000) as writer:
            for n in range(4000):
                writer.decide("default", decision(f"{n:036d}"), told(str(n)))
                if n % 100 == 0:
                    await turn()
            await turn()
            assert writer.counters.rotations >= 1
            for n in range(4000):
                writer.conclude("default", outcome(f"{n:036d}"))
            await turn()
        lines = read_all(tmp_path)
        parts = [body(line) for line in lines if line.kind == "segment"]
        assert max(part["parts"] for part in parts if "parts" in part) >= 2
        report = verify(tmp_path)
        assert (report.first_bad, report.calls, report.open_calls) == (None, 4000, 0)

    asyncio.run(run())


def test_a_segment_is_closed_at_its_age_but_not_an_empty_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with journal(tmp_path, segment_seconds=0.001) as writer:
            await asyncio.sleep(0.01)
            writer.sweep()
            assert writer.counters.rotations == 0
            writer.append("lane_opened", LaneOpened("other", "worker", 1, "0", "process"))
            await asyncio.sleep(0.01)
            writer.sweep()
            writer.sweep()
            assert writer.counters.rotations == 1

    asyncio.run(run())


def test_a_lane_is_locked_private_and_closed_in_order(tmp_path: Path) -> None:
    async def run() -> str:
        async with journal(tmp_path / "journal") as writer:
            path = tmp_path / "journal" / writer.lane
            assert take_lock(path) is None
            assert path.stat().st_mode & 0o777 == 0o700
            assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}
            assert body(read_lane(tmp_path / "journal", writer.lane)[0])["role"] == "worker"
            head = writer.head
            writer.sweep()
            return f"{writer.lane} {head[0]} {head[1]}"

    lane, seq, digest = asyncio.run(run()).split()
    last = read_lane(tmp_path / "journal", lane)[-1]
    assert body(last) == {"lane": lane, "seq": int(seq), "hash": digest, "clean": True}
    lock = take_lock(tmp_path / "journal" / lane)
    assert lock is not None
    os.close(lock)
    blocks = (tmp_path / "journal" / lane / "000001.jsonl").stat().st_blocks * 512
    assert blocks < 64 * 1024, "blocks allocated ahead are given back"


def test_after_close_nothing_is_decided(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path) as writer:
            pass
        writer.decide("default", decision("late"), told("late"))
        error = told.answers["late"]
        assert error is not None
        assert error.kind is OVERLOADED
        writer.close()
        writer.sweep()

    asyncio.run(run())


def test_disk_durability_tells_after_the_sync(tmp_path: Path) -> None:
    """I2 with `durability: disk`: grouped, off the loop, and not before."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        files.sync_gate = threading.Event()
        files.sync_gate.set()
        async with journal(tmp_path, files=files, durability="disk") as writer:
            files.sync_gate.clear()
            files.syncs = 0
            for n in range(40):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
            assert told.answers == {}, "the loop goes on while the disk works, and nobody is told"
            files.sync_gate.set()
            await until(lambda: len(told.stood) == 40)
            assert files.syncs == 2, "one for the first, one for all that came meanwhile"
        assert not files.unsynced, "the lane's last line too"

    uvloop.run(run())


def test_disk_durability_over_rotations(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told()
        async with journal(tmp_path, durability="disk", segment_bytes=5_000) as writer:
            for n in range(100):
                writer.decide("default", decision(str(n)), told(str(n)))
                await turn()
                writer.conclude("default", outcome(str(n)))
            assert writer.counters.rotations > 10
        assert len(told.stood) == 100

    asyncio.run(run())
    report = verify(tmp_path)
    assert (report.first_bad, report.calls, report.open_calls) == (None, 100, 0)


def test_captured_parts_stand_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with journal(tmp_path) as writer:
            writer.capture("default", [Capture("c", "p", "request", n, n == 2, "x" * 100_000) for n in range(3)])
            with pytest.raises(ValueError, match="longer than"):
                writer.capture("default", [Capture("c", "p", "request", 3, True, "x" * MAX_WRITE)])
            await turn()
        parts = [body(line)["part"] for line in read_all(tmp_path) if line.kind == "capture"]
        assert parts == [0, 1, 2]

    asyncio.run(run())


def test_flush_writes_now_and_own_lines_are_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        done: list[GatehouseError | None] = []
        async with journal(tmp_path, "control") as writer:
            before = writer.head[0]
            line = LaneOpened("other", "worker", 1, "0", "process")
            writer.append("lane_opened", line, written=done.append)
            writer.flush()
            assert done == [None]
            assert writer.head[0] == before + 1
            with pytest.raises(JournalError, match="wait for the disk"):
                for _ in range(20_000):
                    writer.append("lane_opened", line)

    asyncio.run(run())


def test_a_directory_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(OSError, match="file"):
            JournalWriter(tmp_path / "file" / "journal", "worker", settings.Journal(), loop).open()
    finally:
        loop.close()


def test_the_whole_journal_is_measured_off_the_loop(tmp_path: Path) -> None:
    async def run() -> None:
        async with journal(tmp_path) as other, journal(tmp_path) as writer:
            told = Told()
            for n in range(200):
                other.decide("default", decision(str(n)), told(str(n)))
            await turn()
            alone = writer.total_bytes
            writer.sweep()
            await until(lambda: writer.total_bytes > alone)
            assert writer.total_bytes == directory_bytes(tmp_path)
            for n in range(200):
                other.conclude("default", outcome(str(n)))

    asyncio.run(run())
