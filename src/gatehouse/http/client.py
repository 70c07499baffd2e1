"""An HTTP/1.1 connection to an upstream: one request at a time, its answer as it comes.

What lives here: sending a prepared head and body, parsing the answer, deciding whether the connection may serve again.
What does not: which connection to use (`upstream.pool`), what the bytes mean, whether to try again.

Rules
- A fresh response parser per request: llhttp parses on past the end of a response, and what it finds there must never
  reach the next caller. Any byte while no request is outstanding closes the connection.
- It may be reused only if the request was fully written, the final answer ended by Content-Length or the last chunk,
  keep-alive holds, and no byte followed (empty lines aside, which llhttp skips).
- 1xx is consumed, but for a 101 that was asked for (`may_switch`): from then on `take` and `send` are that protocol's
  bytes, to the end of the connection. HEAD ends at its head, and the connection with it. A body with neither length
  nor chunks ends at EOF, over TLS at close_notify: a bare end of the TCP connection, or one we made ourselves, is a
  cut. Trailers are dropped.
- Everything is state plus a wake-up of the owning fiber; nothing is raised out of a callback. `lost` is true from the
  moment the end is known or decided, before the transport says so: nobody is handed such a connection.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

import httptools

from gatehouse.http.fiber import Fiber
from gatehouse.http.message import Fields, Headers, check_response, spoken

HEAD_LIMIT: Final = 64 * 1024
_HEADERS_LIMIT: Final = 256
_INFORMATIONAL_LIMIT: Final = 32
_LAST_SECONDS: Final = 5.0
_BUFFER_HIGH: Final = 256 * 1024
BULK: Final = 65_536
"""A read as large as this says that more waits: the loop would read on, up to 8 MiB of one connection in a turn."""
SHARE: Final = 512 * 1024
"""Bytes of bulk that a connection takes in one turn of the loop, before it is the others' turn."""
_BODILESS: Final = frozenset((204, 304))
_NO_FIELDS: Final[Fields] = {}


class Owner(Protocol):
    """The pool a connection belongs to."""

    now: float
    """Its coarse clock, monotonic seconds."""

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""


