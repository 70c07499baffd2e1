"""The reading side of the collector: all lanes of a journal, from where the store's marks say.

Rules: blocking file I/O, so never on an event loop that serves. A lane whose chain does not hold is stopped, loudly,
and the others go on. A lane that has ended and is read to its end costs nothing more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gatehouse.collector.state import StoppedLane
from gatehouse.journal.chain import read_line
from gatehouse.journal.files import lane_names, segment_numbers, segment_path
from gatehouse.journal.lines import MAX_WRITE, JournalError
from gatehouse.journal.reader import MAX_BYTES, LaneReader, Line, lanes
from gatehouse.polite import SLICE, give_way
from gatehouse.store.rows import Mark

_log = logging.getLogger(__name__)


class Lanes:
    """Positions in all lanes. `resume` first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._handed: dict[str, tuple[int, str | None]] = {}
        """Sequence number and hash of the last line given out, by lane."""
        self._readers: dict[str, LaneReader] = {}
        self._finished: set[str] = set()
        self._stopped: dict[str, StoppedLane] = {}
        self._failing: dict[str, str] = {}

    @property
    def stopped(self) -> tuple[StoppedLane, ...]:
        """Lanes that are not read any further."""
        return tuple(self._stopped.values())

    @property
    def failing(self) -> str | None:
        """What the system said of lanes that could not be read just now."""
        return "; ".join(self._failing.values()) or None

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Go on behind these lines, whatever was read before."""
        self.close()
        self._handed = {lane: (mark.seq, mark.hash) for lane, mark in marks.items()}

    def read(self, max_lines: int) -> tuple[list[Line], bool]:
        """The next lines of every lane, about so many, each lane's in order; and whether there may be more at once.

        Raises `OSError` where the journal's directory cannot be read; a lane that cannot is tried again next time.
        """
        names = [name for name in lane_names(self._directory) if name not in self._finished]
        share = max(1, max_lines // max(1, len(names)))
        found: list[Line] = []
        more = False
        self._failing.clear()
        for name in names:
            lines = [] if name in self._stopped else self._read(name, share)
            more = more or len(lines) >= share
            found += lines
        return found, more

    def retire(self) -> None:
        """Let go of lanes that have ended and are read to their end. Raises `OSError`."""
        try:
            known = lanes(self._directory)
        except JournalError as error:
            _log.error("collector: %s", error)
            return
        for info in known:
            if info.closed is not None and self._handed.get(info.lane, _NONE)[0] >= info.closed.seq:
                self._finished.add(info.lane)
                self._let_go(info.lane)

    def behind(self, marks: Mapping[str, Mark]) -> int:
        """Lines that stand in the journal behind these marks. Raises `OSError`."""
        total = 0
        for name in lane_names(self._directory):
            if name in self._finished:
                continue
            mark = marks.get(name)
            with contextlib.suppress(FileNotFoundError):  # compressed or deleted meanwhile
                total += max(0, _last_seq(self._directory / name) - (mark.seq if mark else 0))
        return total

    def close(self) -> None:
        """Give all files back, and forget what was seen."""
        for name in list(self._readers):
            self._let_go(name)
        self._finished.clear()
        self._stopped.clear()
        self._failing.clear()

    def _read(self, name: str, max_lines: int) -> list[Line]:
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = LaneReader(self._directory, name, *self._handed.get(name, _NONE))
        found: list[Line] = []
        size = 0
        try:
            # Up to the end, or to what does not hold there: both show only when asked once more.
            while (
                (left := min(SLICE, max_lines - len(found))) > 0 and size < MAX_BYTES and (lines := reader.read(left))
            ):
                give_way()
                found += lines
                size += sum(len(line.body or b"") for line in lines)
        except JournalError as error:
            self._stopped[name] = StoppedLane(name, reader.seq, str(error))
            _log.error("collector: lane %s is collected up to line %d and not further: %s", name, reader.seq, error)
        except OSError as error:
            # The reader may have gone further than what we have in hand: the next one starts behind what we gave out.
            self._failing[name] = f"lane {name}: {error}"
            self._let_go(name)
            return []
        if found:
            self._handed[name] = (found[-1].seq, found[-1].hash)
        return found

    def _let_go(self, name: str) -> None:
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.close()


_NONE: Final = (0, None)


def _last_seq(lane: Path) -> int:
    """The last whole line of a lane; 0 if that cannot be told."""
    for number in reversed(segment_numbers(lane)):
        path = segment_path(lane, number)
        if path is None or path.suffix == ".gz":
            continue
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 2 * MAX_WRITE))
            lines = file.read().split(b"\n")
        for line in reversed(lines[:-1]):
            try:
                return read_line(line).header.seq
            except JournalError:
                return 0
    return 0
