"""One client's connection: its requests in order, its answers, and the back-pressure of both.

What lives here: the order of answers, keep-alive, time-outs, when to read. What does not: reading requests (`reader`),
the answer (`exchange`), what connections share (`server`).

Rules
- While a call runs its client's transport is not paused unless much waits unread: a paused transport would not notice
  that the client left. EOF from a client counts as leaving; there is no half-close.
- A fault of the framing is answered after the requests before it, in order; then the connection closes, and never while
  the client is still sending: unread bytes would turn our answer into a reset.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.client import BULK, SHARE
from gatehouse.http.exchange import Exchange
from gatehouse.http.reader import RequestReader

if TYPE_CHECKING:
    from gatehouse.http.server import Server, ServerLimits

_READ_AHEAD: Final = 64 * 1024
_BODY_WINDOW: Final = 256 * 1024
_WRITE_HIGH: Final = 128 * 1024
_LINGER_SILENCE: Final = 2.0
_LINGER_SECONDS: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)


class ServerConnection:
    """One client connection: its requests one after the other, each served by the application.

    An `asyncio.Protocol` in all but name: a compiled class has no interpreted base.
    """

    __slots__ = (
        "_asked", "_blocked", "_bulk", "_closing", "_head_since", "_lingering", "_paused_reading", "_reader", "_sent",
        "_server", "_starved", "_taken", "_taken_at", "_transport", "active", "heard_at", "keep", "local", "peer",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.peer = ""
        """The client's address."""
        self.local = ""
        """The address it connected to."""
        self.active: Exchange | None = None
        """The request being answered."""
        self.keep = True
        """Whether the connection may serve another request."""
        self.heard_at = server.now
        """When the last byte came, or the last answer ended."""
        self._server = server
        self._reader = RequestReader(self, server)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set by connection_made
        self._head_since = 0.0
        self._asked = False
        """A whole request head has come."""
        self._blocked = False
        """The client takes no bytes now, and much waits for it."""
        self._sent = 0
        self._taken = 0
        """Bytes the client had taken at `_taken_at`, the last time it had taken any or none were left."""
        self._taken_at = server.now
        self._closing = False
        self._lingering = 0.0
        """Since when only the client's end of the connection is open; 0: both are, or neither."""
        self._paused_reading = False
        self._starved = False
        self._bulk = 0
        """Bytes of large reads since the last turn that was left to others."""

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        name = transport.get_extra_info("sockname")
        self.local = name[0] if isinstance(name, tuple) else ""
        self.keep = not self._server.draining
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.limits.connections:
            self._refuse(GatehouseError(errors.OVERLOADED, "too many connections", retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.keep = False
        self._server.lost(self)
        if not self._asked:
            self._server.without_request += 1
        self._reader.clear()
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
        self._blocked = True
        if self.active is not None:
            self.active.paused = True

    def resume_writing(self) -> None:
        self._blocked = False
        active = self.active
        if active is not None and active.paused:
            active.paused = False
            active.fiber.wake()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        now = self.heard_at = self._server.now
        if self._closing or reader.refusal is not None:
            return
        if not reader.head_bytes:
            self._head_since = now
        reader.feed(data)
        self._advance()
        if len(data) >= BULK:
            self._take_turns(len(data))

    # -- acting

    def _advance(self) -> None:
        """After a feed: wake who waits for body, begin the next request, answer a fault, mind back-pressure."""
        reader = self._reader
        active = self.active
        if active is None:
            self._begin()
        elif reader.refusal is not None and active is reader.incoming:
            if active.fault is None:
                active.fault = reader.refusal
                active.fiber.wake()
        elif active.buffered or active.complete:
            active.fiber.wake()
        if self._much_waits():
            self._pause_reading()
        server = self._server
        if server.held > server.limits.body_memory and self.receiving:
            server.starve(self)

    def _begin(self) -> None:
        """Serve what waits, in order, until something takes time."""
        reader = self._reader
        while self.active is None and not self._closing:
            if reader.queue:
                exchange = reader.queue.popleft()
                exchange.paused = self._blocked
                self._asked = True
                self.active = exchange
                if reader.refusal is not None and exchange is reader.incoming:
                    exchange.answer(*self._server.application.reject(exchange, reader.refusal))
                else:
                    self._server.application.serve(exchange)
            elif reader.refusal is not None:
                self._refuse(reader.refusal)
            else:
                return

    def _refuse(self, error: GatehouseError) -> None:
        """Answer a fault that belongs to no complete head, and close."""
        self.send(self._server.refusal(error))
        self._linger()

    def next_exchange(self, exchange: Exchange) -> None:
        """The active exchange's answer is over (whole or not)."""
        if self.active is not exchange:
            return
        self.active = None
        self.heard_at = self._server.now
        if self._closing:
            return
        reader = self._reader
        if not exchange.complete:
            self._linger()
        elif not (exchange.keep and self.keep):
            if reader.queue or reader.head_bytes or reader.refusal is not None or exchange.upgrade:
                self._linger()
            else:
                self.close()
        elif reader.queue or reader.refusal is not None:
            # Not nested in the finished call's stack: its last statements still run.
            self._server.loop.call_soon(self._begin)
        if self._paused_reading:
            self.relieve()

    def send(self, data: bytes) -> None:
        self._sent += len(data)
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
        """Close while the client may still be sending: only our side ends now, where the transport can do that.

        What comes is read and dropped until the client ends too, or the sweep does.
        """
        self._closing = True
        self.keep = False
        self._reader.clear()
        self._server.spare(self)
        if self._transport.is_closing():
            return
        self._lingering = self.heard_at = self._server.now
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()

    def drain(self) -> None:
        """Serve nothing further: close now, or after the running answer."""
        self.keep = False
        if self.active is None and not (self._closing or self._reader.queue):
            self.close()

    # -- back-pressure on the client

    def _much_waits(self) -> bool:
        active, reader = self.active, self._reader
        if active is None:
            return False
        return active.buffered > _BODY_WINDOW or (len(reader.queue) > 0 and reader.ahead() > _READ_AHEAD)

    def relieve(self) -> None:
        """The active request's body was taken, or the next one's turn came."""
        if self._paused_reading and not self._starved and not self._much_waits():
            self._resume_reading()

    def _take_turns(self, size: int) -> None:
        """Leave the rest of a fast client's bytes for the loop's next turn, once it had its share of this one."""
        self._bulk += size
        if self._bulk >= SHARE and not (self._paused_reading or self._transport.is_closing()):
            self._bulk = 0
            self._transport.pause_reading()
            self._server.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if not self._paused_reading and not self._transport.is_closing():
            self._transport.resume_reading()

    def hold(self, size: int) -> bool:
        """`size` further bytes are held, made of request body; `False`, and not counted, if there is no room."""
        return self._server.hold(size)

    def release(self, size: int) -> None:
        """`size` bytes of request body are no longer held."""
        self._server.release(size)

    @property
    def receiving(self) -> bool:
        """Whether a request's body is arriving, or more over a WebSocket than its other side takes."""
        incoming = self._reader.incoming
        return incoming is not None and not self._closing and not (incoming.upgrade and not incoming.buffered)

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
            self.heard_at = self._head_since = self._server.now
            self._transport.resume_reading()

    # -- time

    def sweep(self, now: float, limits: ServerLimits) -> None:
        """Enforce the time-outs."""
        active = self.active
        unsent = self._transport.get_write_buffer_size()
        taken = self._sent - unsent
        if not unsent or taken > self._taken:
            self._taken = taken
            self._taken_at = now
        if now - self._taken_at > limits.write_stall:
            self._transport.abort()
        elif self._lingering:
            if not unsent and (now - self.heard_at > _LINGER_SILENCE or now - self._lingering > _LINGER_SECONDS):
                self._transport.abort()
        elif active is None:
            self._sweep_idle(now, limits)
        elif not active.complete and not self._paused_reading and now - self.heard_at > limits.body_idle:
            self.fail(GatehouseError(errors.TIMEOUT, f"request body stalled for {limits.body_idle:g} s"))

    def _sweep_idle(self, now: float, limits: ServerLimits) -> None:
        if self._closing or self._reader.queue:
            return
        if self._reader.head_bytes:
            if now - self._head_since > limits.header:
                self._refuse(GatehouseError(errors.TIMEOUT, f"request head not complete within {limits.header:g} s"))
        elif now - self.heard_at > limits.keep_alive or not self.keep:
            self.close()

    def fail(self, error: GatehouseError) -> None:
        """Give up the request that is arriving."""
        self._reader.refuse(error)
        self._advance()
