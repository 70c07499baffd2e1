"""WebSocket (RFC 6455) for whoever passes it on: the opening handshake, and watching frames go by.

Rules
- Sans-I/O. What is passed on is never changed here; `FrameReader` sees copies, split anywhere, and never raises.
- Extensions are not negotiated: frames are then what they seem, and can be read.
- What is held is bounded by the reader's limit, however a message is cut into frames; what is larger is counted and let
  go by. At the first frame that breaks the protocol reading stops (`fault`): the peers will see to it themselves.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Final

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Fields, Head, Headers

GOING_AWAY: Final = 1001
FRAMES_AT_ONCE: Final = 256
"""Frames that are read before others get a turn: half a millisecond."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_VERSION: Final = b"13"
_ONCE: Final = (b"sec-websocket-key", b"sec-websocket-version")
_PASSED_UP: Final = frozenset((*_ONCE, b"sec-websocket-protocol"))

_LONGEST_HEAD: Final = 14
_CONTROL: Final = 8
"""Opcodes from here on are control frames."""
_CLOSE: Final = 8
_PONG: Final = 10
_BINARY: Final = 2
_LONGEST_CONTROL: Final = 125


def check_handshake(head: Head) -> None:
    """Whether a request for `Upgrade: websocket` may be made. Raises `GatehouseError` (400) naming what is wrong."""
    fields = head.fields
    if head.method != b"GET" or head.minor != 1:
        raise _bad(f"is a GET in HTTP/1.1, not a {head.method.decode()} in HTTP/1.{head.minor}")
    if fields.get(b"sec-websocket-version", b"").strip() != _VERSION:
        raise _bad("has the header `Sec-WebSocket-Version: 13`")
    if not _KEY.fullmatch(fields.get(b"sec-websocket-key", b"").strip()):
        raise _bad("has a Sec-WebSocket-Key of 16 bytes in base64")
    if len([name for name, _ in head.headers if name.lower() in _ONCE]) != len(_ONCE):
        raise _bad("has one Sec-WebSocket-Key and one Sec-WebSocket-Version")


def _bad(what: str) -> GatehouseError:
    return GatehouseError(errors.BAD_REQUEST, f"a WebSocket handshake {what}")


def handshake_lines(headers: Headers) -> bytes:
    """The header lines that make a request upstream the caller's handshake: no extensions among them."""
    kept = b"".join([b"%b: %b\r\n" % pair for pair in headers if pair[0].lower() in _PASSED_UP])
    return b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + kept


def accept_lines(head: Head, fields: Fields) -> bytes:
    """What the caller's 101 says of the handshake. `fields`: of the upstream's. Raises `ValueError` for no answer."""
    key = head.fields[b"sec-websocket-key"].strip()
    expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if fields.get(b"upgrade", b"").strip().lower() != b"websocket":
        raise ValueError("it switches to something else")
    if fields.get(b"sec-websocket-accept", b"").strip() != expected:
        raise ValueError("its Sec-WebSocket-Accept is wrong")
    if b"sec-websocket-extensions" in fields:
        raise ValueError("it uses an extension that nobody offered")
    lines = b"sec-websocket-accept: %b\r\n" % expected
    protocol = fields.get(b"sec-websocket-protocol")
    return lines if protocol is None else lines + b"sec-websocket-protocol: %b\r\n" % protocol


def close_frame(code: int, *, masked: bool) -> bytes:
    """A close frame without a reason. `masked`: towards a server."""
    payload = code.to_bytes(2, "big")
    if not masked:
        return b"\x88\x02" + payload
    mask = os.urandom(4)
    return b"\x88\x82" + mask + unmask(payload, mask)


def unmask(data: bytes, mask: bytes) -> bytes:
    """`data` with `mask` put on or taken off."""
    size = len(data)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")


