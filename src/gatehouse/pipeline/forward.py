"""Sending a decided call to its upstream and waiting for the answer's head.

Rules: nothing is retried here but one thing: a reused connection that turns out closed before it answered a byte is
replaced once by a fresh one, where the whole body is at hand (HTTP/1.1 has no other way to learn that an idle
connection is dead). Anything else is an `UPSTREAM_ERROR` for the caller.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.client import ClientConnection
from gatehouse.pipeline.call import Call, Ended, Phase, Pool, Pools

_TEXT_LIMIT: Final = 200
_JSON: Final = b"application/json"
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_REQUEST_IDS: Final = (b"x-request-id", b"request-id", b"apim-request-id", b"x-amzn-requestid", b"cf-ray")


class Forwarder:
    """Puts calls on upstream connections."""

    def __init__(self, pools: Pools, *, replay: bool) -> None:
        self._pools = pools
        self._replay = replay

    async def forward(self, call: Call, body: bytes | None) -> ClientConnection:
        """The connection on which the final head has arrived. `body` `None`: streamed from the exchange.

        Raises `Ended`, `GatehouseError`. The connection stands in `call.connection` from the start, so that whoever
        ends the call can end it too.
        """
        provider = call.live.providers[call.route.provider]
        pool = call.pool = self._pools.pool(call.route.origin, provider.ca_file, provider.private)
        trace = call.facts.trace
        head = self._head(call, body, trace.lines(call.id) if trace is not None and provider.propagates else b"")
        method = call.exchange.head.method
        connection = pool.take(careful=method not in _SAFE) or await self._connect(call, pool)
        while True:
            call.connection = connection
            call.attempts += 1
            call.enter(Phase.FIRST_BYTE)
            connection.request(call.exchange.fiber, call.facts.method, head, body)
            connection.may_switch = call.exchange.upgrade
            if body is None:
                await self._stream_body(call, connection)
            while not connection.status and not connection.lost:
                call.check()
                await call.exchange.fiber.sleep()
            if connection.status:
                call.exchange.forget()
                _note_head(call, connection)
                return connection
            replaceable = connection.reused and not connection.heard and body is not None
            if not replaceable or call.replayed or not self._replay:
                raise GatehouseError(errors.UPSTREAM_ERROR, f"no answer from upstream: {connection.failure}")
            call.replayed = True
            connection = await self._connect(call, pool)

    def _head(self, call: Call, body: bytes | None, trace: bytes) -> bytes:
        """The request's head as it goes upstream: our framing and host, the caller's headers as they came.

        `trace`: header lines of the trace that the provider takes part in.
        """
        received = call.exchange.head
        way = call.way
        if body is not None:
            framing = b"content-length: %d\r\n" % len(body) if body or received.method not in _SAFE else b""
        elif received.length is not None:
            framing = b"content-length: %d\r\n" % received.length
        else:
            framing = b"transfer-encoding: chunked\r\n"
        path = call.route.path
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%b%b\r\n" % (
            received.method,
            (f"{path}?{way.query}" if way.query else path).encode(),
            way.host,
            way.identity_lines if call.asks_usage or call.lists_models else way.lines,
            trace,
            framing,
            self._credential(call, body) if call.stored is not None or call.exchange.upgrade else b"",
        )

    def _credential(self, call: Call, body: bytes | None) -> bytes:
        """Header lines of the stored credential, and of a handshake. Raises `GatehouseError`."""
        way = call.way
        shaken = way.handshake if call.exchange.upgrade else b""
        if call.stored is None:
            return shaken
        injection = call.stored.injection
        if not injection.signs:
            return shaken + injection.lines(way.origin, call.route.dialect)
        if body is None:
            raise GatehouseError(errors.TOO_LARGE, "a request that is signed must have its whole body at hand")
        headers = [(b"host", way.host), *way.headers]
        digest = hashlib.sha256(body).hexdigest()
        now = int(time.time())
        return shaken + injection.sign(way.origin, call.facts.method, call.route.path, way.query, headers, digest, now)

    async def _connect(self, call: Call, pool: Pool) -> ClientConnection:
        """A connection from the queue."""
        assert call.times is not None  # noqa: S101 - set when the call was decided
        began = time.perf_counter_ns()
        call.enter(Phase.CONNECT)
        ticket = pool.queue(call.exchange.fiber, call.times.connect)
        if ticket is None:
            raise GatehouseError(errors.OVERLOADED, "too many calls wait for this provider", retry_after=1)
        try:
            while ticket.connection is None:
                if ticket.error and ticket.ours:
                    raise GatehouseError(errors.OVERLOADED, ticket.error, retry_after=1)
                if ticket.error:
                    raise GatehouseError(errors.UPSTREAM_UNREACHED, f"provider not reached: {ticket.error}")
                call.check()
                await call.exchange.fiber.sleep()
            call.check()
        except (Ended, GatehouseError):
            pool.withdraw(ticket)
            raise
        call.connect_us = (time.perf_counter_ns() - began) // 1000
        return ticket.connection

    async def _stream_body(self, call: Call, connection: ClientConnection) -> None:
        """Pass the request's body through as it arrives, with back-pressure; stop early if the answer comes early."""
        chunked = call.exchange.head.length is None
        digest = hashlib.sha256()
        try:
            await self._pump(call, connection, digest, chunked=chunked)
        finally:
            call.request_sha256 = digest.hexdigest()
        call.enter(Phase.FIRST_BYTE)

    async def _pump(self, call: Call, connection: ClientConnection, digest: hashlib._Hash, *, chunked: bool) -> None:
        exchange = call.exchange
        while not (connection.status or connection.lost):
            for piece in exchange.take():
                digest.update(piece)
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            exchange.forget()
            if exchange.complete and not exchange.pieces:
                connection.send(b"0\r\n\r\n" if chunked else b"")
                connection.sent()
                break
            if exchange.fault is not None:
                raise Ended("client_gone", exchange.fault.detail, exchange.fault)
            call.check()
            call.enter(Phase.FIRST_BYTE)
            await exchange.fiber.sleep()
            while connection.paused and not (connection.status or connection.lost):
                call.check()
                await exchange.fiber.sleep()


def _note_head(call: Call, connection: ClientConnection) -> None:
    """What the record and the relay need of the answer's head."""
    call.first_byte_us = call.elapsed_us()
    call.upstream_status = connection.status
    fields = connection.fields
    content_type = fields.get(b"content-type")
    if content_type == _JSON:
        call.answer_type = "application/json"
    elif content_type is not None:
        call.answer_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    encoding = fields.get(b"content-encoding")
    if encoding is not None:
        call.answer_encoding = encoding.strip().lower().decode("latin-1")
    for name in _REQUEST_IDS:
        request_id = fields.get(name)
        if request_id is not None:
            call.upstream_request_id = request_id[:_TEXT_LIMIT].decode("latin-1")
            return
