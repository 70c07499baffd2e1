"""Taking out of an OpenAI stream the usage that only the gateway asked for (`openai_option` asks).

Rules: sans-I/O. What a caller who never asked would have got, byte for byte: the extra event goes, and the
`"usage":null` that every other chunk carries. Whatever is not certainly that stays as it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gatehouse.dialects.answer import is_event_stream
from gatehouse.dialects.openai_shapes import UsageChunk
from gatehouse.dialects.scan import scan_now
from gatehouse.dialects.values import UNREADABLE
from gatehouse.http.sse import BOM, DEFAULT_LIMIT, OVERLAP, find_blank_line, parse_event, single_event

_decode_chunk: Final = msgspec.json.Decoder(UsageChunk).decode
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
        if not self._cr and data.find(b"\r") >= 0:
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
