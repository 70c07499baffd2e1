"""How a dead lane ends: its last whole line, the calls still open there, and a torn tail set aside.

Rules: only for lanes whose lock is held. One segment is read, since each starts with the calls open before it; an
earlier one only if the last has no complete beginning. A tail is torn if it has no newline or holds NUL bytes (blocks
that never reached the disk before a power cut); it goes to `NNNNNN.torn` before it is cut off. Any other line that does
not hold is a `JournalError`: it is not for recovery to repair.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from gatehouse.journal.chain import Checked, LaneCheck, decode_body
from gatehouse.journal.files import segment_numbers, segment_path, write_whole
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import CallHead, OpenCall, SegmentOpened
from gatehouse.journal.source import Source


class Ending(msgspec.Struct):
    """The end of a lane."""

    seq: int
    hash: str
    clean: bool
    """The lane's own process closed it."""
    open: dict[str, OpenCall]
    """Calls decided in this lane that have no outcome in it."""
    torn_bytes: int


class _Segment(msgspec.Struct):
    last: Checked | None = None
    complete: bool = False
    """It begins with all its lines about open calls."""
    end: int = 0
    """Bytes of whole lines."""
    open: dict[str, OpenCall] = {}
    torn_bytes: int = 0


def read_ending(path: Path) -> Ending:
    """Find the end of the lane in a directory, and cut off what is torn there. Raises `JournalError`, `OSError`."""
    last: Checked | None = None
    torn_bytes = 0
    for number in reversed(segment_numbers(path)):
        file = segment_path(path, number)
        if file is None:
            continue
        segment = _read(file, path.name)
        if last is None and file.suffix != ".gz":
            _cut(file, segment.end, path / f"{number:06d}.torn")
            torn_bytes += segment.torn_bytes
        if segment.last is None and last is None:
            file.unlink()  # Not one line of it was ever whole: the lane ends in the segment before.
            continue
        last = last or segment.last
        if segment.complete and last is not None:
            clean = last.header.kind == "lane_closed" and last.header.lane == path.name
            return Ending(last.header.seq, last.hash, clean, segment.open, torn_bytes)
    raise JournalError(f"{path}: no segment of this lane has a beginning")


def _read(file: Path, lane: str) -> _Segment:
    segment = _Segment()
    check = LaneCheck(lane)
    source = Source(file)
    try:
        while lines := source.lines():
            first = source.line_no - len(lines) + 1
            for line_no, line in enumerate(lines, first):
                if b"\0" in line:
                    segment.torn_bytes = file.stat().st_size - segment.end
                    return segment
                try:
                    _follow(segment, check.accept(line))
                except JournalError as error:
                    raise JournalError(f"{file}:{line_no}: {error}") from error
                segment.end += len(line) + 1
        segment.torn_bytes = len(source.rest())
        return segment
    finally:
        source.close()


def _follow(segment: _Segment, checked: Checked) -> None:
    header, body = checked.header, checked.body
    if header.kind == "lane_opened" and segment.last is None:
        segment.complete = True
    elif header.kind == "segment" and body is not None:
        opened = decode_body(body, SegmentOpened)
        segment.open.update((call.call, call) for call in opened.open)
        segment.complete = opened.part == opened.parts
    elif header.kind == "decision" and body is not None:
        head = decode_body(body, CallHead)
        segment.open[head.call] = OpenCall(head.call, header.tenant, head.project, head.reserved)
    elif header.kind == "outcome" and body is not None:
        segment.open.pop(decode_body(body, CallHead).call, None)
    segment.last = checked


def _cut(file: Path, end: int, torn: Path) -> None:
    """End a segment here. What stood behind is kept beside it; blocks allocated ahead are given back."""
    with file.open("r+b") as segment:
        segment.seek(end)
        tail = segment.read()
        if tail.strip(b"\0"):
            write_whole(torn, tail)
        segment.truncate(end)
        if tail:
            os.fsync(segment.fileno())
