"""The control plane as one more upstream: `/api`, `/health`, `/metrics` and the console, over its Unix socket.

Rules: no record (these are not calls to a model); the caller's address, as far as it is known, travels in a header that
only the worker sets, and so do the address it was called by, and what it knows of its own journal, for `/health`; of
cookies only our own go on, and of what a caller says by `X-Gatehouse-*` only a key; request bodies are small and read
whole. Control has a bound on its silence, which `sweep` enforces. Event streams have no end of their own: `drain` ends
them. Without control, `/health` says `down` and everything else is 503.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse import errors
from gatehouse.config import control_headers
from gatehouse.errors import GatehouseError
from gatehouse.http.client import ClientConnection
from gatehouse.http.exchange import Exchange
from gatehouse.http.headers import AnswerHeaders, RequestHeaders, lines
from gatehouse.http.message import Head, Headers
from gatehouse.model.call import Origin
from gatehouse.pipeline.call import Pool
from gatehouse.upstream.pool import Upstreams

_log: Final = logging.getLogger(__name__)
_BODY_LIMIT: Final = 4 * 1024 * 1024
_CONNECT_SECONDS: Final = 2.0
_HEALTH_SECONDS: Final = 3.0
"""Longest silence of control while `/health` waits: monitors ask every 5 s, and must learn that it hangs."""
_SILENCE_SECONDS: Final = 30.0
"""The same for everything else."""
_ANSWER_NAMES: Final = (b"x-request-id",)
_PASSED: Final = frozenset((b"origin", b"x-gatehouse-key", b"x-ongoingai-gateway-key"))
"""What goes to control, though it goes to no provider."""
_PEER: Final = control_headers.PEER.encode()
_BASE: Final = control_headers.BASE.encode()
_JOURNAL: Final = control_headers.JOURNAL.encode()
_COOKIES: Final = (b"gatehouse_", b"__Host-gatehouse_")
"""What the names of our cookies begin with."""
_EVENTS: Final = b"text/event-stream"
_UNBUFFERED: Final = (b"x-accel-buffering", b"no")
"""nginx in front of us must not gather events."""
_JSON: Final = b"content-type: application/json\r\ncache-control: no-store\r\n"
_DOWN: Final = b'{"status":"unhealthy","services":{"control":"down"}}'


class _Passing:
    """One request on its way."""

    __slots__ = ("connection", "endless", "exchange", "late", "over", "path", "since")

    def __init__(self, exchange: Exchange, path: str) -> None:
        self.exchange = exchange
        self.path = path
        self.connection: ClientConnection | None = None
        """Set once the request is sent."""
        self.since = 0.0
        self.late = False
        self.endless = False
        """The answer is an event stream."""
        self.over = False
        """It is to end now."""

    def sweep(self, now: float) -> None:
        connection = self.connection
        if connection is None or connection.held:
            return
        patience = _HEALTH_SECONDS if self.path == "/health" else _SILENCE_SECONDS
        if now - max(self.since, connection.last_byte) > patience:
            self.late = True
            self.exchange.fiber.wake()

    async def wait(self) -> None:
        """Until something happens; raises if the client left or control is silent for too long."""
        await self.exchange.fiber.sleep()
        if self.exchange.gone:
            raise GatehouseError(errors.BAD_REQUEST, "client closed the connection")
        if self.late:
            raise GatehouseError(errors.OVERLOADED, "the control plane does not answer", retry_after=1)


class ManagementProxy:
    """Passes requests to control and answers back."""

    def __init__(
        self,
        upstreams: Upstreams,
        socket_path: str,
        client: Callable[[Head, str], str],
        trouble: Callable[[], str | None],
        tls: bool = False,
    ) -> None:
        """`client`: (head, address of the socket) → the caller's address, empty if unknown. `trouble`: the state of
        this worker's journal and why, `full no room`; `None` if it takes calls. `tls`: whether the listener has it."""
        self._client = client
        self._trouble = trouble
        self._scheme = b"https" if tls else b"http"
        self._upstreams = upstreams
        self._origin = Origin("unix", socket_path, 0)
        self._requests = RequestHeaders()
        self._answers = AnswerHeaders(names=_ANSWER_NAMES)
        self._running: set[_Passing] = set()
        self._now = 0.0
        self._draining = False

    def serve(self, exchange: Exchange, path: str) -> None:
        exchange.fiber.start(self._run(_Passing(exchange, path)))

    def sweep(self, now: float) -> None:
        """Enforce the bounds on control's silence; twice a second. `now` is monotonic."""
        self._now = now
        for passing in tuple(self._running):
            passing.sweep(now)

    def drain(self) -> None:
        """End event streams, now and from now on: their clients come back to whoever serves next."""
        self._draining = True
        for passing in tuple(self._running):
            if passing.endless:
                passing.over = True
                passing.exchange.fiber.wake()

    async def _run(self, passing: _Passing) -> None:
        exchange, path = passing.exchange, passing.path
        self._running.add(passing)
        try:
            await self._pass(passing)
        except GatehouseError as error:
            error.__traceback__ = None  # it may outlive the request, and must not keep its frames
            if exchange.gone or exchange.started:
                exchange.abort()
            elif path == "/health" and error.kind is errors.OVERLOADED:
                exchange.answer(503, _JSON, _DOWN)
            else:
                _refuse(exchange, error)
        except Exception as bug:  # noqa: BLE001 - the outermost arm of a management request
            _log.error("bug while passing %s to control", path, exc_info=bug)
            exchange.abort()
        finally:
            self._running.discard(passing)

    async def _pass(self, passing: _Passing) -> None:
        exchange = passing.exchange
        body = await self._body(passing)
        head = self._head(exchange, passing.path, body)
        pool = self._upstreams.pool(self._origin, None, True)
        connection = await _connect(passing, pool)
        try:
            connection.request(exchange.fiber, exchange.head.method.decode(), head, body)
            passing.connection, passing.since = connection, self._now
            while not connection.status:
                if connection.lost:
                    raise GatehouseError(errors.OVERLOADED, "the control plane did not answer", retry_after=1)
                await passing.wait()
            kept = self._answers.downstream(connection.headers, lambda address: address)
            kept += [pair for pair in connection.headers if pair[0].lower() == b"set-cookie"]
            passing.endless = any(name == b"content-type" and value.startswith(_EVENTS) for name, value in kept)
            if passing.endless:
                passing.over = self._draining
                kept.append(_UNBUFFERED)
            exchange.start(connection.status, lines(kept), connection.length)
            await self._relay(passing, connection)
            exchange.end()
        finally:
            pool.give_back(connection)

    async def _relay(self, passing: _Passing, connection: ClientConnection) -> None:
        exchange = passing.exchange
        while True:
            for piece in connection.take():
                exchange.write(piece)
            if passing.over or (connection.complete and not connection.pieces):
                return
            if connection.lost:
                raise GatehouseError(errors.OVERLOADED, "the control plane broke off")
            exchange.flush()
            while exchange.paused and not (exchange.gone or passing.over):
                connection.hold()
                await exchange.fiber.sleep()
            await passing.wait()

    async def _body(self, passing: _Passing) -> bytes:
        exchange = passing.exchange
        exchange.accept_body(_BODY_LIMIT)
        pieces: list[bytes] = []
        while True:
            pieces += exchange.take()
            if exchange.complete:
                return b"".join(pieces)
            if exchange.fault is not None:
                raise exchange.fault
            await passing.wait()

    def _head(self, exchange: Exchange, path: str, body: bytes) -> bytes:
        received = exchange.head
        target = f"{path}?{received.query}" if received.query else path
        client = self._client(received, exchange.peer)
        kept = [*self._requests.upstream(received.headers), *_passed(received.headers)]
        kept.append((_PEER, client.encode()))
        kept.append((_BASE, b"%b://%b" % (self._scheme, received.host)))
        trouble = self._trouble()
        if trouble is not None:
            kept.append((_JOURNAL, trouble.encode("latin-1", "replace")))
        framing = b"content-length: %d\r\n" % len(body) if body else b""
        line = b"%b %b HTTP/1.1\r\nhost: control\r\n" % (received.method, target.encode())
        return line + lines(kept) + framing + b"\r\n"


