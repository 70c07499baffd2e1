"""Content codings, undone incrementally so that a body can be observed. The bytes passed on stay encoded.

Rules: sans-I/O; output comes in pieces of at most `PIECE` bytes; a coding that cannot be read, and data that does not
hold what its coding promises, make the decoder unreadable with a sentence that says why, and never raise; a cut stream
gives what it held so far. A body that grows beyond `MAX_RATIO` times its encoded size, in any of its codings, is a
bomb: it is not read on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from gatehouse.http.codings import PIECE as PIECE
from gatehouse.http.codings import Brotli, Coding, Inflate, Unreadable, Zstd, pieces

MAX_RATIO: Final = 200
"""Decoded bytes per encoded byte, once `RATIO_FREE` bytes are decoded. Deflate can reach 1032, br and zstd far more."""

RATIO_FREE: Final = 1024 * 1024

MAX_CODINGS: Final = 3
"""Codings of one body: each may hold a window of several megabytes."""

_CODINGS: Final[dict[str, Callable[[], Coding]]] = {
    "gzip": partial(Inflate, "gzip"),
    "x-gzip": partial(Inflate, "gzip"),
    "deflate": partial(Inflate, "deflate"),
    "br": Brotli,
    "zstd": Zstd,
}


class Decoder:
    """Decodes one body. `coding` is the value of Content-Encoding: codings in the order they were applied.

    Empty or `identity` passes data through. `unreadable`: why nothing (more) can be read, else `None`.
    """

    __slots__ = ("_codings", "_decoded", "_encoded", "unreadable")

    def __init__(self, coding: str) -> None:
        self.unreadable: str | None = None
        names = [name for each in coding.lower().split(",") if (name := each.strip()) not in ("", "identity")]
        unknown = next((name for name in names if name not in _CODINGS), None)
        if unknown is not None:
            self.unreadable = f"content coding {unknown[:40]!r} cannot be read"
        elif len(names) > MAX_CODINGS:
            self.unreadable = f"more than {MAX_CODINGS} content codings cannot be read"
        self._codings = [_CODINGS[name]() for name in reversed(names)] if self.unreadable is None else []
        self._encoded = 0
        self._decoded = [0] * len(self._codings)

    @property
    def whole(self) -> bool:
        """Readable, and what was fed so far is not cut short."""
        return self.unreadable is None and all(coding.whole for coding in self._codings)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of `data`. Use the iterator up before the next call."""
        if self.unreadable is not None or not data:
            return
        if not self._codings:
            yield from pieces(data)
            return
        self._encoded += len(data)
        decoded: Iterable[bytes] = (data,)
        for number in range(len(self._codings)):
            decoded = self._undo(number, decoded)
        try:
            yield from decoded
        except Unreadable as why:
            self.unreadable = str(why)

    def _undo(self, number: int, encoded: Iterable[bytes]) -> Iterator[bytes]:
        feed = self._codings[number].feed
        for data in encoded:
            for piece in feed(data):
                self._decoded[number] += len(piece)
                if self._decoded[number] > RATIO_FREE and self._decoded[number] > MAX_RATIO * self._encoded:
                    raise Unreadable(f"decoded body is more than {MAX_RATIO} times its encoded size")
                yield piece
