"""Single lines of the journal as they stand on disk, byte for byte, for handing on to somebody who verifies them.

Rules: a line is checked by itself (header against hash, body against digest) before it is given out. Blocking file I/O.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gatehouse.journal.chain import read_line
from gatehouse.journal.files import lane_names, segment_numbers
from gatehouse.journal.lines import JournalError
from gatehouse.journal.source import Source, open_segment


class Excerpt(msgspec.Struct, frozen=True):
    """One line, without its newline, and where it stands."""

    line: bytes
    hash: str
    lane: str
    seq: int
    kind: str
    file: str
    """Segment below the journal's directory, `lane/000001.jsonl`."""
    line_no: int


def excerpt(directory: Path, lane: str, seq: int) -> Excerpt:
    """Line `seq` of a lane. Raises `JournalError` where it is not there any more, or does not hold; `OSError`."""
    if lane in lane_names(directory):
        for number in reversed(segment_numbers(directory / lane)):
            source = open_segment(directory / lane, number)
            if source is None:
                continue
            try:
                found = _within(source, directory, seq)
            finally:
                source.close()
            if found is not None:
                return found
    raise JournalError(f"{directory / lane}: line {seq} is not there; retention may have deleted its segment")


def _within(source: Source, directory: Path, seq: int) -> Excerpt | None:
    """The line, if this segment has it: lines are numbered without gaps."""
    first: int | None = None
    while lines := source.lines():
        begin = source.line_no - len(lines) + 1
        if first is None:
            first = _checked(source, lines[0], begin).seq
            if first > seq:
                return None
        index = seq - first - (begin - 1)
        if index < len(lines):
            found = _checked(source, lines[index], begin + index)
            if found.seq != seq:
                raise JournalError(f"{found.file}:{found.line_no}: line {found.seq} stands where line {seq} belongs")
            return msgspec.structs.replace(found, file=str(source.path.relative_to(directory)))
    return None


def _checked(source: Source, line: bytes, line_no: int) -> Excerpt:
    try:
        checked = read_line(line)
    except JournalError as error:
        raise JournalError(f"{source.path}:{line_no}: {error}") from error
    header = checked.header
    return Excerpt(line, checked.hash, header.lane, header.seq, header.kind, str(source.path), line_no)
