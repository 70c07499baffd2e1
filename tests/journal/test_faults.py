"""I2 under any sequence of faults: who was told yes is on record, and every record has one outcome."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.journal.reader import LaneReader
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import FaultyFiles, Told, check, decision, journal, outcome, read_lane, turn, until

ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["decide", "decide", "conclude", "turn", "turn", "read", "sweep", "heal"]),
            st.integers(0, 9),
        ),
        st.tuples(st.just("short"), st.integers(0, 4000)),
        st.tuples(st.just("capacity"), st.integers(0, 8000)),
        st.tuples(
            st.sampled_from(["write_error", "truncate_error", "allocate_error", "sync_error"]),
            st.sampled_from([errno.EIO, errno.ENOSPC, errno.EFBIG]),
        ),
    ),
    max_size=60,
)  # fmt: skip


class Play:
    """Calls that come and go on a disk that fails."""

    def __init__(self, directory: Path, writer: JournalWriter, files: FaultyFiles, told: Told, *, ahead: bool) -> None:
        self.writer = writer
        self.files = files
        self.told = told
        self.ahead = ahead
        self.ended: set[str] = set()
        self.reader = LaneReader(directory, writer.lane)
        self.seen: list[str] = []

    def act(self, step: int, action: str, number: int) -> None:
        if action == "decide":
            for part in range(number):
                call = f"{step}.{part}"
                self.writer.decide(f"t{part % 2}", decision(call), self.told(call))
        elif action == "conclude":
            self.conclude(number)
        elif action == "read":
            self.read()
        elif action == "sweep":
            self.writer.sweep()
        elif action == "heal":
            self.files.heal(ahead=self.ahead)
        elif action != "turn":
            setattr(self.files, action, number)
            if action == "short":
                self.files.write_error = self.files.write_error or errno.EIO

    def read(self) -> None:
        """A line that somebody has read is never taken back."""
        while lines := self.reader.read():
            self.seen += [line.hash for line in lines]

    def conclude(self, count: int | None = None) -> None:
        for call in sorted(self.told.stood - self.ended)[:count]:
            self.ended.add(call)
            self.writer.conclude(f"t{int(call[-1]) % 2}", outcome(call))


@settings(max_examples=150)
@given(actions=ACTIONS, durability=st.sampled_from(["process", "process", "disk"]), ahead=st.booleans())
def test_any_sequence_of_faults_leaves_the_truth(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]], durability: str, ahead: bool
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    told = asyncio.run(play(directory, actions, durability, ahead=ahead))
    check(directory, told, calls=told.asked)


async def play(directory: Path, actions: list[tuple[str, int]], durability: str, *, ahead: bool) -> Told:
    files, told = FaultyFiles(), Told()
    files.heal(ahead=ahead)
    async with journal(directory, files=files, durability=durability, segment_bytes=9_000) as writer:
        scene = Play(directory, writer, files, told, ahead=ahead)
        for step, (action, number) in enumerate(actions):
            scene.act(step, action, number)
            if action == "turn":
                await asyncio.sleep(0.002 if durability == "disk" else 0)
        files.heal(ahead=ahead)
        writer.flush()
        await turn()
        await until(lambda: len(told.answers) == len(told.asked))
        scene.conclude()
    scene.read()
    scene.reader.close()
    assert scene.seen == [line.hash for line in read_lane(directory, writer.lane)]
    return told
