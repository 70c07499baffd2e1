"""What limits had counted, as the journal says it: the openings, and every line behind their marks.

Who has to know: a worker that starts (`restored`), and control where a shared ledger was lost (`control.sharing`).

Rules
- Spend is exact: decisions reserve, outcomes settle, whatever the order of lanes. What was decided and has no outcome
  stays reserved; of a process that died it is spent (`journal.recovery` says the same on record).
- Rates are counted from the lines of their window: requests as they were decided, tokens as settled, at the time of
  their decision. Of a very large journal only the newest part is read for that (`RATE_BYTES`), and it is said so.
- Blocking file I/O: for a thread. Chains are the collector's to check; a line nobody can read is left out, and said.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gatehouse.gateway.openings import Openings
from gatehouse.journal.files import CLOSED, lane_names, segment_numbers, segment_path
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import role_of
from gatehouse.journal.records import LaneClosed
from gatehouse.journal.source import open_segment
from gatehouse.limits.ledger import folded, scope_of, scopes
from gatehouse.model.access import KeyEntry
from gatehouse.model.limits import LimitEntry, Reserved, Settled, is_spend
from gatehouse.model.record import Candidate
from gatehouse.store import times

RATE_BYTES: Final = 512 * 1024 * 1024
"""Most of the journal that is read for rates alone: some seconds."""

_PACKED: Final = 6
"""How much larger a compressed segment is, about."""
_LENGTHS: Final = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}
_ERASED: Final = msgspec.Raw(b"null")
_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Counter and period."""


class _Head(msgspec.Struct, frozen=True, gc=False):
    seq: int
    tenant: str
    time: str
    kind: str


class _Line(msgspec.Struct, frozen=True, gc=False):
    header: _Head
    body: msgspec.Raw = _ERASED


class _Decision(msgspec.Struct, frozen=True, gc=False):
    call: str
    project: str
    key: str | None = None
    user: str | None = None
    model: str | None = None
    candidates: tuple[Candidate, ...] = ()
    reserved: tuple[Reserved, ...] = ()


class _Outcome(msgspec.Struct, frozen=True, gc=False):
    call: str
    settled: tuple[Settled, ...] = ()
    reports: str | None = None


_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_decision: Final = msgspec.json.Decoder(_Decision).decode
_decode_outcome: Final = msgspec.json.Decoder(_Outcome).decode


class FoundLane(NamedTuple):
    """A lane of the journal."""

    lane: str
    role: str | None
    """`worker` or `control`; `None` where its first line cannot be read."""
    closed: int | None
    """Its last line, once control has recorded that; then there are no more."""


class Sum:
    """Of one counter, in one period."""

    __slots__ = ("reserved", "settled")

    def __init__(self, settled: int = 0, reserved: int = 0) -> None:
        self.settled = settled
        self.reserved = reserved


class Rates:
    """Which counters of requests and tokens there are, and what was counted on them."""

    def __init__(self, limits: Iterable[LimitEntry], keys: Mapping[str, KeyEntry], now: int) -> None:
        """`now`: Unix microseconds."""
        self._keys = keys
        self._requests: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
        """By tenant, scope and its id: counters, each with the time from which on it counts."""
        self._tokens: dict[str, int] = {}
        self._open: dict[str, tuple[int, dict[str, int]]] = {}
        """Calls that hold tokens: when they were decided, and how many of which counter."""
        self._reported: dict[tuple[str, str], int] = {}
        """By call and counter, how much more it used after all: its report may be read before it, of another lane."""
        self._over: dict[str, list[tuple[int, int]]] = {}
        self.since = now
        """The earliest moment that counts."""
        for entry in limits:
            if entry.measure in ("requests", "tokens"):
                since = now - _LENGTHS[entry.window]
                self.since = min(self.since, since)
                if entry.measure == "tokens":
                    self._tokens[entry.counter] = since
                else:
                    place = self._requests.setdefault((entry.tenant, *scope_of(entry)), [])
                    if (entry.counter, since) not in place:
                        place.append((entry.counter, since))

    def decided(self, tenant: str, at: int, record: _Decision) -> None:
        key = record.key
        entry = self._keys.get(key) if key is not None else None
        if entry is not None:
            key = entry.counts_as or entry.id
        model = None if record.model is None else folded(record.model)
        credential = record.candidates[0].credential if record.candidates else None
        for scope in scopes(tenant, record.project, key, record.user, model, credential):
            for counter, since in self._requests.get((tenant, *scope), ()):
                if at >= since:
                    self._over.setdefault(counter, []).append((at, 1))
        held = {one.counter: one.amount for one in record.reserved if at >= self._tokens.get(one.counter, at + 1)}
        if held:
            self._open[record.call] = (at, held)

    def ended(self, record: _Outcome) -> None:
        known = self._open.get(record.call)
        for one in record.settled:
            if record.reports is not None and not one.reserved:
                if one.counter in self._tokens:
                    place = (record.reports, one.counter)
                    self._reported[place] = self._reported.get(place, 0) + one.amount
            elif known is not None and one.counter in known[1]:
                known[1][one.counter] = one.amount

    def counted(self) -> dict[str, list[tuple[int, int]]]:
        """By counter, of all there are: (Unix microseconds, amount)."""
        found: dict[str, list[tuple[int, int]]] = {counter: [] for counter in self._tokens}
        found |= {counter: [] for place in self._requests.values() for counter, _ in place}
        found |= {counter: list(each) for counter, each in self._over.items()}
        for call, (at, held) in self._open.items():
            for counter, amount in held.items():
                found[counter].append((at, amount + self._reported.get((call, counter), 0)))
        return found


