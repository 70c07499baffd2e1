"""The HTTP/1.1 server: the connections of all clients, and what they share: limits on memory and number, the clock.

What lives here: the bounds over all connections. What does not: one connection (`connection`), what a request means and
how an error is worded (`Application`).

The clock is coarse: `Server.now` moves with `sweep()`, twice a second.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol, cast

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.connection import ServerConnection
from gatehouse.http.exchange import REASONS, Exchange


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


class Server:
    """All client connections of a worker, their shared limits and clock."""

    def __init__(self, application: Application, limits: ServerLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self.limits = limits
        self.loop = loop
        self.now = time.monotonic()
        self.connections: set[ServerConnection] = set()
        self.draining = False
        """No connection serves another request."""
        self.held = 0
        """Request body bytes held by all connections and calls together."""
        self.without_request = 0
        """Connections that ended before a whole request head had come: nobody knows what they wanted."""
        self._starved: dict[ServerConnection, float] = {}
        """Connections not read because bodies fill `body_memory`, and since when."""

    def connection(self) -> ServerConnection:
        """A connection, to be fed by whoever has its transport."""
        return ServerConnection(self)

    def protocol(self) -> asyncio.Protocol:
        """The protocol factory for `create_server`."""
        return cast(asyncio.Protocol, ServerConnection(self))

    def refusal(self, error: GatehouseError) -> bytes:
        """A whole answer to a connection of which no request head was read; it closes behind it."""
        status, lines, body = self.application.reject(None, error)
        head = b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (status, REASONS.get(status, b""), lines, len(body)) + body

    def lost(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        self._starved.pop(connection, None)

    def starve(self, connection: ServerConnection) -> None:
        """Bodies fill `body_memory`: read no further body of anyone's until an eighth of it is free.

        All at once, and not each when its next bytes come: with many connections those would exceed it by far.
        """
        crossing = not self._starved
        for each in [one for one in self.connections if one.receiving] if crossing else [connection]:
            if each not in self._starved:
                self._starved[each] = self.now
                each.starve(True)

    def spare(self, connection: ServerConnection) -> None:
        """No body is arriving on it any longer."""
        if self._starved.pop(connection, None) is not None:
            connection.starve(False)

    def hold(self, size: int) -> bool:
        """Count `size` further bytes, made of request body, as held; not if that is beyond `body_memory`."""
        if self.held + size > self.limits.body_memory:
            return False
        self.held += size
        return True

    def release(self, size: int) -> None:
        """`size` bytes of request body are no longer held."""
        self.held -= size
        if self._starved and self.held <= self.limits.body_memory * 7 // 8:
            starved, self._starved = self._starved, {}
            for connection in starved:
                connection.starve(False)

    def sweep(self) -> None:
        """Move the clock and enforce time-outs; the owner calls it twice a second."""
        now = self.now = time.monotonic()
        for connection in tuple(self.connections):
            connection.sweep(now, self.limits)
        for connection, since in tuple(self._starved.items()):
            # Each that gives up may free enough for the others.
            if now - since > self.limits.body_idle and connection in self._starved:
                self.spare(connection)
                connection.fail(GatehouseError(errors.OVERLOADED, "too many request bodies at once", retry_after=5))

    def drain(self) -> None:
        """Take no further request: idle connections close now, the others after their running answers.

        A connection that was accepted before and is only handed over now (after a TLS handshake) may ask once.
        """
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()