class ClientConnection:
    """`status` is 0 until the final head is there. `complete`: the answer is whole. `lost`: the connection ended.

    Lost with `complete` still false, the answer was cut or never came; `failure` says how. An `asyncio.Protocol` in all
    but name: a compiled class has no interpreted base.
    """

    __slots__ = (
        "_barren", "_bulk", "_ended", "_head_bytes", "_informational", "_is_head", "_parser", "_paused_reading",
        "_spent", "_to_eof", "_transport", "address", "buffered", "chunked", "complete", "failure", "fields", "fiber",
        "headers", "idle_since", "last_byte", "length", "lost", "may_switch", "owner", "paused", "pieces", "received",
        "reused", "sending", "status",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.address = ""
        self.fiber: Fiber | None = None
        """Who is served; `None`: idle."""
        self.reused = False
        self.lost = False
        self.failure = ""
        """Why the connection ended, in a short phrase."""
        self.paused = False
        """The upstream takes no bytes now."""
        self.sending = False
        """The request's body is not all written."""
        self.idle_since = owner.now
        self.last_byte = owner.now
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set by connection_made
        self._paused_reading = False
        self._bulk = 0
        """Bytes of large reads since the last turn that was left to others."""
        self._parser: httptools.HttpResponseParser | None = None
        self._ended = False
        """The upstream has ended its side properly."""
        self._reset("")

    def _reset(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = []
        self.fields: Fields = _NO_FIELDS
        """Of the final head."""
        self.length: int | None = None
        self.chunked = False
        self.pieces: list[bytes] = []
        self.buffered = 0
        self.received = 0
        self.complete = False
        self.may_switch = False
        """The request asks for another protocol: to be set after `request()`."""
        self._head_bytes = 0
        self._barren = 0
        """Bytes read since the last that were body."""
        self._informational = 0
        self._is_head = method == "HEAD"
        self._to_eof = False
        self._spent = False
        """Something makes this connection unfit for another request."""

    # -- the owner's side

    def request(self, fiber: Fiber, method: str, head: bytes, body: bytes | None) -> None:
        """Send a request. `body` `None`: it follows in pieces by `send()`; finish with `sent()`.

        On a connection that was `lost` since it was handed out, nothing happens: there will be no answer.
        """
        self._reset(method)
        self.fiber = fiber
        self.last_byte = self.owner.now
        self.sending = body is None
        if self.lost:
            return
        self._parser = httptools.HttpResponseParser(self)
        if not body:
            self._transport.write(head)
        elif len(body) < 16_384:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def send(self, data: bytes) -> None:
        """A further piece of the request, framed by the caller."""
        if not self.lost:
            self._transport.write(data)

    def sent(self) -> None:
        """The request is whole."""
        self.sending = False
        self.last_byte = self.owner.now

    def take(self) -> list[bytes]:
        """Body pieces received since the last call."""
        if self._paused_reading:
            self._resume()
        pieces = self.pieces
        if pieces:
            self.pieces = []
            self.buffered = 0
        return pieces

    def hold(self) -> None:
        """Read no further until the next `take()`: the caller's client is slow (its own time-out watches)."""
        if not self._paused_reading and not self.lost:
            self._paused_reading = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused_reading = False
        self.last_byte = self.owner.now
        if not self.lost:
            self._transport.resume_reading()

    @property
    def held(self) -> bool:
        """Whether reading is paused: the idle clock stops meanwhile."""
        return self._paused_reading

    @property
    def heard(self) -> bool:
        """Whether any byte of an answer has come."""
        return self._head_bytes > 0

    @property
    def reusable(self) -> bool:
        if not self.complete or self._spent or self.sending or self.lost or self._to_eof:
            return False
        return not self._transport.get_write_buffer_size()  # an answer may come before the request is written

    def release(self) -> None:
        """No longer serving anyone."""
        self.fiber = None
        self._parser = None
        self.idle_since = self.owner.now
        self.reused = True
        self.pieces = []
        self.headers = []

    def finish(self) -> None:
        """End the connection once the upstream has taken what was written to it, or soon after."""
        self.fiber = None
        if not self.lost:
            self.lost = True
            self._transport.close()
            asyncio.get_running_loop().call_later(_LAST_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Cancel whatever runs: the upstream sees the connection end at once."""
        self.fiber = None
        self._abort("connection given up")

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._parser = None
        if not self.failure:
            self.failure = "connection reset" if exc is not None else "connection closed"
        if self._to_eof and self._ended and exc is None:
            self.complete = True
        self.owner.lost(self)
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        if self.fiber is None:
            self.lost = True
        return False  # closes the transport; connection_lost tells the rest

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self.complete:
            if self.status == 101 and not self.lost:
                self._pass(data)
            else:
                # Nobody asked: an answer to nothing, or bytes behind an answer. Never hand it to the next caller.
                self._break("bytes that nobody asked for")
            return
        self.last_byte = self.owner.now
        received = self.received
        if not self.status:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switched(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._garbled(str(error.args[0] if error.args else error))
        if not self.status:
            if self._head_bytes > HEAD_LIMIT:
                self._break("answer head too large")
        elif self.received == received:
            self._barren += len(data)
            if self._barren > HEAD_LIMIT:
                self._break("absurdly much transfer encoding in the answer")
        else:
            self._barren = 0
        if self.buffered > _BUFFER_HIGH:
            self.hold()
        if len(data) >= BULK:
            self._take_turns(len(data))
        self._wake()

    def _switched(self, rest: bytes) -> None:
        """The parser stopped behind a 101. `rest`: what came behind it."""
        if self.status != 101:
            self._break("unexpected upgrade")
            return
        self._parser = None
        if rest:
            self._pass(rest)

    def _pass(self, data: bytes) -> None:
        """Bytes of the other protocol."""
        self.last_byte = self.owner.now
        self.on_body(data)
        if self.buffered > _BUFFER_HIGH:
            self.hold()
        if len(data) >= BULK:
            self._take_turns(len(data))
        self._wake()

    def _take_turns(self, size: int) -> None:
        """Leave the rest of a fast upstream's bytes for the loop's next turn, once it had its share of this one."""
        self._bulk += size
        if self._bulk >= SHARE and not (self._paused_reading or self.lost or self._transport.is_closing()):
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._bulk = 0
        if not (self._paused_reading or self.lost or self._transport.is_closing()):
            self._transport.resume_reading()

    def _garbled(self, how: str) -> None:
        if self.complete:
            self._spent = True  # it stands behind the answer, which is whole
        else:
            self._break(f"malformed answer: {how}")

    def _break(self, why: str) -> None:
        self._spent = True
        self._abort(why)

    def _abort(self, why: str) -> None:
        if not self.lost:
            self.lost = True
            self.failure = self.failure or why
            self._transport.abort()

    def _wake(self) -> None:
        fiber = self.fiber
        if fiber is not None:
            fiber.wake()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        if self.complete:
            self._spent = True
        elif not self.status:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self.complete or self.status or self._spent or parser is None:
            return
        status = parser.get_status_code()
        if status < 100:
            self._break("malformed answer: no such status")
            return
        if status < 200:
            self._informational += 1
            if status == 101 and self.may_switch and parser.should_upgrade():
                self.fields = {name.lower(): value for name, value in self.headers}
                self.status = status
                self._spent = self._to_eof = True
            elif status == 101 or self._informational > _INFORMATIONAL_LIMIT:
                self._break("unexpected 101 answer" if status == 101 else "too many informational answers")
            return
        try:
            self.fields, self.length, self.chunked = check_response(spoken(parser, self.headers), self.headers)
        except ValueError as error:
            self._break(f"malformed answer: {error}")
            return
        if len(self.headers) > _HEADERS_LIMIT:
            self._break("too many headers in the answer")
            return
        if self._head_bytes > HEAD_LIMIT and sum([len(name) + len(value) for name, value in self.headers]) > HEAD_LIMIT:
            self._break("answer head too large")  # however many reads it came in
            return
        self.status = status
        if not parser.should_keep_alive():
            self._spent = True
        if self._is_head:
            self.complete = True
            self._spent = True
        elif self.length is None and not self.chunked and status not in _BODILESS:
            self._to_eof = True

    def on_body(self, data: bytes) -> None:
        if self.status and not self.complete:
            self.pieces.append(data)
            self.buffered += len(data)
            self.received += len(data)

    def on_message_complete(self) -> None:
        if self.status and not self._to_eof:
            self.complete = True


class Ticket:
    """A call's place in a pool's queue: in the end one of `connection` and `error` is set, and `fiber` woken."""

    __slots__ = ("connect_seconds", "connection", "error", "fiber", "ours")

    def __init__(self, fiber: Fiber, connect_seconds: float) -> None:
        self.fiber = fiber
        self.connect_seconds = connect_seconds
        self.connection: ClientConnection | None = None
        self.error = ""
        self.ours = False
        """The error is the gateway's own: nothing is known of the provider."""
