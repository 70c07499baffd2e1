"""The far side of upstream connections: a small server on loopback that does as it is told, and callers that wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from gatehouse.http.client import ClientConnection
from gatehouse.model.call import Origin
from gatehouse.upstream.connect import Connector
from gatehouse.upstream.pool import OriginPool, PoolLimits
from tests.fakes.fibers import telling

LIMITS = PoolLimits(connections=100, waiting=100, idle_seconds=60.0, post_reuse_seconds=15.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Caller:
    """A call, as far as a pool sees it: a fiber, whose wake-ups a test can await."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.fiber = telling(self._woken.set)

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Sleep until woken with `condition` true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._woken.clear()
                await self._woken.wait()


class FarConnection(asyncio.Protocol):
    """One accepted connection. Answers each request with what `FarSide.answer` says about its number."""

    def __init__(self, far: FarSide) -> None:
        self._far = far
        self.received = b""
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._far.connections.append(self)
        if self._far.closes_at_once:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            _, _, self.received = self.received.partition(b"\r\n\r\n")
            self._far.requests += 1
            answer = self._far.answer(self._far.requests)
            if answer is not None:
                self.transport.write(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class FarSide:
    """A server. `answer`: the bytes for the n-th request, `None` for silence."""

    def __init__(self) -> None:
        self.connections: list[FarConnection] = []
        self.requests = 0
        self.closes_at_once = False
        self.answer: Callable[[int], bytes | None] = lambda number: OK % (len(str(number)), str(number).encode())
        self.port = 0

    @property
    def origin(self) -> Origin:
        return Origin("http", "127.0.0.1", self.port)

    def open_connections(self) -> int:
        return sum(not connection.ended.is_set() for connection in self.connections)


@contextlib.asynccontextmanager
async def far_side(tls: ssl.SSLContext | None = None) -> AsyncIterator[FarSide]:
    far = FarSide()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FarConnection(far), "127.0.0.1", 0, ssl=tls)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()
        for connection in far.connections:
            connection.transport.abort()


class NamingLoop:
    """The running loop, with names of our own: `names[host]` are its addresses, or what the look-up raises."""

    def __init__(self, names: dict[str, Sequence[str] | OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        self.names = names
        self.look_ups = 0
        self.answering = asyncio.Event()
        """Cleared: look-ups wait."""
        self.answering.set()

    async def getaddrinfo(self, host: str, port: int, **kw: Any) -> list[tuple[Any, ...]]:
        if host not in self.names:
            return cast(list[tuple[Any, ...]], await self._loop.getaddrinfo(host, port, **kw))
        self.look_ups += 1
        await self.answering.wait()
        found = self.names[host]
        if isinstance(found, OSError):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def as_loop(self) -> asyncio.AbstractEventLoop:
        return cast(asyncio.AbstractEventLoop, self)


def connector(loop: asyncio.AbstractEventLoop | None = None, handshakes: int = 32, **builtins: Any) -> Connector:
    return Connector(
        loop or asyncio.get_running_loop(), dns_seconds=60.0, handshakes=handshakes, builtins=dict(builtins)
    )


def pool_of(origin: Origin, limits: PoolLimits = LIMITS, *, ca_file: str | None = None) -> OriginPool:
    return OriginPool(origin, connector(), limits, ca_file=ca_file, private=True)


async def connected(pool: OriginPool, caller: Caller | None = None) -> ClientConnection:
    """A connection out of the pool's queue."""
    caller = caller or Caller()
    ticket = pool.queue(caller.fiber, 5.0)
    assert ticket is not None
    await caller.until(lambda: ticket.connection or ticket.error)
    assert ticket.connection is not None, ticket.error
    return ticket.connection


async def ask(connection: ClientConnection, caller: Caller | None = None) -> bytes:
    """Send a request and read its whole answer."""
    caller = caller or Caller()
    connection.request(caller.fiber, "POST", b"POST / HTTP/1.1\r\nhost: far\r\n\r\n", b"")
    await caller.until(lambda: connection.complete or connection.lost)
    assert connection.complete, connection.failure
    return b"".join(connection.take())


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """For what the kernel does: it gives no event."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
