"""A server under test on real sockets and uvloop: for what only kernels do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import uvloop

from gatehouse.http.server import Server
from tests.http.line import LIMITS, Answer, App, Handler, echo, read_answers

T = TypeVar("T")


@dataclass
class Served:
    """A server on a loopback port of the running loop."""

    server: Server
    app: App
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        client = Client(sock)
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> list[Answer]:
        """Send, read to the end of the connection, and say what was answered."""
        client = await self.connect()
        await client.send(data)
        return read_answers(await client.read())

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the kernel gives no event for what a peer did
                await asyncio.sleep(0.002)


class Client:
    """The client's side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.sock, data), 30)

    async def receive(self, size: int = 65_536) -> bytes:
        return await asyncio.wait_for(self._loop.sock_recv(self.sock, size), 30)

    async def read(self) -> bytes:
        """Everything up to the end of the connection; then closes ours."""
        received = b""
        while piece := await self.receive():
            received += piece
        self.sock.close()
        return received

    async def read_until(self, mark: bytes) -> bytes:
        received = b""
        while mark not in received:
            piece = await self.receive()
            assert piece, f"connection ended after {received!r}"
            received += piece
        return received

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


@contextlib.asynccontextmanager
async def serving(handler: Handler = echo, *, sweep: float = 0.01, **limits: Any) -> AsyncIterator[Served]:
    """A server, swept every `sweep` seconds. At its end no body may be held any longer (I9)."""
    loop = asyncio.get_running_loop()
    app = App(handler)
    server = Server(app, replace(LIMITS, **limits), loop)
    listener = await loop.create_server(server.protocol, "127.0.0.1", 0)

    async def sweeping() -> None:
        while True:
            await asyncio.sleep(sweep)
            server.sweep()

    sweeper = loop.create_task(sweeping())
    served = Served(server, app, listener.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        for client in served.clients:
            client.close()
        sweeper.cancel()
        listener.close()
        for connection in tuple(server.connections):
            connection.close(reset=True)
        async with asyncio.timeout(30):
            while server.connections:  # noqa: ASYNC110 - a few turns
                await asyncio.sleep(0)
    assert server.held == 0, "I9: body memory returns to nothing"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """On a fresh uvloop, bounded in time."""

    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await coroutine

    return uvloop.run(bounded())
