"""The content codings themselves, each undone incrementally by one class: gzip, deflate, br, zstd.

Rules: sans-I/O; output comes in pieces of at most `PIECE` bytes, however much the input expands, so that whoever reads
them can stop; what does not hold what its coding promises raises `Unreadable`, and nothing else is raised. Which
codings a body has, and how far it may grow, is `http.content`'s business.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

PIECE: Final = 64 * 1024
"""Most decoded bytes in one piece."""

ZSTD_WINDOW: Final = 8 * 1024 * 1024
"""Largest zstd window: RFC 9659 allows no sender more."""

_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Follows a byte from 0x50 to 0x5F."""
_ZSTD_BLOCK: Final = 128 * 1024
"""Most bytes a zstd block gives."""


class Unreadable(Exception):
    """Encoded data cannot be read on. Says why."""


class Coding(Protocol):
    """Undoes one coding of one body. Use an iterator up before the next `feed`."""

    @property
    def whole(self) -> bool:
        """The data fed so far stop where encoded data may stop; true before any."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of `data`, none of them empty. Raises `Unreadable`."""


def pieces(data: bytes) -> Iterator[bytes]:
    """`data`, in pieces of at most `PIECE` bytes."""
    if len(data) <= PIECE:
        if data:
            yield data
        return
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


class Inflate:
    """`gzip`, of any number of members, and `deflate`, with and without zlib's header."""

    __slots__ = ("_ended", "_fresh", "_head", "_inflater", "_members", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._inflater: zlib._Decompress | None = None
        self._head = b""  # the first byte of `deflate`, until the second tells its two forms apart
        self._members = 0
        self._fresh = True  # the running member has given nothing yet
        self._ended = False

    @property
    def whole(self) -> bool:
        return self._inflater is None and not self._head

    def feed(self, data: bytes) -> Iterator[bytes]:
        full = False  # a full piece: zlib may hold more output although it took all input
        while (data or full) and not self._ended:
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
                if not (self._members and self._fresh):
                    raise Unreadable(f"body is not valid {self._name}") from None
                # What follows the last member is ignored, as gzip itself does.
                self._inflater = None
                self._ended = True
                return
            full = len(piece) == PIECE
            if piece:
                self._fresh = False
                yield piece
            data = self._end_member(inflater) if inflater.eof else inflater.unconsumed_tail
            full = full and self._inflater is not None

    def _end_member(self, inflater: zlib._Decompress) -> bytes:
        """Ready for a further member; returns the data that follows this one."""
        self._inflater = None
        self._members += 1
        self._ended = self._name == "deflate"
        return inflater.unused_data

    def _start(self, data: bytes) -> tuple[bytes, zlib._Decompress | None]:
        """A new member's inflater and the data for it; no inflater if there is too little data, or no member."""
        if self._name == "deflate":
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b"", None
            self._head = b""
            return data, zlib.decompressobj(_ZLIB if _looks_like_zlib(data[0], data[1]) else _RAW)
        if self._members:
            data = data.lstrip(b"\0")  # padding between and after members is allowed
            if not data:
                return b"", None
            if data[0] != 0x1F:
                self._ended = True
                return b"", None
        return data, zlib.decompressobj(_GZIP)


def _looks_like_zlib(first: int, second: int) -> bool:
    """A zlib header (RFC 1950): method 8, window up to 32 KiB, check bits. `deflate` is also sent without it."""
    return first & 0x0F == 8 and first >> 4 <= 7 and (first << 8 | second) % 31 == 0


class Brotli:
    """`br`: one stream, and nothing behind it. Its window is at most 16 MiB, and grows with what is decoded."""

    __slots__ = ("_begun", "_decompressor")

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self._begun = False

    @property
    def whole(self) -> bool:
        return not self._begun or bool(self._decompressor.is_finished())

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        while True:
            try:
                # The limit is passed by less than one of the library's buffers. What remains comes for no input.
                output = self._decompressor.process(data, output_buffer_limit=PIECE)
            except brotli.error:
                raise Unreadable("body is not valid br") from None
            if not output:
                return
            data = b""
            yield from pieces(output)


class Zstd:
    """`zstd` (RFC 8878): any number of frames in a row.

    The binding cannot bound its output, but a block gives at most 128 KiB. So the frames are taken apart here, as far
    as it takes to hand over one block at a time.
    """

    __slots__ = ("_buffer", "_checked", "_frame", "_head", "_last", "_need", "_skip", "_step")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._head = b""
        self._checked = False  # a checksum follows the frame's last block
        self._last = False  # the block at hand is the frame's last
        self._skip = 0
        self._need = 4  # bytes the next step takes
        self._step: Callable[[Zstd, bytes], bytes] = Zstd._magic  # unbound: no cycle keeps the window's memory

    @property
    def whole(self) -> bool:
        return self._step is Zstd._magic and not self._buffer

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= self._need:
                part = bytes(buffer[at : at + self._need])
                at += len(part)
                output = self._step(self, part)
                if output:
                    yield from pieces(output)
        except zstandard.ZstdError:
            raise Unreadable("body is not valid zstd") from None
        del buffer[:at]

    def _expect(self, size: int, step: Callable[[Zstd, bytes], bytes]) -> None:
        self._need = size
        self._step = step

    # -- the steps: each takes the bytes it asked for, says what comes next, and returns what was decoded

    def _magic(self, part: bytes) -> bytes:
        if part[0] & 0xF0 == 0x50 and part[1:] == _ZSTD_SKIPPABLE:
            self._expect(4, Zstd._skip_size)
        elif part == _ZSTD_MAGIC:
            self._expect(1, Zstd._descriptor)
        else:
            raise Unreadable("body is not valid zstd")
        return b""

    def _skip_size(self, part: bytes) -> bytes:
        self._skip = int.from_bytes(part, "little")
        return self._skipped(b"")

    def _skipped(self, part: bytes) -> bytes:
        self._skip -= len(part)
        if self._skip:
            self._expect(min(self._skip, PIECE), Zstd._skipped)
        else:
            self._expect(4, Zstd._magic)
        return b""

    def _descriptor(self, part: bytes) -> bytes:
        flags = part[0]
        single = flags >> 5 & 1
        self._head = _ZSTD_MAGIC + part
        self._checked = bool(flags & 4)
        size = (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        self._expect(size, Zstd._header)
        return b""

    def _header(self, part: bytes) -> bytes:
        head = self._head + part
        if zstandard.get_frame_parameters(head).window_size > ZSTD_WINDOW:
            raise Unreadable(f"zstd window is larger than {ZSTD_WINDOW} bytes")
        self._frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self._expect(3, Zstd._block)
        return self._frame.decompress(head)

    def _block(self, part: bytes) -> bytes:
        head = int.from_bytes(part, "little")
        size = head >> 3
        if size > _ZSTD_BLOCK:
            raise Unreadable("body is not valid zstd")
        repeated = head >> 1 & 3 == 1  # one byte, `size` times
        self._last = bool(head & 1)
        self._expect(1 if repeated else size, Zstd._content)
        return self._decompressed(part)

    def _content(self, part: bytes) -> bytes:
        if not self._last:
            self._expect(3, Zstd._block)
        elif self._checked:
            self._expect(4, Zstd._checksum)
        else:
            self._expect(4, Zstd._magic)
        return self._decompressed(part) if part else b""  # an empty block has ended with its header

    def _checksum(self, part: bytes) -> bytes:
        self._expect(4, Zstd._magic)
        return self._decompressed(part)

    def _decompressed(self, part: bytes) -> bytes:
        assert self._frame is not None  # noqa: S101 - made with the header
        return self._frame.decompress(part)
