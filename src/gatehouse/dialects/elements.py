"""A JSON array that comes in pieces, cut into its elements (Gemini's streams without `alt=sse`).

Rules: sans-I/O; any split gives the same elements; one element is held, up to a limit; nothing raises.
"""

from __future__ import annotations

from gatehouse.dialects.nesting import CLOSER, Skipper, spaces


class Elements:
    """Cuts a JSON array that comes in pieces into its elements; an object alone counts as an array of one.

    Only objects and arrays count as elements; anything else is a fault. One above `limit` bytes is counted
    in `skipped` and not held. `ended`: the array was closed; `opened`: it had begun.
    """

    __slots__ = ("_bare", "_held", "_inside", "_limit", "_skip", "ended", "fault", "opened", "skipped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._skip = Skipper()
        self._held: bytearray | None = None
        self.opened = False
        self._bare = False
        self._inside = False
        self.ended = False
        self.skipped = 0
        self.fault: str | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that `data` completes."""
        found: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.ended and self.fault is None:
            if self._inside:
                at = self._element(data, at, found)
            else:
                at = self._between(data, at)
        return found

    def _between(self, data: bytes, at: int) -> int:
        at = spaces(data, at)
        if at == len(data):
            return at
        byte = data[at]
        if not self.opened:
            self.opened = True
            if byte == 0x5B:
                return at + 1
            if byte != 0x7B:
                self.fault = "neither an array nor an object"
                return at
            self._bare = True
        if byte in CLOSER:
            self._skip.open(byte)
            self._inside = True
            self._held = bytearray((byte,))
        elif byte == 0x5D:
            self.ended = True
        elif byte != 0x2C:
            self.fault = "an element is neither an object nor an array"
        return at + 1

    def _element(self, data: bytes, at: int, found: list[bytes]) -> int:
        end = self._skip.nested_end(data, at)
        self.fault = self._skip.fault
        stop = end if end >= 0 else len(data)
        held = self._held
        if held is not None:
            if len(held) + stop - at > self._limit:
                self._held = held = None
            else:
                held += data[at:stop]
        if end >= 0:
            self._inside = False
            self.ended = self._bare
            if held is None:
                self.skipped += 1
            else:
                found.append(bytes(held))
                self._held = None
        return stop
