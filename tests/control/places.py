"""Servers for calls that the control plane makes: real sockets, TLS, answers byte by byte as a test wants them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec


class Asked(NamedTuple):
    """A request that arrived. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None
    """As the client's TLS named it."""

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), strict_parsing=True).items()}


class Place(NamedTuple):
    """A running server."""

    url: str
    port: int
    asked: list[Asked]


Reply = Callable[[Asked], bytes]
"""The whole answer as it goes over the wire; empty: none comes."""


def answer(status: int, body: object, *headers: str) -> bytes:
    """An answer with a length; what is no bytes goes as JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(content)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@asynccontextmanager
async def place(reply: Reply, tls: ssl.SSLContext | None = None, host: str = "localhost") -> AsyncIterator[Place]:
    """A server on loopback that answers each request by `reply` and closes."""
    asked: list[Asked] = []
    named: list[str | None] = []
    if tls is not None:
        tls.sni_callback = lambda _, name, __: named.append(name)

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with suppress(asyncio.CancelledError):  # asyncio.streams would log it
                await exchange(reader, writer)
        finally:
            writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        serving.discard(task)

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, target, _ = request.split(" ")
            asked.append(Asked(method, target, headers, body, named[-1] if named else None))
            content = reply(asked[-1])
            if not content:
                await reader.read()
            writer.write(content)
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Place(f"{'https' if tls else 'http'}://{host}:{port}", port, asked)
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
