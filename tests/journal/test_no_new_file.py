"""No file can be begun: out of descriptors, or the directory is read-only. See docs/faults.md, "The machine"."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

import pytest

from gatehouse.errors import OVERLOADED
from gatehouse.journal.writer import JournalWriter
from tests.journal.samples import FaultyFiles, Told, check, decision, journal, outcome, state, turn

CALLS = 60


async def _calls(writer: JournalWriter, told: Told, first: int) -> None:
    for n in range(first, first + CALLS):
        writer.decide("default", decision(str(n)), told(str(n)))
        await turn()
        if str(n) in told.stood:
            writer.conclude("default", outcome(str(n)))


def _segments(directory: Path) -> int:
    return len(list(directory.glob("*/*.jsonl")))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EROFS])
def test_the_journal_goes_on_with_the_file_it_has(tmp_path: Path, number: int) -> None:
    """I2: what was to be rotated is not, and no call notices; once it can, it is."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        files.heal(ahead=True)
        async with journal(tmp_path, files=files, segment_bytes=15_000) as writer:
            files.create_error = number
            await _calls(writer, told, 0)
            assert (state(writer), len(told.stood), _segments(tmp_path)) == ("ok", CALLS, 1)
            files.heal(ahead=True)
            await asyncio.sleep(1.1)  # it does not try again at every write
            await _calls(writer, told, CALLS)
            assert (state(writer), len(told.stood)) == ("ok", 2 * CALLS)
            assert _segments(tmp_path) > 1
        check(tmp_path, told, calls={str(n) for n in range(2 * CALLS)})

    asyncio.run(run())


def test_a_read_only_disk_stops_calls_until_it_is_writable(tmp_path: Path) -> None:
    """I2, I7: none is forwarded, all are told why; open calls end on the record afterwards."""

    async def run() -> None:
        files, told = FaultyFiles(), Told()
        async with journal(tmp_path, files=files) as writer:
            writer.decide("default", decision("before"), told("before"))
            await turn()
            files.create_error = files.write_error = files.truncate_error = errno.EROFS
            await _calls(writer, told, 0)
            assert state(writer) == "failing"
            assert "Read-only file system" in (writer.reason or "")
            assert told.stood == {"before"}
            assert {error.kind for error in told.answers.values() if error} == {OVERLOADED}
            writer.conclude("default", outcome("before"))
            files.heal(ahead=False)
            deadline = time.monotonic() + 30
            while state(writer) != "ok":
                assert time.monotonic() < deadline
                writer.sweep()
                await asyncio.sleep(0.05)
            await _calls(writer, told, CALLS)
            assert len(told.stood) == 1 + CALLS
        check(tmp_path, told, calls={"before", *map(str, range(2 * CALLS))})

    asyncio.run(run())
