"""Reading requests off a client connection: bytes become exchanges, in order. No I/O, no clock, no answers.

What lives here: feeding llhttp, counting what it is fed, pipelining, `Upgrade`. What does not: what a head may say
(`message`), when an exchange is served and how a fault is answered (`server`), which WebSockets are (`Application`).

Rules
- Parser callbacks only collect. `feed` returns first; whoever called it acts.
- Raw bytes are counted before they are fed: a head stays within `header_bytes`, a chunked body's wire form within twice
  the body's limit plus 64 KiB, and no more than `header_bytes` of it come without bringing content: llhttp swallows
  endless chunk extensions without a callback, and httptools gathers an endless trailer in quadratic time.
- The first fault stands in `refusal`. Nothing behind it is read.
- What comes after the head as a header is a trailer, and dropped: an `Authorization` there would come after
  authentication.
- A request for WebSocket is the last one: whatever follows its head stays with it, as it came.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from gatehouse.http.message import Head, Headers, spoken

if TYPE_CHECKING:
    from gatehouse.http.connection import ServerConnection
    from gatehouse.http.server import Server

_WIRE_SLACK: Final = 65_536
_REMEMBERED: Final = 8192
"""Bytes of a head that is kept while its connection is idle."""


class RequestReader:
    """The requests of one connection."""

    __slots__ = (
        "_barren", "_begun", "_bounds", "_head_limit", "_headers", "_last", "_parser", "_progress", "_resuming",
        "_server", "_target", "_unsure", "_wire", "head_bytes", "incoming", "queue", "refusal",
    )  # fmt: skip

    def __init__(self, wire: ServerConnection, server: Server) -> None:
        self.queue: deque[Exchange] = deque()
        """Requests nobody has begun to answer. The last may still be arriving."""
        self.incoming: Exchange | None = None
        """The request whose body is arriving: the last in the queue, or one being answered."""
        self.refusal: GatehouseError | None = None
        """A fault of `incoming`, or of what follows the last whole request."""
        self.head_bytes = 0
        """Raw bytes fed since the last complete head; more than 0 exactly while a head is arriving."""
        self._wire: ServerConnection | None = wire
        """`None` once the connection is over: each would keep the other alive."""
        self._server = server
        """Counts the request body bytes held by all."""
        self._bounds = server.limits
        self._head_limit = server.limits.header_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: Headers = []
        self._last: Head | None = None
        """The last head that was read in full: the next one often repeats it."""
        self._begun = False
        """A head has begun and is not complete."""
        self._unsure = False
        """Some of that head's bytes came in one piece with what preceded it, and are not in `head_bytes`."""
        self._barren = 0
        """Bytes of a chunked body that came since `_progress` bytes of content were there."""
        self._progress = 0
        self._resuming = False

    def feed(self, data: bytes) -> None:
        """Take in what the client sent. Nothing is raised: see `refusal`."""
        while data and self.refusal is None:
            size = len(data)
            if self.incoming is None and self.head_bytes + size <= self._head_limit:
                self.head_bytes += size
            else:
                size = self._allowance(size)
                if not size:
                    return
            try:
                self._parser.feed_data(data if size == len(data) else data[:size])
                data = data[size:]
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._upgrade()
            except httptools.HttpParserError as error:
                reason = error.args[0] if error.args else error
                self.refuse(GatehouseError(errors.BAD_REQUEST, f"malformed HTTP: {reason}"))
            if self._begun and not self.head_bytes:
                self.head_bytes = 1
                self._unsure = True

    def refuse(self, error: GatehouseError) -> None:
        """Read no further. Only the first fault counts."""
        if self.refusal is None:
            self.refusal = error

    def clear(self) -> None:
        """The connection is over: nothing more is fed, and nothing here will be answered."""
        self._parser = cast(httptools.HttpRequestParser, None)  # it refers back to us
        self._wire = None
        self.incoming = None
        for waiting in self.queue:
            waiting.drop()
        self.queue.clear()

    def ahead(self) -> int:
        """Body bytes held for requests nobody has begun to answer."""
        return sum(waiting.buffered for waiting in self.queue)

    # -- feeding the parser

    def _allowance(self, size: int) -> int:
        """How many of the next `size` bytes may be fed at once: at least 1, or 0 and a refusal."""
        incoming = self.incoming
        limit = self._head_limit
        if incoming is None:
            size = min(size, limit - self.head_bytes)
            if size <= 0:
                self.refuse(GatehouseError(errors.HEADERS_TOO_LARGE, f"request head is larger than {limit} bytes"))
                return 0
            self.head_bytes += size
            return size
        length = incoming.head.length
        if length:
            return min(size, length - incoming.received)
        if incoming.upgrade:
            return size
        if incoming.received != self._progress:
            self._progress = incoming.received
            self._barren = 0
        size = min(size, limit - self._barren, 2 * incoming.limit + _WIRE_SLACK - incoming.wire_bytes)
        if size <= 0:
            self.refuse(GatehouseError(errors.TOO_LARGE, "request body has absurdly much transfer encoding"))
            return 0
        self._barren += size
        incoming.wire_bytes += size
        return size

    def _upgrade(self) -> None:
        """llhttp stopped at a head with `Upgrade`: what follows is WebSocket, or an ordinary body."""
        incoming = self.incoming
        if incoming is None or self.refusal is not None:
            return
        head = incoming.head
        wanted = b",".join([value for name, value in head.headers if name.lower() == b"upgrade"]).strip().lower()
        if b"websocket" not in wanted:
            self._ignore_upgrade(incoming, head)
        elif wanted != b"websocket":
            self.refuse(GatehouseError(errors.UPGRADE_UNSUPPORTED, "`Upgrade` may name websocket, or others, not both"))
        elif head.length or head.chunked:
            self.refuse(GatehouseError(errors.BAD_REQUEST, "a WebSocket handshake has no body"))
        else:
            incoming.upgrade = incoming.complete = True
            incoming.keep = False
            incoming.limit = sys.maxsize
            self._parser = cast(httptools.HttpRequestParser, _Through(self))

    def _ignore_upgrade(self, incoming: Exchange, head: Head) -> None:
        """`Upgrade` on an ordinary request (JDK clients offer h2c): read its body with the framing it declared.

        A fresh parser gets a synthetic head with the same framing, then what follows.
        """
        framing = b"transfer-encoding: chunked\r\n" if head.chunked else b"content-length: %d\r\n" % (head.length or 0)
        self._parser = httptools.HttpRequestParser(self)
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\n" % framing)
        self._resuming = False
        self._begun = False
        self._target = b""
        if not (head.length or head.chunked):
            incoming.complete = True
            self.incoming = None

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.incoming is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        wire = self._wire
        if wire is None or self._resuming or self.refusal is not None:
            return
        self._begun = False
        self.head_bytes = 0
        bounds = self._bounds
        if self.queue and len(self.queue) >= bounds.pipelined + (wire.active is None):
            self.refuse(GatehouseError(errors.OVERLOADED, f"more than {bounds.pipelined} pipelined requests wait"))
        elif len(self._headers) > bounds.header_count:
            self.refuse(GatehouseError(errors.HEADERS_TOO_LARGE, f"more than {bounds.header_count} headers"))
        elif self._unsure and self._head_size() > self._head_limit:
            limit = self._head_limit
            self.refuse(GatehouseError(errors.HEADERS_TOO_LARGE, f"request head is larger than {limit} bytes"))
        elif len(self._target) > bounds.url_bytes:
            self.refuse(GatehouseError(errors.HEADERS_TOO_LARGE, f"request target exceeds {bounds.url_bytes} bytes"))
        else:
            self._admit(wire)
        self._unsure = False
        self._target = b""
        self._headers = []

    def _head_size(self) -> int:
        """The head as it would stand without superfluous whitespace, bytes."""
        line = len("GET ") + len(self._target) + len(" HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _admit(self, wire: ServerConnection) -> None:
        parser = self._parser
        exchange = Exchange(wire, self._bounds.upload_bytes)
        try:
            method, version = parser.get_method(), spoken(parser, self._headers)
            last = self._last
            head = last.repeated(method, self._target, version, self._headers) if last is not None else None
            if head is None:
                head = Head(method, self._target, version, self._headers)
                self._last = head if self._head_size() <= _REMEMBERED else None
            exchange.head = head
        except GatehouseError as error:
            self.refuse(error)
            return
        exchange.keep = parser.should_keep_alive()
        self._barren = self._progress = 0
        self.incoming = exchange
        self.queue.append(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self.incoming
        if exchange is None or self.refusal is not None:
            return
        self._server.held += exchange.arrived(data)
        if exchange.received > exchange.limit:
            self.refuse(GatehouseError(errors.TOO_LARGE, f"request body is larger than {exchange.limit} bytes"))

    def on_message_complete(self) -> None:
        exchange = self.incoming
        if exchange is None or self._resuming or self.refusal is not None:
            return
        if exchange.head.upgrade is not None and self._parser.should_upgrade():
            return  # it says so before it has seen the body
        exchange.complete = True
        self.incoming = None


class _Through:
    """Stands where the parser stood, once what comes is no HTTP any more."""

    __slots__ = ("_reader",)

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> None:
        self._reader.on_body(data)
