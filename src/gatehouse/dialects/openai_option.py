"""Asking OpenAI streams for usage, and taking it out again: the one exception to invariant I1 (HARD-PARTS 2.4).

Rules: only where the caller said nothing of `include_usage`; every byte but the insertion is kept; a body with repeated
or case-variant names that matter is left alone, since nobody knows which one the provider reads. On the way back every
`"usage":null` and the one extra event go, and the rest is byte for byte what would have come without the option.

Positions come from lengths: where the top-level names and values of a body, with the least punctuation, add up to
exactly its size, it has no white space outside them and no repeated name, and every offset follows. Any other body is
scanned. Options that are added to are read again, old and new, before they are used.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from gatehouse.dialects.answer import is_event_stream
from gatehouse.dialects.scan import SLICE, Scanner, scan, scan_now
from gatehouse.dialects.values import UNREADABLE
from gatehouse.http.sse import BOM, DEFAULT_LIMIT, OVERLAP, find_blank_line, parse_event, single_event
from gatehouse.model.call import Ask

_NAMES: Final = frozenset({"stream", "stream_options"})
_ASKED: Final = b'"stream_options":{"include_usage":true},'
_VALUE: Final = b'{"include_usage":true}'
_INNER: Final = b'"include_usage":true'

WHOLE: Final = 8 * 1024 * 1024
"""Largest body decoded in one go (0.45 ms/MiB), as `limits.read_whole` has it."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Where(msgspec.Struct, frozen=True):
    """Where `stream_options` has its value; `start` is -1 where the body has none."""

    start: int
    end: int


def ask_usage(body: bytes, ask: Ask) -> bytes | None:
    """The body asking for usage, or `None` where it must not be changed.

    For bodies read in one go; one above 1 MiB with white space between its members needs `ask_usage_slices`.
    """
    if not _may_ask(ask):
        return None
    where = _by_lengths(body)
    if where is None and len(body) <= SLICE:
        where = _by_scan(scan_now(body, _NAMES))
    return _insert(body, where) if where is not None else None


def ask_usage_slices(body: bytes, ask: Ask) -> Generator[None, None, bytes | None]:
    """The same for a body of any size; yields between slices."""
    if not _may_ask(ask):
        return None
    where = _by_lengths(body) if len(body) <= WHOLE else None
    if where is None:
        where = _by_scan((yield from scan(body, _NAMES)))
    return _insert(body, where) if where is not None else None


def _may_ask(ask: Ask) -> bool:
    return ask.stream and ask.asks_usage is None and ask.unread is None


def _by_lengths(body: bytes) -> _Where | None:
    """Positions in a body without white space between its members; `None` if it has some, or a name twice."""
    try:
        members = _members(body)
    except UNREADABLE:
        return None
    where = _Where(-1, -1)
    at = 1
    for name, raw in members.items():
        if not name.isascii() or (name not in _NAMES and name.casefold() in _NAMES):
            return None
        start = at + len(name) + 3
        at = start + len(raw) + 1
        if name == "stream_options":
            where = _Where(start, at - 1)
    return where if at == len(body) and members else None


def _by_scan(found: Scanner) -> _Where | None:
    """Positions by the scanner; `None` where a name that matters is repeated or spelt otherwise."""
    if found.fault is not None or any(member.name not in _NAMES for member in found.members):
        return None
    if len({member.name for member in found.members}) != len(found.members):
        return None
    for member in found.members:
        if member.name == "stream_options":
            return _Where(member.start, member.end)
    return _Where(-1, -1)


def _insert(body: bytes, where: _Where) -> bytes | None:
    if where.start < 0:
        brace = body.index(b"{") + 1
        return b"".join((body[:brace], _ASKED, memoryview(body)[brace:]))
    value = body[where.start : where.end]
    if value == b"null":
        asked = _VALUE
    elif value.startswith(b"{"):
        try:
            inner = _members(value)
        except UNREADABLE:
            return None
        if any(name.casefold() == "include_usage" for name in inner):
            return None
        asked = b"{" + _INNER + (b"," if inner else b"") + value[1:]
    else:
        return None
    # I1 rests on the position: what stands there must read as intended.
    if _members(asked).get("include_usage") != msgspec.Raw(b"true"):
        return None
    return b"".join((body[: where.start], asked, memoryview(body)[where.end :]))


class _Chunk(msgspec.Struct, gc=False):
    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_chunk: Final = msgspec.json.Decoder(_Chunk).decode
_SPELLINGS: Final = (b',"usage":null', b', "usage": null', b'"usage":null,', b'"usage": null, ')


def usage_filter(content_type: str) -> UsageFilter | None:
    """The filter for an answer to a body that `ask_usage` made; `None` where it is no event stream."""
    return UsageFilter() if is_event_stream(content_type) else None


