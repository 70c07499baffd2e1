"""One request on a client connection and its answer: what an application reads and writes.

Rules: the application reads `head` and takes the body, then answers once with `start`, `write` …, and `end` or `abort`.
Everything here is synchronous; who has to wait sleeps on `fiber` and looks again. An answer that cannot be finished
ends abnormally: never with the last chunk, never at the promised length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.fiber import Fiber
from gatehouse.http.message import Head

if TYPE_CHECKING:
    from gatehouse.http.connection import ServerConnection

REASONS: Final = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 206: b"Partial Content", 304: b"Not Modified",
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 413: b"Content Too Large", 415: b"Unsupported Media Type", 426: b"Upgrade Required",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    502: b"Bad Gateway", 503: b"Service Unavailable",
}  # fmt: skip


class Exchange:
    """`gone`: the client left or its connection failed; nothing written matters any more. `paused`: it takes no bytes
    now. `fault`: the request broke its framing, its limit or its time-out. Each is followed by a wake-up.
    """

    __slots__ = (
        "_chunked", "_forgotten", "_headless", "_held", "_length", "buffered", "complete", "extra", "fault", "fiber",
        "finished", "gone", "head", "keep", "limit", "paused", "pieces", "received", "sent", "started", "upgrade",
        "wire", "wire_bytes",
    )  # fmt: skip

    head: Head
    """Set before the exchange is dispatched."""

    def __init__(self, wire: ServerConnection, limit: int) -> None:
        self.wire = wire
        self.fiber = Fiber()
        self.keep = True
        """The client wants to use the connection again."""
        self.pieces: list[bytes] = []
        self.buffered = 0
        """Bytes in `pieces`."""
        self.received = 0
        """Body bytes that have arrived, de-chunked."""
        self.wire_bytes = 0
        """Bytes of a chunked body that have been read, as framed."""
        self.limit = limit
        self.complete = False
        """The whole request has arrived."""
        self.upgrade = False
        """It asks for WebSocket: what follows its head is no body, and waits in `pieces` for a `switch()`."""
        self.fault: GatehouseError | None = None
        self.gone = False
        self.paused = False
        self.extra = b""
        """Header lines that whatever answer there is carries."""
        self.started = False
        """A head was handed over; too late for another status."""
        self.finished = False
        self.sent = 0
        """Body bytes handed to the transport."""
        self._held = b""
        self._forgotten = 0
        self._chunked = False
        self._headless = False
        self._length: int | None = None

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.wire.peer

    @property
    def measured(self) -> bool:
        """The answer's length was promised: there is no place for anything else, not even an error."""
        return self._length is not None

    # -- the request's body

    def arrived(self, data: bytes) -> int:
        """The connection hands in a piece. Returns its size: so much is held until the wire hears of its `release`."""
        size = len(data)
        self.pieces.append(data)
        self.received += size
        self.buffered += size
        return size

    def accept_body(self, limit: int) -> None:
        """Set the body's limit and let it come: answers `Expect: 100-continue`. Raises 413 if more is announced.

        The connection then closes, however much of that body has come.
        """
        self.limit = limit
        head = self.head
        if (head.length is not None and head.length > limit) or self.received > limit:
            self.keep = False
            raise GatehouseError(errors.TOO_LARGE, f"request body is larger than {limit} bytes")
        if head.expects_continue and not (self.complete or self.received or self.started or self.gone):
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self) -> list[bytes]:
        """The pieces that arrived since the last call. They stay counted until `forget()`."""
        pieces = self.pieces
        if pieces:
            self.pieces = []
            self.buffered = 0
            self.wire.relieve()
        return pieces

    def forget(self) -> None:
        """Nobody holds the pieces taken so far any longer."""
        size = self.received - self.buffered - self._forgotten
        if size:
            self._forgotten += size
            self.wire.release(size)

    def drop(self) -> None:
        """The exchange ends: whatever is still held is not."""
        self.pieces = []
        self.buffered = 0
        self.forget()

    # -- the answer

    def start(self, status: int, header_lines: bytes, length: int | None) -> None:
        """Begin the answer. `header_lines`: complete lines, each ending in CRLF, without framing headers.

        `length`: body bytes to come, or `None` for a body of unknown length. Nothing is sent before the first body
        byte, `flush()` or `end()`.
        """
        self.started = True
        head = self.head
        self._headless = head.method == b"HEAD" or status in (204, 304)
        self._length = length
        if not self.complete:
            self.keep = False  # the rest of the request is not worth reading
        framing = b""
        if length is not None:
            if status != 204:
                framing = b"content-length: %d\r\n" % length
        elif head.minor == 1:
            if not self._headless:
                self._chunked = True
                framing = b"transfer-encoding: chunked\r\n"
        else:
            self.keep = False
        if not (self.keep and self.wire.keep):
            framing += b"connection: close\r\n"
        elif head.minor == 0:
            framing += b"connection: keep-alive\r\n"
        reason = REASONS.get(status, b"")
        self._held = b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (status, reason, header_lines, self.extra, framing)

    def answer(self, status: int, header_lines: bytes, body: bytes) -> None:
        """A whole answer at once."""
        self.start(status, header_lines, len(body))
        self.write(body)
        self.end()

    def switch(self, header_lines: bytes) -> None:
        """Answer 101: from here on `write` and `pieces` are bytes of the other protocol. For `upgrade` alone."""
        self.started = True
        head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        self._held = b"%b%b%b\r\n" % (head, header_lines, self.extra)
        self.flush()

    def write(self, data: bytes) -> None:
        """Hand body bytes to the transport (none where the status or method has no body)."""
        if self._headless or not data or self.gone:
            return
        self.sent += len(data)
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._held, len(data), data)
        elif self._held:
            data = self._held + data
        self._held = b""
        self.wire.send(data)

    def flush(self) -> None:
        """Send the head without waiting for the first body byte."""
        if self._held and not self.gone:
            self.wire.send(self._held)
            self._held = b""

    def end(self) -> None:
        """The answer is whole. If it is not what `start` promised, it ends as `abort` does."""
        if self.finished:
            return
        if self._length is not None and self.sent != self._length and not self._headless:
            self.abort()
            return
        self.finished = True
        if not self.gone:
            rest = self._held + b"0\r\n\r\n" if self._chunked else self._held
            if rest:
                self.wire.send(rest)
        self._leave()

    def abort(self) -> None:
        """The answer cannot be finished: end so that the client notices."""
        if self.finished:
            return
        self.finished = True
        self.keep = False
        if not self.gone:
            self.flush()
            # Close-delimited: a clean FIN would look like the end of the body. Otherwise what is missing tells.
            self.wire.close(reset=self.started and not (self._chunked or self._headless) and self._length is None)
        self._leave()

    def _leave(self) -> None:
        self._held = b""
        self.drop()
        self.wire.next_exchange(self)
