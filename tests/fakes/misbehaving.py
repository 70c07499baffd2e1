"""A provider that misbehaves on command: raw connections on loopback, the bytes and the moment of each left to a `Way`.

What lives here: listeners, one per provider asked for, each with its own log; reading requests; good answers in the
true wire format (the bodies come from the `*_api` modules); and the tools a way of misbehaving needs (send, FIN, RST,
wait for the gateway to leave). What does not: the ways themselves (`tests.faults.before` and `within`) and what is
expected of the gateway (`tests.faults.rows`).

Rules
- One listener serves one call after the other: the exchanges whose number is in `turns` are the way's, all others are
  answered well, so that a test can see what happens next.
- A way gets the connection before its request was read.
- Everything is bounded by `LIFE` seconds and ends with the fake.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.fakes import anthropic_api, gemini_api, openai_api
from tests.fakes.server import Answer, Answerer, Seen

Spoken = Literal["openai", "anthropic", "google"]
Framing = Literal["chunked", "length", "none"]

LIFE = 30.0
"""Seconds a connection lasts at most."""

_API: dict[Spoken, Answerer] = {
    "openai": openai_api.answer,
    "anthropic": anthropic_api.answer,
    "google": gemini_api.answer,
}
_SMALL_WINDOW = 4096
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Listener:
    """One provider's address, and what happened there."""

    way: Way
    dialect: Spoken
    turns: frozenset[int]
    port: int = 0
    exchanges: int = 0
    """Requests answered or misbehaved on so far."""
    connections: int = 0
    served_on: list[int] = field(default_factory=list)
    """The connection (from 1) of each exchange."""
    body: bytes = b""
    """Body bytes sent in the last exchange, without framing."""
    over: threading.Event = field(default_factory=threading.Event)
    """The way has ended: where it had to wait for the gateway to leave, the gateway has left."""
    failures: list[str] = field(default_factory=list)
    """What went wrong in a way itself: a test that meets one is no test."""


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener) -> None:
        self._reader = reader
        self._writer = writer
        self.listener = listener
        writer.transport.set_write_buffer_limits(high=0)  # what `drain` let through is in the kernel
        self.asked: Seen = Seen("POST", "/", (), b"", 0, 0.0)
        """The request, as far as it was read."""

    @property
    def ended(self) -> bool:
        return self._writer.is_closing()

    # -- the request

    async def head(self) -> None:
        """Read the head alone. Raises `IncompleteReadError` if the gateway leaves."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, _ = lines[0].split(" ")
        pairs = (line.partition(":") for line in lines[1:])
        headers = tuple((name, value.strip()) for name, _, value in pairs)
        self.asked = Seen(method, target, headers, b"", self.listener.connections, 0.0)

    async def some(self) -> None:
        """Read whatever comes first."""
        await self._reader.read(65_536)

    async def request(self) -> None:
        """Read the whole request."""
        await self.head()
        if self.asked.header("transfer-encoding"):
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                self.asked.body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        else:
            self.asked.body = await self._reader.readexactly(int(self.asked.header("content-length") or 0))

    # -- the answer

    def answer(self, error: int | None = None) -> Answer:
        """What the provider says to this request (or, with `error`, its error of this status)."""
        return _API[self.listener.dialect](self.asked, error)

    async def send(self, data: bytes) -> None:
        """Wire bytes. Raises `ConnectionError` once the gateway has left."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_body(self, data: bytes, framing: Framing) -> None:
        """A piece of the answer's body."""
        self.listener.body += data
        await self.send(b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" and data else data)

    async def send_answer(self, answer: Answer) -> None:
        """The whole of it, as the provider frames it."""
        framing = framing_of(answer)
        await self.send(head(answer, framing))
        await send_rest(self, answer, framing)

    # -- ends

    async def left(self) -> None:
        """Until the gateway has closed the connection; what it sends is dropped."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass

    async def linger(self) -> None:
        """End our side alone (FIN), as a server does that answered early, until the gateway ends its own."""
        self._writer.write_eof()
        await self.left()

    def close(self) -> None:
        """FIN (over TLS without close_notify, as a process that dies does)."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """RST."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


Way = Callable[[Peer], Awaitable[None]]
"""What to do with a connection instead of serving a request on it. Returns with the connection in its last state: one
that is still open serves on."""


def framing_of(answer: Answer) -> Framing:
    return "chunked" if answer.chunked or answer.events is not None else "length"


def pieces(answer: Answer) -> tuple[bytes, ...]:
    """The body as the provider writes it: event by event, or in one piece."""
    return answer.events if answer.events is not None else (answer.body,)


def head(answer: Answer, framing: Framing, *, first: str = "", wrong_by: int = 0) -> bytes:
    """The head's bytes. `wrong_by`: what the Content-Length is off."""
    lines = [first or f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in answer.headers)]
    if framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing == "length":
        lines.append(f"content-length: {sum(map(len, pieces(answer))) + wrong_by}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def send_rest(peer: Peer, answer: Answer, framing: Framing) -> None:
    """The whole body, as under a head of this framing."""
    for piece in pieces(answer):
        await peer.send_body(piece, framing)
    if framing == "chunked":
        await peer.send(b"0\r\n\r\n")


def without_keep_alive(answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, ("connection", "close")))


async def _exchange(peer: Peer, connection: int) -> None:
    """One turn: the way's from before its request came, anybody else's once it has."""
    listener = peer.listener
    if listener.exchanges in listener.turns:
        listener.exchanges += 1
        listener.served_on.append(connection)
        listener.body = b""
        try:
            await listener.way(peer)
        finally:
            listener.over.set()
        return
    await peer.request()
    listener.exchanges += 1
    listener.served_on.append(connection)
    listener.body = b""
    await peer.send_answer(peer.answer())


class Misbehaving:
    """The fake: any number of listeners on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="misbehaving", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[Any]] = set()

    def listen(
        self,
        way: Way,
        dialect: Spoken,
        *,
        turns: frozenset[int] = frozenset({0}),
        tls: ssl.SSLContext | None = None,
        deaf: bool = False,
    ) -> Listener:
        """A new provider. `deaf`: with a small window, so that much of a large request stays with the gateway."""
        listener = Listener(way, dialect, turns)
        asyncio.run_coroutine_threadsafe(self._listen(listener, tls, deaf), self._loop).result(LIFE)
        return listener

    async def _listen(self, listener: Listener, tls: ssl.SSLContext | None, deaf: bool) -> None:
        # Named as TCP, or asyncio leaves Nagle on for what it accepts.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if deaf:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)
        bound.bind(("127.0.0.1", 0))
        listener.port = bound.getsockname()[1]

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listener.connections += 1
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                await self._serve(Peer(reader, writer, listener), listener.connections)
            finally:
                self._running.discard(task)
                writer.transport.abort()

        limit = _SMALL_WINDOW if deaf else 65_536
        self._servers.append(await asyncio.start_server(accepted, sock=bound, ssl=tls, limit=limit))

    async def _serve(self, peer: Peer, connection: int) -> None:
        listener = peer.listener
        try:
            async with asyncio.timeout(LIFE):
                while not peer.ended:
                    await _exchange(peer, connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the gateway left
        except Exception as bug:  # noqa: BLE001 - a thread of its own: the test reads it from here
            listener.failures.append(repr(bug))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=LIFE)
        await asyncio.sleep(0.05)  # transports that were aborted end in a later turn
        self._loop.stop()


@contextlib.contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    made = Misbehaving()
    made._thread.start()
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made._stop(), made._loop)
        made._thread.join(LIFE)
        assert not made._thread.is_alive(), "the misbehaving provider did not stop"
