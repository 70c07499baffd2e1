"""What lines of a journal say about other lanes, held against what is there; and decisions against outcomes. Pure.

Rules: a lane control has seen must be there, end where control says it ended, and miss only lines that a tombstone
covers. A decision has at most one outcome: in its own lane, or in a lane of control. Where bodies were erased or
segments deleted, an outcome without decision proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gatehouse.journal.chain import Checked, decode_body
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import LaneClosed, LaneOpened, SegmentDeleted, SegmentOpened


class Place(msgspec.Struct, frozen=True):
    """A line in a file."""

    file: str
    line_no: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line_no}"


class LaneEnd(msgspec.Struct):
    """A lane as far as it has been read."""

    seq: int = 0
    hash: str = ""
    first_hash: str | None = None
    """Of line 1, if it is there."""
    place: Place | None = None
    """Of the last line."""
    closed: bool = False
    """The last line is its own `lane_closed`."""
    torn: Place | None = None
    """Where half a line stands behind the last."""


class Gap(msgspec.Struct, frozen=True):
    """Lines of a lane that are not there."""

    place: Place
    """The line after them."""
    lane: str
    first: int
    last: int
    hash: str
    """Of the last missing line, as the line after it says."""


class Claims:
    """What has been said."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.tombstones: dict[str, dict[str, SegmentDeleted]] = {}
        """By lane and file."""
        self._opened: list[tuple[Place, LaneOpened]] = []
        self._closed: list[tuple[Place, LaneClosed]] = []

    def hear(self, checked: Checked, place: Place) -> None:
        """Take note of a line. Raises `JournalError` if it is wrong by itself."""
        header, body = checked.header, checked.body
        if body is None:
            return
        if header.kind == "segment_deleted":
            deleted = decode_body(body, SegmentDeleted)
            self.tombstones.setdefault(deleted.lane, {})[deleted.file] = deleted
        elif header.kind == "lane_opened":
            opened = decode_body(body, LaneOpened)
            if opened.lane != header.lane:
                self._opened.append((place, opened))
        elif header.kind == "lane_closed":
            closed = decode_body(body, LaneClosed)
            if closed.lane != header.lane:
                self._closed.append((place, closed))
            elif (closed.seq, closed.hash) != (header.seq - 1, header.prev):
                raise JournalError(f"says that line {closed.seq} with hash {closed.hash} stands before it")

    def first_false(self, ends: dict[str, LaneEnd]) -> str | None:
        """The first thing said that is not so, with its place."""
        checks: tuple[Iterable[str | None], ...] = (
            (self.first_gap(),),
            (self._end(place, closed, ends.get(closed.lane)) for place, closed in self._closed),
            (self._start(place, opened, ends.get(opened.lane)) for place, opened in self._opened),
        )
        return next((false for check in checks for false in check if false is not None), None)

    def first_gap(self, *, within: bool = False) -> str | None:
        """The first gap that no tombstone covers. `within`: not one at the beginning of a lane."""
        gaps = (self._gap(gap) for gap in self.gaps if gap.first > 1 or not within)
        return next((false for false in gaps if false is not None), None)

    def deleted(self) -> int:
        """Lines that tombstones say were deleted."""
        return sum(
            stone.last_seq - stone.first_seq + 1 for stones in self.tombstones.values() for stone in stones.values()
        )

    def _covered(self, lane: str, first: int, last: int, last_hash: str) -> bool:
        stones = sorted(self.tombstones.get(lane, {}).values(), key=lambda stone: stone.first_seq)
        for stone in stones:
            if stone.first_seq <= first <= stone.last_seq:
                first = stone.last_seq + 1
            if stone.last_seq == last:
                return first > last and stone.last_hash == last_hash
        return False

    def _gap(self, gap: Gap) -> str | None:
        if self._covered(gap.lane, gap.first, gap.last, gap.hash):
            return None
        return f"{gap.place}: lines {gap.first} to {gap.last} are missing before this one, and no tombstone covers them"

    def _end(self, place: Place, closed: LaneClosed, end: LaneEnd | None) -> str | None:
        if end is None or end.place is None:
            if self._covered(closed.lane, 1, closed.seq, closed.hash):
                return None
            return f"{place}: lane {closed.lane} is missing, and no tombstones cover it"
        if end.torn is not None:
            return f"{end.torn}: bytes behind the end of the lane, which {place} says is line {closed.seq}"
        if (end.seq, end.hash) != (closed.seq, closed.hash):
            here = f"the lane ends with line {end.seq}, hash {end.hash}"
            return f"{end.place}: {here}; {place} says: line {closed.seq}, hash {closed.hash}"
        return None

    def _start(self, place: Place, opened: LaneOpened, end: LaneEnd | None) -> str | None:
        if end is None or end.place is None:
            if opened.lane in self.tombstones:
                return None  # How far they must reach is what the lane's `lane_closed` says.
            return f"{place}: lane {opened.lane} is missing, and no tombstone covers it"
        if end.first_hash is not None and opened.first not in (None, end.first_hash):
            return f"{place}: says that lane {opened.lane} begins with hash {opened.first}, not {end.first_hash}"
        return None


