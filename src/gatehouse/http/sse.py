"""Server-sent events, read incrementally: bytes in, events out. Knows nothing of what the events mean.

Rules: sans-I/O; any split of the stream gives the same events; LF, CRLF and CR end lines, also mixed; memory is bounded
by `limit`, and an event above it is skipped and counted, never held. Framing follows the WHATWG HTML standard, section
"Server-sent events", except that an event the stream's end cuts off before its blank line is still handed over by
`finish` (providers forget that line); whoever reads it must expect half a payload.

The fast paths take the common case, one whole LF or CRLF event per piece, without copying into a buffer.
"""

from __future__ import annotations

import re
from typing import Final

Event = tuple[bytes, bytes]
"""Event name (empty where the stream names none) and data (lines joined with LF)."""

DEFAULT_LIMIT: Final = 1024 * 1024
"""Bytes of one event before its closing blank line."""

BOM: Final = b"\xef\xbb\xbf"

_BLANK_LINE: Final = re.compile(rb"(?:\r\n?+|\n)(?:\r\n?+|\n)")
"""A line end and an empty line. Possessive, so that the two halves of one CRLF never count as two line ends."""

OVERLAP: Final = 3
"""How many bytes before new data a blank line may begin: `CR LF CR | LF`."""


def find_blank_line(data: bytes | bytearray, start: int, *, cr: bool) -> tuple[int, int]:
    """Where the event that `start` lies in ends, and where the next begins; `(-1, -1)` if it does not end here.

    `cr`: whether the stream has shown a CR. Without one the search is a plain `find`.
    """
    if not cr:
        at = data.find(b"\n\n", start)
        return (at, at + 2) if at >= 0 else (-1, -1)
    match = _BLANK_LINE.search(data, start)
    return match.span() if match else (-1, -1)


def single_event(data: bytes) -> int:
    """Length of the closing blank line if `data` is exactly one event with all its lines but one ended by it, else 0.

    That is: one line, then the blank line, in LF (2) or CRLF (4).
    """
    size = len(data)
    newline = data.find(b"\n")
    if newline == size - 2:
        return 2 if data.endswith(b"\n\n") and data.find(b"\r") < 0 else 0
    if newline == size - 3:
        return 4 if data.endswith(b"\r\n\r\n") and data.find(b"\r") == size - 4 else 0
    return 0


def parse_event(block: bytes) -> Event | None:
    """The event in one block of lines; `None` if it has no data (comments, `retry`, an empty block)."""
    if block.startswith(b"data: ") and block.find(b"\n") < 0 and block.find(b"\r") < 0:
        return b"", block[6:]
    name = b""
    data: list[bytes] = []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
        elif field == b"event":
            name = value[1:] if value.startswith(b" ") else value
    return (name, b"\n".join(data)) if data else None


class Reader:
    """Reads one stream. `skipped` counts the events above the limit."""

    __slots__ = ("_after_cr", "_at_start", "_buffer", "_cr", "_idle", "_limit", "_searched", "_skipping", "skipped")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer known to hold no blank line
        self._idle = True  # nothing pending: the fast paths may be tried
        self._at_start = True  # a byte order mark may still come
        self._cr = False
        self._after_cr = False  # the last blank line ended in CR: an LF right after belongs to it
        self._skipping = False
        self.skipped = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in order."""
        if self._idle and len(data) <= self._limit:
            if data.startswith(b"data: "):
                ending = single_event(data)
                if ending:
                    self._at_start = False
                    return [(b"", data[6:-ending])]
            elif data.startswith(b"event: "):
                # Anthropic's form: a name line and a data line.
                line = data.find(b"\n") + 1
                if data.startswith(b"data: ", line) and data.find(b"\n", line) == len(data) - 2:
                    # Not `in`, which tries for a number first, and takes six times as long.
                    if data.endswith(b"\n\n") and data.find(b"\r") < 0:
                        self._at_start = False
                        return [(data[7 : line - 1], data[line + 6 : -2])]
        return self._feed(data) if data else []

    def finish(self) -> list[Event]:
        """The event that the stream's end cut off before its blank line, if any."""
        if self._skipping:
            self._skipping = False
            self.skipped += 1
            self._buffer.clear()
        events: list[Event] = []
        self._take(bytes(self._buffer), events)
        self._buffer.clear()
        self._searched = 0
        return events

    def _feed(self, data: bytes) -> list[Event]:
        buffer = self._buffer
        if self._after_cr:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if not self._cr and data.find(b"\r") >= 0:
            self._cr = True
        buffer += data
        events: list[Event] = []
        start = 0
        search = max(0, self._searched - OVERLAP)
        while True:
            end, after = find_blank_line(buffer, search, cr=self._cr)
            if end < 0:
                break
            if self._skipping:
                self._skipping = False
                self.skipped += 1
            else:
                self._take(bytes(buffer[start:end]), events)
            start = search = after
        if start:
            self._after_cr = start == len(buffer) and buffer.endswith(b"\r")
            del buffer[:start]
        # What may still turn out to be part of the blank line is not counted, so that the split does not matter.
        if self._skipping or len(buffer) - (OVERLAP - 1) > self._limit:
            self._skipping = True
            del buffer[:-OVERLAP]
        self._searched = len(buffer)
        self._idle = not buffer and not self._skipping and not self._after_cr
        return events

    def _take(self, block: bytes, events: list[Event]) -> None:
        if not block:
            return
        if len(block) > self._limit:
            self.skipped += 1
            self._at_start = False
            return
        if self._at_start:
            self._at_start = False
            block = block.removeprefix(BOM)
        event = parse_event(block)
        if event is not None:
            events.append(event)
