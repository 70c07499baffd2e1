"""Where strings and nested values of JSON end, in bytes that come in pieces. What stands inside is not looked at.

Rules: sans-I/O; any split gives the same result; nothing raises: `fault` says what does not match.

How it is fast: short runs and short strings are skipped by one regular expression; long strings (images, prose) by
`find` for the closing quote; long runs of numbers (embeddings) by `find` for the next mark.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 10_000

QUOTE: Final = 0x22
CLOSER: Final = {0x7B: 0x7D, 0x5B: 0x5D}
"""Opening bracket → closing bracket."""

_BACKSLASH: Final = 0x5C
_MARKS: Final = (b'"', b"{", b"}", b"[", b"]")
_SPACE: Final = re.compile(rb"[ \t\n\r]*+").match
_STRING_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL).match
_SHORT: Final = re.compile(rb'[^"{}\[\]]{0,64}+(?:"[^"\\]{0,64}+"[^"{}\[\]]{0,64}+)*+').match


def spaces(data: bytes, at: int) -> int:
    """Index of the next byte that is no white space."""
    match = _SPACE(data, at)
    return match.end() if match else at


class Skipper:
    """Finds where a string or a nested value ends. Its state outlives a piece."""

    __slots__ = ("_escaped", "_in_string", "_stack", "fault", "steps")

    def __init__(self) -> None:
        self._stack = bytearray()  # closing brackets due, innermost last
        self._in_string = False  # inside a string of a nested value
        self._escaped = False  # the last piece ended in a backslash that quotes the next byte
        self.steps = 0
        self.fault: str | None = None

    def open(self, bracket: int) -> None:
        self._stack.append(CLOSER[bracket])

    def string_end(self, data: bytes, at: int) -> int:
        """Index after the closing quote of the string that `at` lies in; -1 if it goes on in the next piece."""
        if at >= len(data):
            return -1
        if self._escaped:
            self._escaped = False
            at += 1
        quote = data.find(b'"', at)
        if quote < 0:
            end = len(data)
            while end > at and data[end - 1] == _BACKSLASH:
                end -= 1
            self._escaped = (len(data) - end) % 2 == 1
            return -1
        if quote == at or data[quote - 1] != _BACKSLASH:
            return quote + 1
        match = _STRING_REST(data, at)
        end = match.end() if match else at
        if end == len(data):
            return -1
        if data[end] == QUOTE:
            return end + 1
        self._escaped = True  # a backslash is the piece's last byte
        return -1

    def nested_end(self, data: bytes, at: int) -> int:
        """Index after the bracket that closes the open value; -1 if it goes on, or at a fault."""
        stack = self._stack
        marks = [-1, -1, -1, -1, -1]
        size = len(data)
        if self._in_string:
            at = self.string_end(data, at)
            if at < 0:
                return -1
            self._in_string = False
        while True:
            match = _SHORT(data, at)
            at = match.end() if match else at
            if at >= size:
                return -1
            self.steps += 1
            byte = data[at]
            if byte == QUOTE:
                at = self.string_end(data, at + 1)
                if at < 0:
                    self._in_string = True
                    return -1
            elif byte in CLOSER:
                if len(stack) >= MAX_DEPTH:
                    self.fault = f"nested deeper than {MAX_DEPTH}"
                    return -1
                stack.append(CLOSER[byte])
                at += 1
            elif byte in (0x7D, 0x5D):
                if stack.pop() != byte:
                    self.fault = "brackets do not match"
                    return -1
                at += 1
                if not stack:
                    return at
            else:
                at = _next_mark(data, at, marks)


def _next_mark(data: bytes, at: int, marks: list[int]) -> int:
    """The next quote or bracket from `at`. `marks` remembers each one's next place: every byte is searched once."""
    for index, mark in enumerate(_MARKS):
        if marks[index] < at:
            found = data.find(mark, at)
            marks[index] = found if found >= 0 else len(data)
    return min(marks)