class Outcomes:
    """Decisions and the outcomes that answer them."""

    def __init__(self) -> None:
        self.calls = 0
        self._open: dict[str, set[str]] = {}
        """Calls without outcome in their lane, by lane."""
        self._elsewhere: dict[str, Place] = {}
        """Outcomes in lanes of control whose decision has not been read yet."""
        self._listed: set[str] = set()
        self._restarting: set[str] = set()
        """Lanes in the middle of a segment's first lines, after a gap."""
        self._strays: list[tuple[Place, str, str]] = []
        """Place, lane and call of outcomes that answer nothing in their own lane."""

    def decided(self, lane: str, call: str) -> None:
        """Take note of a decision."""
        self.calls += 1
        self._open.setdefault(lane, set()).add(call)

    def restart(self, lane: str, opened: SegmentOpened, *, gap: bool, blurred: bool) -> None:
        """A segment's word for which calls are open: believed after a gap, held against what is known otherwise.

        Raises `JournalError`. `blurred`: bodies of the lane were erased, so what is known is not all.
        """
        known = self._open.setdefault(lane, set())
        if gap:
            self._restarting.add(lane)
            known.clear()
        listed = {call.call for call in opened.open}
        if lane in self._restarting:
            known |= listed
        elif not blurred:
            self._listed = self._listed | listed if opened.part > 1 else listed
            if opened.part == opened.parts and self._listed != known:
                wrong = min(self._listed ^ known)
                raise JournalError(f"lists call {wrong} as open, or leaves it out, against the lines before")
        if opened.part == opened.parts:
            self._restarting.discard(lane)

    def concluded(self, lane: str, call: str, place: Place, *, control: bool) -> None:
        """Take note of an outcome. Raises `JournalError` if control wrote it twice."""
        known = self._open.get(lane)
        if known is not None and call in known:
            known.remove(call)
        elif not control:
            self._strays.append((place, lane, call))
        elif call in self._elsewhere:
            raise JournalError(f"a second outcome for call {call}; the first is at {self._elsewhere[call]}")
        else:
            self._elsewhere[call] = place

    def match(self) -> int:
        """Answer decisions with control's outcomes; how many stay open."""
        for known in self._open.values():
            for call in [call for call in known if call in self._elsewhere]:
                known.remove(call)
                del self._elsewhere[call]
        return sum(map(len, self._open.values()))

    def first_false(self, blurred: set[str], *, any_blurred: bool) -> str | None:
        """The first outcome without decision, or beyond a call's first. `blurred`: lanes with erased bodies."""
        for place, lane, call in self._strays:
            if lane not in blurred:
                return f"{place}: an outcome for call {call}, which is not open in this lane"
        if not any_blurred:
            for call, place in self._elsewhere.items():
                return f"{place}: an outcome for call {call}, which no lane has open"
        return None
