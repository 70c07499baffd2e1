"""The HTTP/1.1 server: client connections and their requests, in order.

What lives here: parsing, pipelining, keep-alive, limits on bytes and time, back-pressure on clients. What does not: the
answer (`exchange`), what a head may say (`message`), what a request means and how an error is worded (`Application`).

Rules
- Nothing is dispatched inside a parser callback; only after `feed_data` returned.
- Raw bytes are counted before they are fed: a head stays within `header_bytes`, a body's wire form within twice its
  limit plus 64 KiB (llhttp swallows endless chunk extensions without a callback).
- While a call runs its client's transport is not paused unless much waits unread: a paused transport would not notice
  that the client left. EOF from a client counts as leaving; there is no half-close.
- The clock is coarse: `Server.now` moves with `sweep()`, twice a second.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol, cast

import httptools

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import REASONS, Exchange
from gatehouse.http.message import Head, Headers

_READ_AHEAD: Final = 64 * 1024
_BODY_WINDOW: Final = 256 * 1024
_WRITE_HIGH: Final = 128 * 1024
_LINGER_SECONDS: Final = 2.0
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bytes, counts and seconds; names as in `config.settings.Limits` and `Timeouts`."""

    header_bytes: int
    header_count: int
    url_bytes: int
    upload_bytes: int
    body_memory: int
    connections: int
    pipelined: int
    header: float
    body_idle: float
    keep_alive: float
    write_stall: float


class Application(Protocol):
    """What the server serves."""

    def serve(self, exchange: Exchange) -> None:
        """Begin to answer. Called outside parser callbacks, once per request, in order. Must not raise."""

    def reject(self, exchange: Exchange | None, error: GatehouseError) -> tuple[int, bytes, bytes]:
        """Word a fault of the framing: (status, header lines each ending in CRLF, body). `None`: no head was read."""


