"""Reads a lane as it grows, checking its chain on the way.

Rules: a line is given out once, in order, and only after the chain up to it holds; what does not hold is a
`JournalError` that names file and line. Reading goes on where it stopped (file and offset are remembered), follows
rotation, and does not care whether a segment is compressed under it. Blocking file I/O, no state outside the object.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from gatehouse.journal.chain import Checked, LaneCheck, decode_body, read_line
from gatehouse.journal.files import CLOSED, lane_names, segment_name, segment_numbers, segment_path
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import LaneClosed, SegmentOpened
from gatehouse.journal.source import Source, open_segment

MAX_LINES: Final = 2000
MAX_BYTES: Final = 8 * 1024 * 1024


class LaneInfo(msgspec.Struct, frozen=True):
    """A lane in a journal directory."""

    lane: str
    closed: LaneClosed | None
    """How it ended, if control has recorded that: whoever has read `closed.seq` lines has read all."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line, checked."""

    lane: str
    seq: int
    hash: str
    prev: str
    tenant: str
    """Empty for the journal's own lines."""
    tenant_seq: int
    time: str
    """RFC 3339, UTC, microseconds."""
    kind: str
    """A key of `records.BODIES`."""
    body: bytes | None
    """The body's JSON as written; `None` where it was erased."""
    file: str
    """Path of the segment."""
    line_no: int


def lanes(directory: Path) -> list[LaneInfo]:
    """The lanes of a journal directory, oldest first."""
    found = []
    for name in lane_names(directory):
        try:
            marker = (directory / name / CLOSED).read_bytes()
        except FileNotFoundError:
            marker = b""
        try:
            closed = msgspec.json.decode(marker, type=LaneClosed) if marker else None
        except msgspec.DecodeError as error:
            raise JournalError(f"{directory / name / CLOSED}: {error}") from error
        found.append(LaneInfo(name, closed))
    return found


class _Role(msgspec.Struct):
    role: str | None = None


def role_of(path: Path) -> str | None:
    """The role of a lane's process; the first line of each segment says it. Raises `JournalError`."""
    first = first_line(path)
    return decode_body(first.body, _Role).role if first is not None and first.body is not None else None


def first_line(path: Path) -> Checked | None:
    """The first line of a lane that is still there. Raises `JournalError`."""
    for number in segment_numbers(path):
        source = open_segment(path, number)
        if source is None:
            continue
        try:
            lines = source.lines()
            return read_line(lines[0]) if lines else None
        except JournalError as error:
            raise JournalError(f"{source.path}:1: {error}") from error
        finally:
            source.close()
    return None


