"""Reading a request's body that came encoded: decoded beside itself, to know what it asks; it goes on as it came (I1).

Rules: nothing raises; a body that cannot be decoded, grows beyond its bound, or finds no memory is `unread`, with the
reason. What is decoded counts as request body held (I9) until `forget()`, which is owed whatever happens.
"""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import Final, Protocol

from gatehouse.http.content import Decoder

_SLICE: Final = 256 * 1024
"""Decoded bytes, or encoded ones, between two yields: about a millisecond."""

_FED: Final = 4 * 1024
"""Encoded bytes fed at once: codings upon one another may expand them much in between."""


class Room(Protocol):
    """Where there is memory for bodies (`http.connection.ServerConnection`)."""

    def hold(self, size: int) -> bool:
        """`size` further bytes are held; `False`, and not counted, if there is no room."""

    def release(self, size: int) -> None:
        """`size` bytes are no longer held."""


class Encoded:
    """One encoded body, while it is read."""

    def __init__(self, room: Room, coding: str, limit: int) -> None:
        """`coding`: the value of Content-Encoding. `limit`: most decoded bytes."""
        self._room = room
        self._coding = coding
        self._limit = limit
        self._held = 0
        self.unread: str | None = None
        """Why there is nothing to read."""

    def decode(self, body: bytes) -> Generator[None, None, bytes]:
        """What `body` holds; empty if it is `unread`. Yields between slices, so that other calls go on."""
        decoder = Decoder(self._coding)
        decoded = BytesIO()  # gives its bytes without copying them: joining many pieces would hold the loop
        pending = 0
        for start in range(0, len(body), _FED):
            fed = body[start : start + _FED]
            pending += len(fed)
            for piece in decoder.feed(fed):
                if not self._take(len(piece)):
                    return b""
                decoded.write(piece)
                pending += len(piece)
                if pending >= _SLICE:
                    pending = 0
                    yield
            if decoder.unreadable is not None:
                break
            if pending >= _SLICE:
                pending = 0
                yield
        if not decoder.whole:
            self.unread = decoder.unreadable or f"body ends before its {self._coding[:40]} data do"
            return b""
        return decoded.getvalue()

    def forget(self) -> None:
        """The decoded body is no longer held."""
        self._room.release(self._held)
        self._held = 0

    def _take(self, size: int) -> bool:
        if self._held + size > self._limit:
            self.unread = f"decoded body is larger than {self._limit} bytes"
        elif not self._room.hold(size):
            self.unread = "no memory was left to decode the body"
        else:
            self._held += size
        return self.unread is None