class ServerConnection(asyncio.Protocol):
    """One client connection. Parser callbacks only collect; `_advance` acts."""

    __slots__ = (
        "_closing", "_head_bytes", "_head_since", "_header_bytes", "_headers", "_incoming", "_lingering", "_parser",
        "_paused_reading", "_refusal", "_resuming", "_starved", "_target", "_transport", "active", "idle_since",
        "keep", "local", "peer", "queue", "server", "stalled_since",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peer = ""
        self.local = ""
        self.queue: deque[Exchange] = deque()
        """Requests behind the active one. The last may still be arriving."""
        self.active: Exchange | None = None
        self.keep = True
        """Whether the connection may serve another request after those it has."""
        self.idle_since = server.now
        """When the last byte came, or the last answer ended."""
        self.stalled_since = 0.0
        """Since when the client takes no bytes; 0: it does."""
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set by connection_made
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: Exchange | None = None
        self._target = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._head_bytes = 0
        """Raw bytes fed since the last complete head."""
        self._head_since = 0.0
        self._refusal: GatehouseError | None = None
        """A framing fault: answered after the requests before it; then the connection closes."""
        self._resuming = False
        self._closing = False
        self._lingering = 0.0
        self._paused_reading = False
        self._starved = False

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        name = transport.get_extra_info("sockname")
        self.local = name[0] if isinstance(name, tuple) else ""
        self.server.connections.add(self)
        if len(self.server.connections) > self.server.limits.connections:
            self._refuse(GatehouseError(errors.OVERLOADED, "too many connections", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.keep = False
        self.server.lost(self)
        for waiting in self.queue:
            waiting.drop()
        self.queue.clear()
        self._leave()

    def eof_received(self) -> bool:
        self.keep = False
        self._leave()
        return False

    def _leave(self) -> None:
        active = self.active
        if active is not None and not active.gone:
            active.gone = True
            active.fiber.wake()

    def pause_writing(self) -> None:
        self.stalled_since = self.server.now
        if self.active is not None:
            self.active.paused = True

    def resume_writing(self) -> None:
        self.stalled_since = 0.0
        active = self.active
        if active is not None and active.paused:
            active.paused = False
            active.fiber.wake()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._refusal is not None:
            return
        self.idle_since = self.server.now
        if not self._head_bytes:
            self._head_since = self.server.now
        try:
            if self._incoming is None and self._head_bytes + len(data) <= self.server.limits.header_bytes:
                self._head_bytes += len(data)
                self._parser.feed_data(data)
            else:
                self._feed_counted(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._fault(GatehouseError(errors.BAD_REQUEST, f"malformed HTTP: {error.args[0] if error.args else error}"))
        self._advance()

    # -- feeding the parser

    def _feed_counted(self, data: bytes) -> None:
        """Feed so that no head exceeds its limit and no body its wire limit, whatever one read brought."""
        limit = self.server.limits.header_bytes
        offset = 0
        while offset < len(data) and self._refusal is None:
            incoming = self._incoming
            if incoming is None:
                size = min(len(data) - offset, limit - self._head_bytes)
                if size <= 0:
                    self._fault(GatehouseError(errors.HEADERS_TOO_LARGE, f"request head is larger than {limit} bytes"))
                    return
                self._head_bytes += size
            else:
                size = len(data) - offset
                incoming.wire_bytes += size
                if incoming.wire_bytes > 2 * incoming.limit + 65_536:
                    self._fault(GatehouseError(errors.TOO_LARGE, "request body has absurdly much transfer encoding"))
                    return
            self._parser.feed_data(data[offset : offset + size] if size < len(data) else data)
            offset += size

    def _ignore_upgrade(self, rest: bytes) -> None:
        """`Upgrade` on an ordinary request (JDK clients offer h2c): read its body with the framing it declared.

        llhttp stops at the head. A fresh parser gets a synthetic head with the same framing, then the rest.
        """
        incoming = self._incoming
        if incoming is None or self._refusal is not None:
            return
        head = incoming.head
        if head.upgrade == b"websocket":
            self._fault(GatehouseError(errors.UPGRADE_UNSUPPORTED, "WebSocket is not served here"))
            return
        framing = b"transfer-encoding: chunked\r\n" if head.chunked else b"content-length: %d\r\n" % (head.length or 0)
        self._parser = httptools.HttpRequestParser(self)
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\n" % framing)
        self._resuming = False
        if head.length or head.chunked:
            if rest:
                self._feed_counted(rest)
            return
        incoming.complete = True
        self._incoming = None
        if rest:
            self._head_bytes = 0
            self.data_received(rest)

    def _fault(self, error: GatehouseError) -> None:
        """A framing fault: of the request that is arriving, or of what follows the last whole one."""
        if self._refusal is not None:
            return
        self._refusal = error
        self.keep = False
        incoming = self._incoming
        if incoming is not None and incoming is self.active:
            incoming.fault = error
            incoming.fiber.wake()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers: an `Authorization` there would come after authentication.
        if self._incoming is None:
            self._headers.append((name, value))
            self._header_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        if self._resuming or self._refusal is not None:
            return
        self._head_bytes = 0
        limits = self.server.limits
        if len(self.queue) >= limits.pipelined:
            self._refusal = GatehouseError(errors.OVERLOADED, f"more than {limits.pipelined} pipelined requests wait")
        elif len(self._headers) > limits.header_count:
            self._refusal = GatehouseError(errors.HEADERS_TOO_LARGE, f"more than {limits.header_count} headers")
        elif self._header_bytes > limits.header_bytes:
            self._refusal = GatehouseError(errors.HEADERS_TOO_LARGE, f"headers exceed {limits.header_bytes} bytes")
        elif len(self._target) > limits.url_bytes:
            self._refusal = GatehouseError(errors.HEADERS_TOO_LARGE, f"request target exceeds {limits.url_bytes} bytes")
        else:
            self._admit_head()

    def _admit_head(self) -> None:
        parser = self._parser
        exchange = Exchange(self, self.server.limits.upload_bytes)
        try:
            exchange.head = Head(parser.get_method(), self._target, parser.get_http_version(), self._headers)
        except GatehouseError as error:
            self._refusal = error
            return
        exchange.keep = parser.should_keep_alive()
        self._incoming = exchange
        self.queue.append(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self._incoming
        if exchange is None or self._refusal is not None:
            return
        exchange.received += len(data)
        if exchange.received > exchange.limit:
            self._fault(GatehouseError(errors.TOO_LARGE, f"request body is larger than {exchange.limit} bytes"))
            return
        exchange.arrived(data)
        self.server.hold(self, len(data))

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None or self._resuming or self._parser.should_upgrade():
            return
        exchange.complete = True
        self._incoming = None

    # -- acting

    def _advance(self) -> None:
        """After a feed: wake who waits for body, begin the next request, answer a fault, mind back-pressure."""
        active = self.active
        if active is None:
            self._begin()
        elif active.buffered or active.complete:
            active.fiber.wake()
        active = self.active
        if active is not None and (active.buffered > _BODY_WINDOW or (self.queue and self._ahead() > _READ_AHEAD)):
            self._pause_reading()

    def _begin(self) -> None:
        """Serve what waits, in order, until something takes time."""
        while self.active is None and not self._closing:
            if self.queue:
                exchange = self.queue.popleft()
                exchange.paused = self.stalled_since > 0
                self.active = exchange
                if self._refusal is not None and exchange is self._incoming:
                    self._answer_fault(exchange, self._refusal)
                else:
                    self.server.application.serve(exchange)
            elif self._refusal is not None:
                self._refuse(self._refusal)
            else:
                return

    def _answer_fault(self, exchange: Exchange, error: GatehouseError) -> None:
        status, lines, body = self.server.application.reject(exchange, error)
        exchange.start(status, lines, len(body))
        exchange.write(body)
        exchange.end()

    def _refuse(self, error: GatehouseError) -> None:
        """Answer a fault that belongs to no complete head, and close."""
        status, lines, body = self.server.application.reject(None, error)
        head = b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n"
        self._transport.write(head % (status, REASONS.get(status, b""), lines, len(body)) + body)
        self._linger()

    def next_exchange(self, exchange: Exchange) -> None:
        """The active exchange's answer is over (whole or not)."""
        if self.active is not exchange:
            return
        self.active = None
        self.idle_since = self.server.now
        if self._closing:
            return
        if not exchange.complete:
            self._linger()
        elif self.queue or self._refusal is not None:
            # Not nested in the finished call's stack: its last statements still run.
            self.server.loop.call_soon(self._begin)
        elif not (exchange.keep and self.keep):
            self.close()
        self.relieve()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self, *, reset: bool = False) -> None:
        """End the connection: after what is written is flushed, or with a reset."""
        self._closing = True
        self.keep = False
        if reset:
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def _linger(self) -> None:
        """Close while the client may still be sending: unread bytes would turn our answer into a reset.

        So only our side ends now; what comes is read and dropped until the client ends too, or the sweep does.
        """
        self._closing = True
        self.keep = False
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._lingering = self.server.now
            self._transport.write_eof()
            self._resume_reading()
        else:
            self._transport.close()

    # -- back-pressure on the client

    def _ahead(self) -> int:
        return sum(waiting.received for waiting in self.queue)

    def relieve(self) -> None:
        """The active request's body was taken, or the next one's turn came."""
        if self._paused_reading and not self._starved and self._ahead() <= _READ_AHEAD:
            self._resume_reading()

    def release(self, size: int) -> None:
        self.server.release(size)

    def starve(self, starved: bool) -> None:
        """`body_memory` is used up (read nothing), or no longer."""
        self._starved = starved
        if starved:
            self._pause_reading()
        else:
            self.relieve()

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self._transport.is_closing():
            self._paused_reading = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused_reading and not self._transport.is_closing():
            self._paused_reading = False
            self.idle_since = self.server.now
            self._transport.resume_reading()

    # -- time

    def sweep(self, now: float, limits: ServerLimits) -> None:
        """Enforce the time-outs."""
        active = self.active
        if self._lingering:
            if now - self._lingering > _LINGER_SECONDS:
                self._transport.abort()
        elif self.stalled_since and now - self.stalled_since > limits.write_stall:
            self._transport.abort()
        elif active is None:
            self._sweep_idle(now, limits)
        elif not active.complete and not self._paused_reading and now - self.idle_since > limits.body_idle:
            self._fault(GatehouseError(errors.TIMEOUT, f"request body stalled for {limits.body_idle:g} s"))

    def _sweep_idle(self, now: float, limits: ServerLimits) -> None:
        if self._closing:
            return
        if self._head_bytes:
            if now - self._head_since > limits.header:
                self._refuse(GatehouseError(errors.TIMEOUT, f"request head not complete within {limits.header:g} s"))
        elif now - self.idle_since > limits.keep_alive or not self.keep:
            self.close()


class Server:
    """All client connections of a worker, their shared limits and clock."""

    def __init__(self, application: Application, limits: ServerLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self.limits = limits
        self.loop = loop
        self.now = time.monotonic()
        self.connections: set[ServerConnection] = set()
        self.held = 0
        """Request body bytes held by all connections and calls together."""
        self._starved: dict[ServerConnection, float] = {}

    def protocol(self) -> ServerConnection:
        """The protocol factory for `create_server`."""
        return ServerConnection(self)

    def lost(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        self._starved.pop(connection, None)

    def hold(self, connection: ServerConnection, size: int) -> None:
        self.held += size
        if self.held > self.limits.body_memory and connection not in self._starved:
            self._starved[connection] = self.now
            connection.starve(True)

    def release(self, size: int) -> None:
        self.held -= size
        if self._starved and self.held <= self.limits.body_memory:
            starved, self._starved = self._starved, {}
            for connection in starved:
                connection.starve(False)

    def sweep(self) -> None:
        """Move the clock and enforce time-outs; the owner calls it twice a second."""
        now = self.now = time.monotonic()
        for connection in tuple(self.connections):
            connection.sweep(now, self.limits)
        for connection, since in tuple(self._starved.items()):
            if now - since > self.limits.body_idle:
                del self._starved[connection]
                connection._fault(GatehouseError(errors.OVERLOADED, "too many request bodies at once", retry_after=5))

    def drain(self) -> None:
        """Take no further request: idle connections close now, the others after their running answers."""
        for connection in tuple(self.connections):
            connection.keep = False
            if connection.active is None and not connection.queue:
                connection.close()