class LaneReader:
    """A position in one lane."""

    def __init__(self, directory: Path, lane: str, after_seq: int = 0, after_hash: str | None = None) -> None:
        """Read from line `after_seq` + 1 on; 0: from the first line that is there.

        `after_hash`: the hash line `after_seq` must have. A mismatch is a `JournalError` of the first `read`.
        """
        self.lane = lane
        self._path = directory / lane
        self._after = after_seq
        self._after_hash = after_hash
        self._check = LaneCheck(lane)
        self._number = 0
        self._source: Source | None = None
        self._ready: deque[tuple[bytes, int]] = deque()
        self._link: SegmentOpened | None = None
        """What a new segment's first line must say of the one before."""
        self._failed: JournalError | None = None

    @property
    def seq(self) -> int:
        """The last line given out, or `after_seq`."""
        return max(self._check.seq, self._after)

    @property
    def file(self) -> str:
        """The segment being read."""
        return str(self._source.path if self._source else self._path)

    def read(self, max_lines: int = MAX_LINES) -> list[Line]:
        """The next lines, about so many; an empty list when there are none yet.

        Raises `JournalError` where a line does not hold, after the lines before it were given out, and from then on.
        """
        if self._failed is not None:
            raise self._failed
        found: list[Line] = []
        try:
            if self._source is None and not self._begin():
                return []
            size = 0
            while len(found) < max_lines and size < MAX_BYTES and (self._ready or self._fill()):
                raw, line_no = self._ready.popleft()
                checked = self._accept(raw, line_no)
                if checked.header.seq > self._after:
                    size += len(raw)
                    found.append(self._line(checked, line_no))
            if self._check.seq < self._after:
                here, before = self._check.seq, self._after
                raise JournalError(f"{self.file}: ends at line {here} of the lane; line {before} was read before")
        except JournalError as error:
            self._failed = error
            if not found:
                raise
        return found

    def close(self) -> None:
        """Give the file back; `read` may not be called after it."""
        if self._source is not None:
            self._source.close()

    def _line(self, checked: Checked, line_no: int) -> Line:
        header = checked.header
        return Line(
            header.lane, header.seq, checked.hash, header.prev, header.tenant, header.tenant_seq,
            header.time, header.kind, checked.body, self.file, line_no,
        )  # fmt: skip

    def _accept(self, raw: bytes, line_no: int) -> Checked:
        try:
            checked = self._check.accept(raw)
            if self._link is not None:
                check_link(checked, self._link)
                self._link = None
            self._check_hash(checked)
        except JournalError as error:
            raise JournalError(f"{self.file}:{line_no}: {error}") from error
        return checked

    def _check_hash(self, checked: Checked) -> None:
        expected = self._after_hash
        if expected is None or checked.header.seq not in (self._after, self._after + 1):
            return
        there = checked.hash if checked.header.seq == self._after else checked.header.prev
        if there != expected:
            raise JournalError(f"line {self._after} of the lane had hash {expected} before and has {there} now")

    def _begin(self) -> bool:
        """Open the segment that holds the first line wanted."""
        numbers = segment_numbers(self._path) if self._path.is_dir() else []
        for number in reversed(numbers):
            source = open_segment(self._path, number)
            if source is None:
                continue
            self._source, self._number = source, number
            lines = source.lines()
            first = self._first(lines[0]) if lines else None
            if first is not None and (first <= self._after + 1 or (number == numbers[0] and not self._after)):
                self._ready.extend((line, index) for index, line in enumerate(lines, 1))
                return True
            source.close()
            self._source = None
        if self._after:
            raise JournalError(f"{self._path}: line {self._after + 1} of the lane is no longer there")
        return False

    def _first(self, line: bytes) -> int:
        try:
            return read_line(line).header.seq
        except JournalError as error:
            raise JournalError(f"{self.file}:1: {error}") from error

    def _fill(self) -> bool:
        source = self._source
        if source is None:
            return False
        if self._take(source.lines()):
            return True
        if segment_path(self._path, self._number + 1) is None:
            return False
        # The writer has left this segment, so what it wrote last is there now.
        if self._take(source.lines()):
            return True
        following = open_segment(self._path, self._number + 1)
        if following is None:
            return False
        torn = bool(source.rest())
        self._link = SegmentOpened("", segment_name(self._number), self._check.head, torn)
        source.close()
        self._source, self._number = following, self._number + 1
        return self._take(following.lines())

    def _take(self, lines: list[bytes]) -> bool:
        first = self._source.line_no - len(lines) + 1 if self._source else 0
        self._ready.extend((line, first + index) for index, line in enumerate(lines))
        return bool(lines)


def check_link(checked: Checked, link: SegmentOpened) -> None:
    """The first line of a segment names the one before, its end, and whether half a line stands there."""
    if checked.header.kind != "segment":
        raise JournalError(f"a later segment starts with a line `segment`, not `{checked.header.kind}`")
    if checked.body is None:
        return
    body = decode_body(checked.body, SegmentOpened)
    if (body.previous, body.hash) != (link.previous, link.hash):
        raise JournalError(f"names {body.previous} {body.hash} as before it, not {link.previous} {link.hash}")
    if link.torn and not body.torn:
        raise JournalError(f"{link.previous} ends in half a line that this segment does not know of")
