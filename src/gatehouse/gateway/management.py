"""The control plane as one more upstream: `/api`, `/health`, `/metrics` and the console, over its Unix socket.

Rules: no record (these are not calls to a model); the caller's address travels in a header that only the worker sets;
request bodies are small and read whole. Without control, `/health` says `down` and everything else is 503.
"""

from __future__ import annotations

import logging
from typing import Final

from gatehouse import errors
from gatehouse.dialects.registry import for_endpoint
from gatehouse.errors import GatehouseError
from gatehouse.http.client import ClientConnection
from gatehouse.http.exchange import Exchange
from gatehouse.http.headers import AnswerHeaders, RequestHeaders, lines
from gatehouse.model.call import Origin
from gatehouse.pipeline.answer import say
from gatehouse.pipeline.call import Pool
from gatehouse.upstream.pool import Upstreams

_LOG: Final = logging.getLogger(__name__)
_BODY_LIMIT: Final = 4 * 1024 * 1024
_CONNECT_SECONDS: Final = 2.0
_ANSWER_NAMES: Final = (b"x-request-id",)
_DOWN: Final = b'{"status":"unhealthy","services":{"control":"down"}}'


class ManagementProxy:
    """Passes requests to control and answers back."""

    def __init__(self, upstreams: Upstreams, socket_path: str) -> None:
        self._upstreams = upstreams
        self._origin = Origin("unix", socket_path, 0)
        self._requests = RequestHeaders()
        self._answers = AnswerHeaders(names=_ANSWER_NAMES)

    def serve(self, exchange: Exchange, path: str) -> None:
        exchange.fiber.start(self._run(exchange, path))

    async def _run(self, exchange: Exchange, path: str) -> None:
        try:
            await self._pass(exchange, path)
        except GatehouseError as error:
            if exchange.gone or exchange.started:
                exchange.abort()
            elif path == "/health" and error.kind is errors.OVERLOADED:
                _answer(exchange, 503, b"content-type: application/json\r\ncache-control: no-store\r\n", _DOWN)
            else:
                _answer(exchange, *say(error, for_endpoint("openai", "other"), "management"))
        except Exception as bug:  # noqa: BLE001 - the outermost arm of a management request
            _LOG.error("bug while passing %s to control", path, exc_info=bug)
            exchange.abort()

    async def _pass(self, exchange: Exchange, path: str) -> None:
        body = await self._body(exchange)
        head = self._head(exchange, path, body)
        pool = self._upstreams.pool(self._origin, None, True)
        connection = await _connect(exchange, pool)
        try:
            connection.request(exchange.fiber, exchange.head.method.decode(), head, body)
            while not connection.status:
                if connection.lost:
                    raise GatehouseError(errors.OVERLOADED, "the control plane did not answer", retry_after=1)
                await _wait(exchange)
            kept = self._answers.downstream(connection.headers, lambda address: None)
            exchange.start(connection.status, lines(kept), connection.length)
            await self._relay(exchange, connection)
            exchange.end()
        finally:
            pool.give_back(connection)

    async def _relay(self, exchange: Exchange, connection: ClientConnection) -> None:
        while True:
            for piece in connection.take():
                exchange.write(piece)
            if connection.complete and not connection.pieces:
                return
            if connection.lost:
                raise GatehouseError(errors.OVERLOADED, "the control plane broke off")
            exchange.flush()
            while exchange.paused and not exchange.gone:
                connection.hold()
                await exchange.fiber.sleep()
            await _wait(exchange)

    async def _body(self, exchange: Exchange) -> bytes:
        exchange.accept_body(_BODY_LIMIT)
        pieces: list[bytes] = []
        while True:
            pieces += exchange.take()
            if exchange.complete:
                return b"".join(pieces)
            if exchange.fault is not None:
                raise exchange.fault
            await _wait(exchange)

    def _head(self, exchange: Exchange, path: str, body: bytes) -> bytes:
        received = exchange.head
        target = f"{path}?{received.query}" if received.query else path
        kept = [*self._requests.upstream(received.headers), (b"x-gatehouse-peer", exchange.peer.encode())]
        framing = b"content-length: %d\r\n" % len(body) if body else b""
        line = b"%b %b HTTP/1.1\r\nhost: control\r\n" % (received.method, target.encode())
        return line + lines(kept) + framing + b"\r\n"


async def _connect(exchange: Exchange, pool: Pool) -> ClientConnection:
    connection = pool.take(careful=False)
    if connection is not None:
        return connection
    ticket = pool.queue(exchange.fiber, _CONNECT_SECONDS)
    if ticket is None:
        raise GatehouseError(errors.OVERLOADED, "too many management requests wait", retry_after=1)
    try:
        while ticket.connection is None:
            if ticket.error:
                raise GatehouseError(errors.OVERLOADED, "the control plane is down", retry_after=1)
            await _wait(exchange)
    except GatehouseError:
        pool.withdraw(ticket)
        raise
    return ticket.connection


async def _wait(exchange: Exchange) -> None:
    """Until something happens; raises if the client left."""
    await exchange.fiber.sleep()
    if exchange.gone:
        raise GatehouseError(errors.BAD_REQUEST, "client closed the connection")


def _answer(exchange: Exchange, status: int, header_lines: bytes, body: bytes) -> None:
    exchange.start(status, header_lines, len(body))
    exchange.write(body)
    exchange.end()
