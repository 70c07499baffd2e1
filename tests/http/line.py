"""A server connection under test without sockets, where every split and every byte matters.

The application is small and honest: it reads the whole body under a limit, then answers with what it saw. Tests that
need another behaviour hand in their own handler, a coroutine over an exchange. With sockets: `tests.http.serving`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, cast

from gatehouse.errors import GatehouseError
from gatehouse.http.connection import ServerConnection
from gatehouse.http.exchange import Exchange
from gatehouse.http.server import Server, ServerLimits

Handler = Callable[[Exchange], Coroutine[Any, Any, None]]

LIMITS = ServerLimits(
    header_bytes=65_536,
    header_count=128,
    url_bytes=16_384,
    upload_bytes=1 << 30,
    body_memory=1 << 29,
    connections=1000,
    pipelined=16,
    header=15.0,
    body_idle=30.0,
    keep_alive=75.0,
    write_stall=60.0,
)
BODY_LIMIT = 4 << 20


class Left(Exception):
    """The client went away."""


class Answer(NamedTuple):
    """One answer as it stood on the wire. `whole`: its framing was complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def text(self) -> str:
        return self.body.decode("latin-1")


# -- applications


def limited(limit: int) -> Handler:
    """Reads a body of up to `limit` bytes and tells what came: `METHOD path version body`."""

    async def handler(exchange: Exchange) -> None:
        try:
            body = await whole_body(exchange, limit)
        except GatehouseError as error:
            tell(exchange, error.kind.status, error.detail.encode())
        except Left:
            exchange.abort()
        else:
            head = exchange.head
            tell(exchange, 200, b"%b %b 1.%d " % (head.method, head.path.encode(), head.minor) + body)

    return handler


echo = limited(BODY_LIMIT)


async def whole_body(exchange: Exchange, limit: int = BODY_LIMIT) -> bytes:
    """The body. Raises `GatehouseError` for a fault, `Left` if the client left."""
    exchange.accept_body(limit)
    pieces: list[bytes] = []
    while True:
        pieces += exchange.take()
        if exchange.complete:
            exchange.forget()
            return b"".join(pieces)
        if exchange.gone:
            raise Left
        if exchange.fault is not None:
            raise exchange.fault
        await exchange.fiber.sleep()


def tell(exchange: Exchange, status: int, body: bytes, lines: bytes = b"") -> None:
    exchange.start(status, lines, len(body))
    exchange.write(body)
    exchange.end()


class App:
    """`http.server.Application`: runs `handler` for each request and keeps what it was given."""

    def __init__(self, handler: Handler = echo) -> None:
        self.handler = handler
        self.served: list[Exchange] = []
        self.rejected: list[GatehouseError] = []

    def serve(self, exchange: Exchange) -> None:
        self.served.append(exchange)
        exchange.fiber.start(self.handler(exchange))

    def reject(self, exchange: Exchange | None, error: GatehouseError) -> tuple[int, bytes, bytes]:
        self.rejected.append(error)
        return error.kind.status, b"", error.detail.encode()


# -- without sockets


class FakeTransport(asyncio.Transport):
    """Notes what a protocol does to its transport. `room`: bytes it takes before it has `unsent` ones."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.unsent = 0
        self.eof = False
        self.closed = False
        self.aborted = False
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.9", 4711), "sockname": ("127.0.0.1", 8080)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof, "write after write_eof"
        assert not self.is_closing(), "write after close"
        self.written += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Turns:
    """Stands where the event loop stands: what is called soon runs at `settle`."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def settle(self) -> None:
        while self._soon:
            self._soon.popleft()()


class Line:
    """One server connection on a fake transport."""

    def __init__(self, handler: Handler = echo, **limits: Any) -> None:
        self.app = App(handler)
        self.turns = Turns()
        self.server = Server(self.app, replace(LIMITS, **limits), cast(asyncio.AbstractEventLoop, self.turns))
        self.transport = FakeTransport()
        self.connection: ServerConnection = self.server.connection()
        self.connection.connection_made(self.transport)

    def feed(self, *pieces: bytes) -> Line:
        for piece in pieces:
            if self.transport.is_closing():
                break  # a real transport delivers nothing more
            self.connection.data_received(piece)
            self.turns.settle()
        return self

    def pass_time(self, seconds: float) -> None:
        """So much later, the sweep comes by."""
        self.server.now += seconds
        self.connection.sweep(self.server.now, self.server.limits)
        self.turns.settle()

    def ended(self) -> bool:
        """Whether our side of the connection is over."""
        return self.transport.eof or self.transport.is_closing()

    def reading(self) -> bool:
        """Whether more is read from the client."""
        return not self.transport.paused

    def answers(self) -> list[Answer]:
        return read_answers(bytes(self.transport.written), [exchange.head.method for exchange in self.app.served])

    def hang_up(self) -> None:
        """The connection is gone. Checks that no request's body is counted any longer (I9)."""
        self.transport.abort()
        self.connection.connection_lost(None)
        self.turns.settle()
        assert self.server.held == 0, "I9: body memory returns to nothing"
        assert not self.server.connections


def read_answers(data: bytes, methods: list[bytes] | None = None) -> list[Answer]:
    """Every answer in `data`, interim ones included. `methods`: of the requests, to know which answers have no body."""
    found: list[Answer] = []
    asked = deque(methods or ())
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark, f"a cut head: {head!r}"
        first, *rest = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        final = int(status) >= 200
        method = asked.popleft() if final and asked else b""
        whole = True
        body = b""
        if final and method != b"HEAD" and status not in ("204", "304"):
            if "content-length" in headers:
                length = int(headers["content-length"])
                body, data, whole = data[:length], data[length:], len(data) >= length
            elif headers.get("transfer-encoding") == "chunked":
                body, data, whole = read_chunks(data)
            else:
                body, data = data, b""
        found.append(Answer(int(status), headers, body, whole))
    return found


def read_chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    """De-chunked body, what follows it, and whether the last chunk was there."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert data.startswith(b"\r\n")
            return body, data[2:], True
        body += data[:length]
        data = data[length + 2 :]
    return body, b"", False
