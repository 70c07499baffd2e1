"""Content codings, undone incrementally so that an answer can be observed. The bytes passed on stay encoded.

Rules: sans-I/O; output comes in pieces of at most `PIECE` bytes; a coding that cannot be read, and data that does not
hold what its coding promises, make the decoder unreadable with a sentence that says why, and never raise; a cut stream
gives what it held so far. A body that grows beyond `MAX_RATIO` times its encoded size is a bomb: it is not read on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

PIECE: Final = 64 * 1024
"""Most decoded bytes in one piece."""

MAX_RATIO: Final = 200
"""Decoded bytes per encoded byte, once `RATIO_FREE` bytes are decoded. Deflate can reach 1032."""

RATIO_FREE: Final = 1024 * 1024

_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15


def _looks_like_zlib(first: int, second: int) -> bool:
    """A zlib header (RFC 1950): method 8, window up to 32 KiB, check bits. `deflate` is also sent without it."""
    return first & 0x0F == 8 and first >> 4 <= 7 and (first << 8 | second) % 31 == 0


class Decoder:
    """Decodes one body. `coding` is the value of Content-Encoding; empty or `identity` passes data through.

    `unreadable`: why nothing (more) can be read, else `None`.
    """

    __slots__ = ("_coding", "_decoded", "_encoded", "_ended", "_fresh", "_head", "_inflater", "_members", "unreadable")

    def __init__(self, coding: str) -> None:
        name = coding.strip().lower()
        self._coding = {"": "identity", "x-gzip": "gzip"}.get(name, name)
        self._inflater: zlib._Decompress | None = None
        self._head = b""  # the first byte of `deflate`, until the second tells its two forms apart
        self._members = 0
        self._fresh = True  # the running member has given nothing yet
        self._ended = False
        self._encoded = 0
        self._decoded = 0
        self.unreadable: str | None = None
        if self._coding not in ("identity", "gzip", "deflate"):
            self.unreadable = f"content coding {name[:40]!r} cannot be read"

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of `data`. Use the iterator up before the next call."""
        if self._coding == "identity":
            if len(data) <= PIECE:
                if data:
                    yield data
                return
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]
            return
        self._encoded += len(data)
        full = False  # a full piece: zlib may hold more output although it took all input
        while (data or full) and not self.unreadable and not self._ended:
            inflater = self._inflater
            if inflater is None:
                data, inflater = self._start(data)
                if inflater is None:
                    return
                self._inflater = inflater
                self._fresh = True
            try:
                piece = inflater.decompress(data, PIECE)
            except zlib.error:
                self._fail()
                return
            full = len(piece) == PIECE
            if piece:
                self._fresh = False
                self._decoded += len(piece)
                if self._decoded > RATIO_FREE and self._decoded > MAX_RATIO * self._encoded:
                    self.unreadable = f"decoded body is more than {MAX_RATIO} times its encoded size"
                    return
                yield piece
            data = self._end_member(inflater) if inflater.eof else inflater.unconsumed_tail
            full = full and self._inflater is not None

    def _end_member(self, inflater: zlib._Decompress) -> bytes:
        """Ready for a further member; returns the data that follows this one."""
        self._inflater = None
        self._members += 1
        self._ended = self._coding == "deflate"
        return inflater.unused_data

    def _start(self, data: bytes) -> tuple[bytes, zlib._Decompress | None]:
        """A new member's inflater and the data for it; no inflater if there is too little data, or no member."""
        if self._coding == "deflate":
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b"", None
            return data, zlib.decompressobj(_ZLIB if _looks_like_zlib(data[0], data[1]) else _RAW)
        if self._members:
            data = data.lstrip(b"\0")  # padding between and after members is allowed
            if not data:
                return b"", None
            if data[0] != 0x1F:
                self._ended = True  # what follows the last member is ignored, as gzip itself does
                return b"", None
        return data, zlib.decompressobj(_GZIP)

    def _fail(self) -> None:
        if self._members and self._fresh:
            self._ended = True
        else:
            self.unreadable = f"body is not valid {self._coding}"
