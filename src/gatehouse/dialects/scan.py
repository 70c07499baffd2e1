"""A resumable scanner: finds wanted members of a JSON object in bytes that come in pieces.

For bodies too large to decode in one go, for those msgspec refuses (lone surrogates, deep nesting, huge numbers), and
for exact positions (invariant I1). Rules: sans-I/O; any split gives the same result; memory is bounded whatever the
body's size; nothing raises. It reads structure: top-level names, colons, commas and scalars are checked, and everywhere
that strings end and brackets match; what stands inside a nested value is otherwise skipped unread, so a body it accepts
may still be one a provider refuses. Tests hold it to msgspec.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

from gatehouse.dialects.nesting import CLOSER, QUOTE, Skipper, spaces

PIECE: Final = 16 * 1024
"""Bytes scanned at a time by `scan`: what a hostile body can cost between two looks at the work done is bounded."""

SLICE: Final = 1024 * 1024
"""`scan` yields at least this often."""

SLICE_STEPS: Final = 2048
"""`scan` yields after so many steps of the loop, however few bytes they covered: a step is up to 1 µs."""

MAX_STEPS: Final = 65_536
"""`scan_now` gives up after so many: 50 ms on a body made of brackets."""

MAX_SLICED_STEPS: Final = 1024 * 1024
"""The same for `scan`: a second in all, and more brackets than any conversation has."""

MAX_NAME: Final = 512
"""Bytes of a name as written. A longer one is none that anybody wants."""
MAX_SCALAR: Final = 4096
MAX_MEMBERS: Final = 64
"""Wanted members; more are a fault."""

ENDS_EARLY: Final = "ends early"
"""The fault of a body that was well so far."""

_SCALAR_END: Final = re.compile(rb"[^ \t\n\r,}\]]*+").match
_SCALAR: Final = re.compile(
    rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity"
).fullmatch


class Member(NamedTuple):
    """A wanted member. Positions are byte offsets in the whole body; `value` is `None` where it exceeded the limit."""

    name: str
    key_start: int
    start: int
    end: int
    value: bytes | None


class Scanner:
    """Finds the wanted top-level members of one object.

    `wanted` holds case-folded names; members are reported under the name as written, repeated ones each time.
    After `finish`, `fault` says why the body is no JSON object, else `None`.
    """

    __slots__ = (
        "_kept",
        "_key",
        "_key_start",
        "_limit",
        "_name",
        "_offset",
        "_scalar",
        "_skip",
        "_start",
        "_state",
        "_wanted",
        "fault",
        "members",
    )

    def __init__(self, wanted: frozenset[str], value_limit: int = 64 * 1024) -> None:
        self._wanted = wanted
        self._limit = value_limit
        self._skip = Skipper()
        self._state = self._expect_object
        self._offset = 0  # of the running piece in the body
        self._key = b""
        self._key_start = 0
        self._name: str | None = None  # of the running member, if wanted
        self._start = 0
        self._scalar = bytearray()
        self._kept: bytearray | None = None  # the running value so far; None once it is too long or unwanted
        self.members: list[Member] = []
        self.fault: str | None = None

    @property
    def steps(self) -> int:
        """Work done so far, in steps of the loop."""
        return self._skip.steps

    def feed(self, data: bytes) -> None:
        at, size = 0, len(data)
        skip = self._skip
        while at < size and self.fault is None:
            skip.steps += 1
            at = self._state(data, at)
        self._offset += size

    def finish(self) -> None:
        """The body has ended."""
        if self.fault is None and self._state != self._expect_end:
            self.fault = ENDS_EARLY

    def names(self) -> set[str]:
        """Wanted names that occurred, also that of a member still open."""
        names = {member.name for member in self.members}
        if self._name is not None:
            names.add(self._name)
        return names

    def values(self) -> dict[str, bytes]:
        """Name as written → value, the last one of a repeated name (as most parsers have it)."""
        return {member.name: member.value for member in self.members if member.value is not None}

    def _broken(self, what: str, at: int) -> int:
        self.fault = f"{what} at byte {self._offset + at}"
        return at

    def _expect_object(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            if data[at] != 0x7B:
                return self._broken("no object", at)
            self._state = self._expect_first_key
            at += 1
        return at

    def _expect_first_key(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data) and data[at] == 0x7D:
            self._state = self._expect_end
            return at + 1
        return self._expect_key(data, at)

    def _expect_key(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            if data[at] != QUOTE:
                return self._broken("no name", at)
            self._key_start = self._offset + at
            self._key = b'"'
            self._state = self._in_key
            at += 1
        return at

    def _in_key(self, data: bytes, at: int) -> int:
        end = self._skip.string_end(data, at)
        stop = end if end >= 0 else len(data)
        if len(self._key) <= MAX_NAME:
            self._key += data[at : min(stop, at + MAX_NAME + 1)]
        if end >= 0:
            self._name = self._wanted_name()
            self._state = self._expect_colon
        return stop

    def _wanted_name(self) -> str | None:
        if len(self._key) > MAX_NAME:
            return None
        try:
            name: str = _decode_name(self._key)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return name if name.casefold() in self._wanted else None

    def _expect_colon(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            if data[at] != 0x3A:
                return self._broken("no colon", at)
            self._state = self._expect_value
            at += 1
        return at

    def _expect_value(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            self._start = self._offset + at
            self._kept = bytearray() if self._name is not None else None
            byte = data[at]
            if byte == QUOTE:
                self._keep(data, at, at + 1)
                self._state = self._in_string
                return at + 1
            if byte in CLOSER:
                self._keep(data, at, at + 1)
                self._skip.open(byte)
                self._state = self._in_nested
                return at + 1
            self._state = self._in_scalar
        return at

    def _in_string(self, data: bytes, at: int) -> int:
        return self._value_until(self._skip.string_end(data, at), data, at)

    def _in_nested(self, data: bytes, at: int) -> int:
        end = self._skip.nested_end(data, at)
        if self._skip.fault:
            return self._broken(self._skip.fault, at)
        return self._value_until(end, data, at)

    def _value_until(self, end: int, data: bytes, at: int) -> int:
        """The running value goes on (`end` < 0) or ends here."""
        stop = end if end >= 0 else len(data)
        self._keep(data, at, stop)
        if end >= 0:
            self._add_member(self._offset + end)
        return stop

    def _in_scalar(self, data: bytes, at: int) -> int:
        match = _SCALAR_END(data, at)
        end = match.end() if match else at
        self._scalar += data[at : min(end, at + MAX_SCALAR + 1)]
        if len(self._scalar) > MAX_SCALAR:
            return self._broken("number too long", at)
        if end < len(data):
            if not _SCALAR(self._scalar):
                return self._broken("no value", at)
            self._kept = self._scalar if self._name is not None and len(self._scalar) <= self._limit else None
            self._scalar = bytearray()
            self._add_member(self._offset + end)
        return end

    def _keep(self, data: bytes, start: int, stop: int) -> None:
        kept = self._kept
        if kept is not None:
            if len(kept) + stop - start > self._limit:
                self._kept = None
            else:
                kept += data[start:stop]

    def _add_member(self, end: int) -> None:
        if self._name is not None:
            value = bytes(self._kept) if self._kept is not None else None
            self.members.append(Member(self._name, self._key_start, self._start, end, value))
            self._kept = None
            if len(self.members) > MAX_MEMBERS:
                self.fault = "names are repeated too often"
        self._state = self._expect_comma

    def _expect_comma(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            if data[at] == 0x2C:
                self._state = self._expect_key
            elif data[at] == 0x7D:
                self._state = self._expect_end
            else:
                return self._broken("no comma", at)
            at += 1
        return at

    def _expect_end(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at < len(data):
            return self._broken("something follows", at)
        return at


_decode_name: Final = msgspec.json.Decoder(str).decode


def scan(body: bytes, wanted: frozenset[str], value_limit: int = 64 * 1024) -> Generator[None, None, Scanner]:
    """Scan a body held in memory; yields between slices so that the event loop can run.

    Returns the finished scanner.
    """
    scanner = Scanner(wanted, value_limit)
    due, steps_due = SLICE, SLICE_STEPS
    for start in range(0, len(body), PIECE):
        if start >= due or scanner.steps >= steps_due:
            yield
            due, steps_due = start + SLICE, scanner.steps + SLICE_STEPS
        feed_within(scanner, body[start : start + PIECE], MAX_SLICED_STEPS)
        if scanner.fault:
            break
    scanner.finish()
    return scanner


def scan_now(body: bytes, wanted: frozenset[str], value_limit: int = 64 * 1024) -> Scanner:
    """Scan a body in one go: at most 1 MiB, please. Gives up (`fault`) on one that takes more than `MAX_STEPS`."""
    scanner = Scanner(wanted, value_limit)
    for start in range(0, len(body), PIECE):
        feed_within(scanner, body[start : start + PIECE], MAX_STEPS)
        if scanner.fault:
            break
    scanner.finish()
    return scanner


def feed_within(scanner: Scanner, piece: bytes, most: int) -> None:
    """Go on, up to so many steps altogether; beyond, the scanner gives up (`fault`)."""
    scanner.feed(piece)
    if scanner.fault is None and scanner.steps > most:
        scanner.fault = "too intricate to be searched"