def _passed(headers: Headers) -> Headers:
    """Who asks, as far as it is for us: our cookies, keys in headers of ours, and the page a browser is on."""
    kept: Headers = []
    for name, value in headers:
        low = name.lower()
        if low in _PASSED:
            kept.append((low, value))
        elif low == b"cookie":
            ours = [part.strip() for part in value.split(b";") if part.strip().startswith(_COOKIES)]
            if ours:
                kept.append((low, b"; ".join(ours)))
    return kept


async def _connect(passing: _Passing, pool: Pool) -> ClientConnection:
    connection = pool.take(careful=False)
    if connection is not None:
        return connection
    ticket = pool.queue(passing.exchange.fiber, _CONNECT_SECONDS)
    if ticket is None:
        raise GatehouseError(errors.OVERLOADED, "too many management requests wait", retry_after=1)
    try:
        while ticket.connection is None:
            if ticket.error:
                raise GatehouseError(errors.OVERLOADED, "the control plane is down", retry_after=1)
            await passing.wait()
    except GatehouseError:
        pool.withdraw(ticket)
        raise
    return ticket.connection


def _refuse(exchange: Exchange, error: GatehouseError) -> None:
    """An error as control words its own (`control.answers.ErrorBody`)."""
    told: dict[str, object] = {
        "detail": error.detail,
        "code": error.kind.code,
        "retry_after": error.retry_after,
        "errors": [],
    }
    again = b"" if error.retry_after is None else b"retry-after: %d\r\n" % error.retry_after
    exchange.answer(error.kind.status, _JSON + again, msgspec.json.encode(told))