class Counted:
    """Adds up the openings and the lines behind them."""

    def __init__(self, openings: Openings, rates: Rates, apart: Iterable[str] = ()) -> None:
        """`apart`: lanes that are read from their beginning, and summed up by themselves as well."""
        self.rates = rates
        self.spent: dict[Key, Sum] = {
            (each.counter, each.period): Sum(each.settled, each.reserved) for each in openings.spent
        }
        self.lanes: dict[str, dict[Key, Sum]] = {lane: {} for lane in apart}
        self._marks = openings.marks
        self._owner: dict[str, str] = {}
        """Open calls of the lanes apart, by id: an outcome may stand in control's."""

    def read(self, journal: Path) -> None:
        """All of it. Raises `OSError`."""
        left = RATE_BYTES
        # Control's last: they hold the outcomes of calls whose process died.
        for found in sorted(lanes(journal), key=lambda each: each.role == "control"):
            wanted, left = self._segments(journal / found.lane, found, left)
            for number in wanted:
                for line in _lines(journal / found.lane, number):
                    self._take(found.lane, line)

    def read_lane(self, journal: Path, lane: str) -> None:
        """One lane, as far as it goes. Raises `OSError`."""
        for number in segment_numbers(journal / lane):
            for line in _lines(journal / lane, number):
                self._take(lane, line)

    def _segments(self, path: Path, found: FoundLane, left: int) -> tuple[list[int], int]:
        """What of a lane has to be read, and how much more may be for rates alone."""
        mark = 0 if found.lane in self.lanes else self._marks.get(found.lane, 0)
        since = times.rfc3339(self.rates.since)
        wanted: list[int] = []
        spend = True
        for number in reversed(segment_numbers(path)):
            file = segment_path(path, number)
            if file is None:
                continue
            if not wanted and found.closed is not None and found.closed <= mark:
                spend = False
                if file.stat().st_mtime * 1e6 < self.rates.since:
                    return [], left
            first = _first(path, number)
            if first is None:
                continue
            if not spend:
                left -= file.stat().st_size * (_PACKED if file.suffix == ".gz" else 1)
                if left < 0:
                    _log.warning("limits: rates are counted from %s on: the journal before is too large", first.time)
                    return wanted, left
            wanted.insert(0, number)
            spend = spend and first.seq > mark + 1
            if not spend and first.time <= since:
                return wanted, left
        if spend and wanted and _first_seq(path, wanted[0]) > mark + 1:
            _log.error("limits: %s: lines behind %d are gone; what they spent is not counted", path, mark)
        return wanted, left

    def _take(self, lane: str, line: _Line) -> None:
        head = line.header
        if head.kind not in ("decision", "outcome") or line.body == _ERASED:
            return
        spends = head.seq > self._marks.get(lane, 0)
        try:
            if head.kind == "decision":
                decided = _decode_decision(line.body)
                self._reserve(decided, lane if lane in self.lanes else None, spends=spends)
                at = times.parse(head.time)
                if at >= self.rates.since:
                    self.rates.decided(head.tenant, at, decided)
            else:
                ended = _decode_outcome(line.body)
                self._settle(ended, lane if lane in self.lanes else None, spends=spends)
                self.rates.ended(ended)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("limits: line %d of lane %s is not counted: %s", head.seq, lane, error)

    def _reserve(self, record: _Decision, lane: str | None, *, spends: bool) -> None:
        for one in record.reserved:
            if is_spend(one.counter):
                key = (one.counter, one.period)
                if spends:
                    self._sum(self.spent, key).reserved += one.amount
                if lane is not None:
                    self._sum(self.lanes[lane], key).reserved += one.amount
                    self._owner[record.call] = lane

    def _settle(self, record: _Outcome, lane: str | None, *, spends: bool) -> None:
        lane = self._owner.pop(record.call, lane)
        for one in record.settled:
            if is_spend(one.counter):
                key = (one.counter, one.period)
                for sums in ([self.spent] if spends else []) + ([self.lanes[lane]] if lane is not None else []):
                    found = self._sum(sums, key)
                    found.settled += one.amount
                    found.reserved -= one.reserved

    @staticmethod
    def _sum(sums: dict[Key, Sum], key: Key) -> Sum:
        found = sums.get(key)
        if found is None:
            found = sums[key] = Sum()
        return found


def restored(counted: Counted) -> dict[Key, int]:
    """For a worker that is alone: what is reserved is by processes that are gone, so it is spent."""
    return {key: max(0, each.settled + each.reserved) for key, each in counted.spent.items()}


def lanes(journal: Path, known: Container[str] = ()) -> list[FoundLane]:
    """The lanes of a journal but `known` ones, oldest first, whatever is wrong with one. Raises `OSError`."""
    found = []
    for name in lane_names(journal):
        if name in known:
            continue
        try:
            role = role_of(journal / name)
        except JournalError as error:
            _log.error("limits: %s", error)
            role = None
        closed = None
        with suppress(FileNotFoundError, msgspec.MsgspecError):
            closed = msgspec.json.decode((journal / name / CLOSED).read_bytes(), type=LaneClosed).seq
        found.append(FoundLane(name, role, closed))
    return found


def _first(path: Path, number: int) -> _Head | None:
    for line in _lines(path, number):
        return line.header
    return None


def _first_seq(path: Path, number: int) -> int:
    first = _first(path, number)
    return 1 if first is None else first.seq


def _lines(path: Path, number: int) -> Iterator[_Line]:
    """A segment's lines. One that cannot be read is left out."""
    source = open_segment(path, number)
    if source is None:
        return
    try:
        while raws := source.lines():
            for raw in raws:
                try:
                    yield _decode_line(raw)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    _log.error("limits: %s: a line is not counted: %s", source.path, error)
    finally:
        source.close()