class UsageFilter:
    """Takes usage out of one event stream. Whole events pass at once; half a one is held up to `limit` bytes.

    Left alone: events above the limit, events whose data comes in several lines (nobody sends JSON so), and usage
    objects beside choices (the provider sends those unasked).
    """

    __slots__ = ("_at_start", "_cr", "_held", "_late_lf", "_limit", "_passing", "_searched")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0  # bytes of `_held` known to hold no blank line
        self._cr = False
        self._at_start = True
        # The last event ended in CR, so an LF right after belongs to it: what to make of that LF.
        self._late_lf: bytes | None = None
        self._passing = False  # inside an event above the limit; `_held` is the tail of what has passed already

    def feed(self, data: bytes) -> bytes:
        if not self._held and self._late_lf is None:
            ending = single_event(data)
            if ending and len(data) - ending <= self._limit:
                return self._event(data, ending)
        return self._feed(data) if data else b""

    def finish(self) -> bytes:
        held = b"" if self._passing else bytes(self._held)
        self._held.clear()
        return self._event(held, 0) if len(held) <= self._limit else held

    def _feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        if self._late_lf is not None:
            if data.startswith(b"\n"):
                out.append(self._late_lf)
                data = data[1:]
            self._late_lf = None
        if not self._cr and b"\r" in data:
            self._cr = True
        held = self._held
        sent = len(held) if self._passing else 0
        held += data
        start = 0
        search = max(0, self._searched - OVERLAP)
        while True:
            end, after = find_blank_line(held, search, cr=self._cr)
            if end < 0:
                break
            block = bytes(held[start:after])
            if self._passing or end - start > self._limit:
                kept = block[sent:]
            else:
                one_line = block.find(b"\n", 0, end - start) < 0 and block.find(b"\r", 0, end - start) < 0
                kept = self._event(block, after - end if one_line else 0)
            out.append(kept)
            if after == len(held) and block.endswith(b"\r"):
                self._late_lf = b"\n" if kept or self._passing else b""
            self._passing = False
            start = search = after
            sent = 0
        del held[:start]
        # As in `sse.Reader`: what may be part of the blank line is not counted, so that the split does not matter.
        if self._passing or len(held) - (OVERLAP - 1) > self._limit:
            out.append(bytes(held[sent:]))
            self._passing = True
            del held[:-OVERLAP]
        self._searched = len(held)
        return b"".join(out)

    def _event(self, block: bytes, ending: int) -> bytes:
        """One event with its blank line, without what the option added. `ending`: see `single_event`; 0 if unknown."""
        if self._at_start:
            self._at_start = False
            if block.startswith(BOM):
                return BOM + self._event(block[len(BOM) :], ending)
        if ending and block.startswith(b"data: "):
            start, payload = 6, block[6:-ending]
        else:
            event = parse_event(block) if b'"usage"' in block else None
            if event is None or b"\n" in event[1]:
                return block
            payload = event[1]
            start = block.find(payload)
        try:
            chunk = _decode_chunk(payload)
        except UNREADABLE:
            return block
        if chunk.usage is msgspec.UNSET:
            return block
        usage = bytes(chunk.usage)
        if usage == b"null":
            return block[:start] + _without_null(payload) + block[start + len(payload) :]
        if usage.startswith(b"{") and chunk.choices is not msgspec.UNSET:
            if bytes(chunk.choices).translate(None, b" \t") == b"[]":
                return _comments(block)
        return block


def _comments(block: bytes) -> bytes:
    """What stays of a dropped event: comments that came with it."""
    lines = block.splitlines(keepends=True)
    kept = [line for line in lines if line.startswith(b":")]
    if kept and not lines[-1].strip():
        kept.append(lines[-1])
    return b"".join(kept)


def _without_null(payload: bytes) -> bytes:
    """The payload without its top-level `"usage":null`."""
    for spelling in _SPELLINGS:
        at = payload.find(spelling)
        if at >= 0:
            shorter = payload[:at] + payload[at + len(spelling) :]
            try:
                if _decode_chunk(shorter).usage is msgspec.UNSET:
                    return shorter
            except UNREADABLE:
                continue
    return _cut_member(payload)


def _cut_member(payload: bytes) -> bytes:
    """The same, however it is spelt, by the scanner."""
    found = scan_now(payload, frozenset({"usage"}))
    if found.fault is not None or len(found.members) != 1 or found.members[0].name != "usage":
        return payload
    start, end = found.members[0].key_start, found.members[0].end
    before = payload[:start].rstrip()
    if before.endswith(b","):
        return before[:-1].rstrip() + payload[end:]
    after = payload[end:].lstrip()
    return payload[:start] + after.removeprefix(b",").lstrip()