class FrameReader:
    """Reads one direction: its messages, text or binary, and where frames end."""

    __slots__ = (
        "_fragmented", "_head", "_last", "_left", "_mask", "_masked", "_message", "_opcode", "_payload", "_too_large",
        "close_code", "closed", "fault", "frames", "limit", "skipped",
    )  # fmt: skip

    def __init__(self, limit: int, *, masked: bool) -> None:
        """`limit`: most bytes of a message that is put together; 0: none is. `masked`: a client's direction."""
        self.limit = limit
        self.frames = 0
        """Frames that have begun."""
        self.skipped = 0
        """Messages that were too large, where any are put together."""
        self.closed = False
        """A close frame has gone by."""
        self.close_code: int | None = None
        """What it said; `None` if it said nothing."""
        self.fault: str | None = None
        """Why reading stopped."""
        self._masked = masked
        self._head = b""
        """Of a frame whose head is not complete."""
        self._left = 0
        """Bytes of the frame's payload still to come."""
        self._opcode = 0
        self._last = False
        """The frame ends its message."""
        self._mask = b""
        self._payload = bytearray()
        """Of the frame that is being put together."""
        self._message = bytearray()
        """The frames before it."""
        self._fragmented = False
        """A message has begun, and its last frame has not."""
        self._too_large = False

    @property
    def whole(self) -> bool:
        """What went by ends with a frame's end."""
        return not (self._left or self._head) and self.fault is None

    def read(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Read on in the next bytes of the stream, from `at`. Messages that have become complete go into `found`.

        Returns where reading stopped, after `FRAMES_AT_ONCE` frames at the latest: call again from there.
        """
        end, until = len(data), self.frames + FRAMES_AT_ONCE
        while at < end and self.frames < until and self.fault is None:
            at = self._step(data, at, found)
        return at if self.fault is None else end

    def finish_frame(self, data: bytes, found: list[bytes]) -> int:
        """Read only what belongs to the frame that has begun, if one has; returns how many bytes of `data` do. A
        message that has become complete goes into `found`."""
        at, end = 0, len(data)
        while at < end and not self.whole and self.fault is None:
            at = self._step(data, at, found)
        return at

    def _step(self, data: bytes, at: int, found: list[bytes]) -> int:
        """A frame's head, or what there is of it or of the payload. Returns where it ends."""
        if not self._left:
            at = self._begin(data, at)
            if self._head or self.fault is not None or self._left:
                return at
        end = min(at + self._left, len(data))
        size = end - at
        self._left -= size
        wanted = self._opcode >= _CONTROL or (self.limit > 0 and not self._too_large)
        if wanted and size:
            self._keep(data, at, end)
        if not self._left:
            self._end(found)
        return end

    def _keep(self, data: bytes, at: int, end: int) -> None:
        if self._opcode < _CONTROL and len(self._message) + len(self._payload) + end - at > self.limit:
            self._drop()
        else:
            self._payload += data[at:end]

    def _drop(self) -> None:
        self._too_large = True
        self.skipped += 1
        self._message = bytearray()
        self._payload = bytearray()

    def _begin(self, data: bytes, at: int) -> int:
        """Read the head of a frame, as far as it is there."""
        kept = len(self._head)
        head = self._head + data[at : at + _LONGEST_HEAD - kept]
        size = _head_size(head)
        if len(head) < size:
            self._head = head
            return len(data)
        self._head = b""
        self._take(head[:size])
        return at + size - kept

    def _take(self, head: bytes) -> None:
        """A complete head."""
        self.frames += 1
        first, second = head[0], head[1]
        opcode, last, masked, length = first & 15, first >= 128, second >= 128, second & 127
        offset = 2
        if length > _LONGEST_CONTROL:
            offset = 4 if length == _LONGEST_CONTROL + 1 else 10
            length = int.from_bytes(head[2:offset], "big")
        self._mask = head[offset:]
        self._opcode = opcode
        self._last = last
        self._left = length
        self.fault = self._judge(first, masked=masked, length=length)
        if self.fault is not None:
            self._left = 0
        elif opcode < _CONTROL:
            if not self._fragmented:
                self._too_large = False
            self._fragmented = not last
            if self.limit and not self._too_large and len(self._message) + length > self.limit:
                self._drop()

    def _judge(self, first: int, *, masked: bool, length: int) -> str | None:
        """What of a frame's head breaks the protocol."""
        opcode = self._opcode
        if first & 0x70:
            return "a frame with reserved bits"
        if masked is not self._masked:
            return "a masked frame of a server" if masked else "an unmasked frame of a client"
        if length >> 63:
            return "a frame of absurd length"
        if opcode >= _CONTROL:
            if opcode > _PONG:
                return "a frame of no known kind"
            if not self._last or length > _LONGEST_CONTROL:
                return "a control frame that is too long or cut"
        elif opcode > _BINARY:
            return "a frame of no known kind"
        elif (opcode == 0) is not self._fragmented:
            return "a message that does not go on" if opcode else "a message without a beginning"
        return None

    def _end(self, found: list[bytes]) -> None:
        """The frame is complete."""
        payload = bytes(self._payload)
        if payload:
            self._payload = bytearray()
            if self._masked:
                payload = unmask(payload, self._mask)
        if self._opcode >= _CONTROL:
            if self._opcode == _CLOSE and not self.closed:
                self.closed = True
                self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        elif not self._last:
            self._message += payload
        else:
            if self._message:
                self._message += payload
                payload = bytes(self._message)
                self._message = bytearray()
            if self.limit and not self._too_large:
                found.append(payload)


def _head_size(head: bytes) -> int:
    """Bytes of a frame's head, as far as can be told from its beginning."""
    if len(head) < 2:
        return 2
    length = head[1] & 127
    size = 2 if length <= _LONGEST_CONTROL else 4 if length == _LONGEST_CONTROL + 1 else 10
    return size + (4 if head[1] >= 128 else 0)
