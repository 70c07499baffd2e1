"""Checks a journal as an auditor would: every line, every chain, every link between segments and between lanes.

What is checked depends on what is given. One file: its lines and chains. A lane: also how its segments join. The whole
directory: also that lanes end where control says they do, that no lane is missing, that what retention deleted has its
tombstone, and that every outcome has its decision and no decision two outcomes.

Rules: nothing is written. A running gateway may be checked: control's lanes are read first, so what they say of other
lanes is about the past. Erased bodies are counted, not complained of. Memory grows with open calls and with lanes, not
with lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatehouse.journal.chain import Checked, LaneCheck, decode_body
from gatehouse.journal.claims import Claims, Gap, LaneEnd, Outcomes, Place
from gatehouse.journal.files import is_segment, lane_names, segment_name, segment_numbers
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import check_link, role_of
from gatehouse.journal.records import CallHead, LaneClosed, SegmentOpened
from gatehouse.journal.source import Source, open_segment


class Report(msgspec.Struct, frozen=True):
    """What was found."""

    ok: bool
    first_bad: str | None
    """File, line and what is wrong, of the first thing that is."""
    lanes: int = 0
    segments: int = 0
    lines: int = 0
    calls: int = 0
    """Calls on record, refused ones included (those counted in `refused_many` are not)."""
    open_calls: int = 0
    """Decisions without outcome: running calls, or calls of a dead process that recovery has not seen."""
    erased: int = 0
    """Lines whose body was erased."""
    deleted: int = 0
    """Lines that retention has deleted, as their tombstones say. Only for a directory."""
    torn: tuple[str, ...] = ()
    """Where lanes end in half a line that no recovery has set aside yet."""


def verify(path: Path) -> Report:
    """Check a journal directory, a lane's directory or one segment.

    Raises `JournalError` if the path is none of these, `OSError` if it cannot be read.
    """
    audit = _Audit()
    if path.is_file():
        if not is_segment(path.name):
            raise JournalError(f"{path}: not a segment of a journal")
        audit.lane(path.parent.name, _segment(Source(path), LaneCheck(None), audit.end(path.parent.name), None))
        return audit.report()
    if segment_numbers(path):
        audit.lane(path.name, _lane(path, audit.end(path.name)))
        # The lane's first segments may have been deleted; control's lane can tell, but is not asked here.
        audit.complain(audit.claims.first_gap(within=True))
        return audit.report()
    if not lane_names(path) and any(path.iterdir()):
        raise JournalError(f"{path}: neither a journal nor a lane of one")
    _directory(path, audit)
    return audit.report()


def _directory(directory: Path, audit: _Audit) -> None:
    names = lane_names(directory)
    control = [name for name in names if _is_control(directory / name)]
    for name in control:
        audit.lane(name, _lane(directory / name, audit.end(name)), control=True)
    for name in names:
        if name not in audit.ends:
            audit.lane(name, _lane(directory / name, audit.end(name)))
    if audit.bad is None and audit.claims.first_false(audit.ends) is not None:
        # A running gateway may have deleted segments since its control lanes were read: hear them again.
        again = _Audit()
        for name in control:
            again.lane(name, _lane(directory / name, again.end(name)), control=True)
        audit.claims.tombstones = again.claims.tombstones
    if audit.bad is None:
        audit.complain(audit.claims.first_false(audit.ends))
    audit.close()


def _is_control(path: Path) -> bool:
    """Whether a lane is one of the control process's. A broken beginning is complained of when it is read."""
    try:
        return role_of(path) == "control"
    except JournalError:
        return False


class _Audit:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.bad: str | None = None
        self.claims = Claims()
        self.ends: dict[str, LaneEnd] = {}
        self._outcomes = Outcomes()
        self._lines = 0
        self._refused = 0
        self._files: set[str] = set()
        self._erased: dict[str, int] = {}

    def complain(self, what: str | None) -> None:
        """Keep the first complaint."""
        self.bad = self.bad or what

    def end(self, lane: str) -> LaneEnd:
        """How far a lane has been read."""
        return self.ends.setdefault(lane, LaneEnd())

    def lane(self, name: str, lines: Iterator[tuple[Place, Checked]], *, control: bool = False) -> None:
        """Read a lane as far as it holds."""
        end = self.end(name)
        try:
            for place, checked in lines:
                try:
                    self._line(place, checked, end, control=control)
                except JournalError as error:
                    raise JournalError(f"{place}: {error}") from error
        except JournalError as error:
            self.complain(str(error))

    def close(self) -> None:
        """The whole directory has been read: hold outcomes against decisions."""
        self._outcomes.match()
        if self.bad is None:
            blurred = bool(self._erased or self.claims.tombstones)
            self.complain(self._outcomes.first_false(set(self._erased), any_blurred=blurred))

    def report(self) -> Report:
        """The result."""
        return Report(
            ok=self.bad is None,
            first_bad=self.bad,
            lanes=len(self.ends),
            segments=len(self._files),
            lines=self._lines,
            calls=self._outcomes.calls + self._refused,
            open_calls=self._outcomes.match(),
            erased=sum(self._erased.values()),
            deleted=self.claims.deleted(),
            torn=tuple(str(end.torn) for end in self.ends.values() if end.torn is not None),
        )

    def _line(self, place: Place, checked: Checked, end: LaneEnd, *, control: bool) -> None:
        header, body = checked.header, checked.body
        if end.closed:
            raise JournalError("a line behind the lane's `lane_closed`")
        gap = header.seq != end.seq + 1
        if gap:
            self.claims.gaps.append(Gap(place, header.lane, end.seq + 1, header.seq - 1, header.prev))
        if header.seq == 1:
            end.first_hash = checked.hash
        self._lines += 1
        self._files.add(place.file)
        end.seq, end.hash, end.place = header.seq, checked.hash, place
        if body is None:
            self._erased[header.lane] = self._erased.get(header.lane, 0) + 1
            return
        self.claims.hear(checked, place)
        match header.kind:
            case "decision":
                self._outcomes.decided(header.lane, decode_body(body, CallHead).call)
            case "outcome":
                self._outcomes.concluded(header.lane, decode_body(body, CallHead).call, place, control=control)
            case "call":
                self._refused += 1
            case "segment":
                opened = decode_body(body, SegmentOpened)
                self._outcomes.restart(header.lane, opened, gap=gap, blurred=header.lane in self._erased)
            case "lane_closed":
                end.closed = decode_body(body, LaneClosed).lane == header.lane
            case _:
                pass


def _lane(path: Path, end: LaneEnd) -> Iterator[tuple[Place, Checked]]:
    """The checked lines of a lane, segment after segment. Raises `JournalError` with its place."""
    check = LaneCheck(path.name)
    link: SegmentOpened | None = None
    before = 0
    for number in segment_numbers(path):
        source = open_segment(path, number)
        if source is None:
            continue  # Deleted meanwhile: the next segment shows the gap.
        if number != before + 1 or not before:
            check.allow_gap()
            link = None
        yield from _segment(source, check, end, link)
        link, before = SegmentOpened("", segment_name(number), check.head, end.torn is not None), number


def _segment(
    source: Source, check: LaneCheck, end: LaneEnd, link: SegmentOpened | None
) -> Iterator[tuple[Place, Checked]]:
    end.torn = None
    try:
        while lines := source.lines():
            first = source.line_no - len(lines) + 1
            for line_no, line in enumerate(lines, first):
                place = Place(str(source.path), line_no)
                try:
                    checked = check.accept(line)
                    if link is not None:
                        check_link(checked, link)
                        link = None
                except JournalError as error:
                    raise JournalError(f"{place}: {error}") from error
                yield place, checked
        if source.rest():
            end.torn = Place(str(source.path), source.line_no + 1)
    finally:
        source.close()
