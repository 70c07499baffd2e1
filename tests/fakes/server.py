"""A provider's HTTP/1.1 front on a real socket: one thread, its own event loop, bytes exactly as told.

Owns sockets, reading requests (raw: order, case and repetition of headers as sent), recording them, framing and
encoding answers, and misbehaving on demand. Knows nothing of any provider's JSON: that is an `answer` function.

Rules: loopback only; every wait ends when the peer leaves or the fake closes; a test asserts on `Seen`, never on logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Headers = tuple[tuple[str, str], ...]
GzipPolicy = Literal["never", "json", "all"]
Ending = Literal["answered", "cut", "gone"]

_JOIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. With `events` the body is chunked, one chunk and one write each; else `body` in one piece."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    events: tuple[bytes, ...] | None = None
    gap: float = 0.0
    """Seconds between events."""
    chunked: bool = False
    """Frame `body` as chunks, as servers do that compress while they send."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How to go wrong. Bytes are counted in the body as sent, after encoding, before chunk framing."""

    cut: int | None = None
    """Close the connection after this many bytes of the body."""
    reset: bool = False
    """With `cut` or `close`: RST instead of FIN."""
    stall: int | None = None
    """Send this many bytes of the body, then nothing more, and keep the connection open."""
    slow: float | None = None
    """Seconds between events, instead of the answer's own."""
    silent: bool = False
    """Take the request and never answer."""
    close: bool = False
    """Close after the request, before any byte of an answer."""
    length: int = 0
    """Content-Length is wrong by this much; the connection closes after the true body."""
    interim: int | None = None
    """Send a head of this 1xx status before the final one."""
    redirect: str | None = None
    """Answer 307 to this Location."""
    error: int | None = None
    """Answer with the provider's own error of this status (the `answer` function words it)."""

    @staticmethod
    def parse(text: str) -> Misbehaviour:
        """From the request header `x-fake: cut=120, slow=0.05, silent`."""
        values: dict[str, Any] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = item.partition("=")
            if name in ("silent", "close", "reset"):
                values[name] = True
            elif name == "slow":
                values[name] = float(value)
            elif name == "redirect":
                values[name] = value
            else:
                values[name] = int(value)
        return Misbehaviour(**values)


@dataclass(slots=True, eq=False)
class Seen:
    """One request as it arrived, and how its answer ended."""

    method: str
    target: str
    headers: Headers
    body: bytes
    connection: int
    """Which accepted connection it came on, counted from 1."""
    at: float
    """Monotonic seconds when the request was complete."""
    ending: Ending | None = None
    """`answered`: every byte handed to the kernel. `cut`: misbehaved so. `gone`: the peer left before that."""
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float | None = None

    @property
    def path(self) -> str:
        """Undecoded, without query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return {unquote(name): unquote(value) for name, _, value in pairs}

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The only value of a header; a repeated one is a failed assertion."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times: {values}"
        return values[0] if values else None

    def names(self) -> list[str]:
        return [name.lower() for name, _ in self.headers]

    def json(self) -> Any:
        return json.loads(self.body)

    def accepts_gzip(self) -> bool:
        tokens = (
            token.strip().replace(" ", "") for value in self.values("accept-encoding") for token in value.split(",")
        )
        return any(token.partition(";")[0] in ("gzip", "*") and not token.endswith(";q=0") for token in tokens)

    def wait(self, timeout: float = 30.0) -> Ending:
        """How the answer ended, once it has."""
        assert self.ended.wait(timeout), f"{self.method} {self.target}: the answer had not ended after {timeout} s"
        assert self.ending is not None
        return self.ending


Answerer = Callable[[Seen, int | None], Answer]
"""Request and the status of an error asked for, to an answer."""


class Fake:
    """A provider. `url` is its origin; `requests` holds every request seen, oldest first."""

    def __init__(
        self, answerer: Answerer, *, gzip_policy: GzipPolicy = "json", tls: ssl.SSLContext | None = None
    ) -> None:
        self._answerer = answerer
        self._default_gzip = gzip_policy
        self.gzip_policy: GzipPolicy = gzip_policy
        """May be changed until `behave`."""
        self._tls = tls
        self._changed = threading.Condition()
        self._plans: list[tuple[Misbehaviour, int | None]] = []
        self._canned: Answer | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self.port = 0
        self.requests: list[Seen] = []
        self.faults: list[str] = []
        """Requests this server could not make sense of. A gateway sends none."""
        self.connections = 0
        self.live: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def last(self) -> Seen:
        return self.requests[-1]

    def misbehave(self, plan: Misbehaviour, *, times: int | None = 1) -> None:
        """Go wrong like this for the next `times` requests (`None`: until `behave`)."""
        with self._changed:
            self._plans.append((plan, times))

    def behave(self) -> None:
        with self._changed:
            self._plans.clear()
            self._canned = None
            self.gzip_policy = self._default_gzip

    def respond(self, answer: Answer) -> None:
        """Give this answer to every request until `behave`."""
        self._canned = answer

    def wait(self, count: int, timeout: float = 30.0) -> list[Seen]:
        """All requests, once there are `count` of them."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, timeout)
        assert arrived, f"{len(self.requests)} of {count} requests arrived within {timeout} s"
        return list(self.requests)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Fake]:
        self._thread.start()
        try:
            assert self._ready.wait(_JOIN_SECONDS), "the fake provider did not start"
            yield self
        finally:
            if self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_JOIN_SECONDS)
            assert not self._thread.is_alive(), "the fake provider did not stop"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        # Named as TCP, or asyncio leaves Nagle on for what it accepts: 40 ms for every answer in two writes.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        server = await self._loop.create_server(lambda: _Connection(self), sock=listener, ssl=self._tls)
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.task for connection in self.live]
        for connection in tuple(self.live):
            connection.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=_JOIN_SECONDS)
        # One more turn: `connection_lost` of the aborted transports runs before the loop closes.
        await asyncio.sleep(0)

    def _record(self, seen: Seen) -> Misbehaviour:
        with self._changed:
            self.requests.append(seen)
            self._changed.notify_all()
            asked = seen.header("x-fake")
            if asked is not None:
                return Misbehaviour.parse(asked)
            if not self._plans:
                return Misbehaviour()
            plan, times = self._plans[0]
            if times is not None:
                self._plans[0] = (plan, times - 1)
                if times <= 1:
                    del self._plans[0]
            return plan

    def _choose(self, seen: Seen, plan: Misbehaviour) -> Answer:
        if plan.redirect is not None:
            return Answer(307, (("location", plan.redirect), ("content-length", "0")))
        answer = self._canned if self._canned is not None else self._answerer(seen, plan.error)
        if plan.slow is not None:
            answer = replace(answer, gap=plan.slow)
        if seen.accepts_gzip() and (
            self.gzip_policy == "all" or (self.gzip_policy == "json" and answer.events is None)
        ):
            answer = _compressed(answer)
        return answer


def _compressed(answer: Answer) -> Answer:
    headers = (*answer.headers, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))
    if answer.events is None:
        return replace(answer, headers=headers, body=gzip.compress(answer.body, mtime=0)) if answer.body else answer
    packer = zlib.compressobj(wbits=31)
    events = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in answer.events]
    return replace(answer, headers=headers, events=(*events, packer.flush()))


class _Gone(Exception):
    """The peer closed the connection, or the fake is closing it."""


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport
    task: asyncio.Task[None]

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._lost = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._fake.connections += 1
        self._number = self._fake.connections
        self._fake.live.add(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._more.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._more.set()
        self._writable.set()
        self._fake.live.discard(self)

    async def _serve(self) -> None:
        try:
            while True:
                seen = await self._request()
                if not await self._exchange(seen):
                    return
        except _Gone:
            return
        except ValueError as error:
            self._fake.faults.append(f"connection {self._number}: {error}")
        finally:
            self.transport.close()

    async def _exchange(self, seen: Seen) -> bool:
        """One answer. True if the connection goes on."""
        try:
            plan = self._fake._record(seen)
            seen.ending = await self._answer(seen, plan)
            return seen.ending == "answered" and (seen.header("connection") or "").lower() != "close"
        except _Gone:
            seen.ending = "gone"
            raise
        finally:
            seen.ended_at = time.monotonic()
            seen.ended.set()

    # --- reading

    async def _fill(self) -> None:
        self._more.clear()
        if self._lost.is_set():
            raise _Gone
        await self._more.wait()
        if self._lost.is_set():
            raise _Gone

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            await self._fill()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _request(self) -> Seen:
        lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise ValueError(f"not a request line: {lines[0]!r}")
        headers = tuple(_split_header(line) for line in lines[1:])
        seen = Seen(parts[0], parts[1], headers, b"", self._number, time.monotonic())
        length, coding = seen.header("content-length"), seen.header("transfer-encoding")
        if length is not None and coding is not None:
            raise ValueError(f"{lines[0]}: Content-Length and Transfer-Encoding together")
        if (seen.header("expect") or "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if coding is not None:
            if coding.lower() != "chunked":
                raise ValueError(f"{lines[0]}: Transfer-Encoding {coding}")
            seen.body = await self._chunks()
        elif length is not None:
            seen.body = await self._exactly(int(length))
        seen.at = time.monotonic()
        return seen

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = int((await self._until(b"\r\n")).partition(b";")[0], 16)
            if size == 0:
                while await self._until(b"\r\n"):
                    pass
                return bytes(body)
            body += await self._exactly(size)
            if await self._exactly(2) != b"\r\n":
                raise ValueError("a chunk does not end with CRLF")

    # --- answering

    async def _answer(self, seen: Seen, plan: Misbehaviour) -> Ending:
        if plan.silent:
            await self._lost.wait()
            raise _Gone
        if plan.close:
            self._break(reset=plan.reset)
            return "cut"
        answer = self._fake._choose(seen, plan)
        if plan.interim is not None:
            await self._send(f"HTTP/1.1 {plan.interim} Interim\r\nlink: </x>; rel=preload\r\n\r\n".encode())
        streamed = answer.events is not None or answer.chunked
        await self._send(_head(answer, streamed, plan.length))
        if seen.method == "HEAD" or answer.status in (204, 304):
            return "answered"
        limit = plan.cut if plan.cut is not None else plan.stall
        sent = 0
        for index, piece in enumerate(answer.events if answer.events is not None else (answer.body,)):
            if index and answer.gap:
                await self._pause(answer.gap)
            wire = b"%x\r\n%b\r\n" % (len(piece), piece) if streamed and piece else piece
            if limit is not None and sent + len(piece) > limit:
                lead = len(wire) - len(piece) - 2 if streamed else 0
                await self._send(wire[: lead + limit - sent])
                return await self._stop_short(plan)
            await self._send(wire)
            sent += len(piece)
        if limit is not None:
            return await self._stop_short(plan)
        if streamed:
            await self._send(b"0\r\n\r\n")
        return "cut" if plan.length else "answered"

    async def _stop_short(self, plan: Misbehaviour) -> Ending:
        if plan.cut is None:
            await self._lost.wait()
            raise _Gone
        self._break(reset=plan.reset)
        return "cut"

    def _break(self, *, reset: bool) -> None:
        if reset:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    async def _send(self, data: bytes) -> None:
        await self._writable.wait()
        if self._lost.is_set():
            raise _Gone
        self.transport.write(data)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        if self._lost.is_set():
            raise _Gone


def _split_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or name != name.strip():
        raise ValueError(f"not a header: {line!r}")
    return name, value.strip(" \t")


def _head(answer: Answer, streamed: bool, wrong_by: int) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if streamed:
        lines.append("transfer-encoding: chunked")
    elif answer.status not in (204, 304) and not any(name.lower() == "content-length" for name, _ in answer.headers):
        lines.append(f"content-length: {len(answer.body) + wrong_by}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_REASONS = {
    200: "OK",
    204: "No Content",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}


def host_of(url: str) -> str:
    """`host:port` of a fake's URL, as it should stand in a `Host` header."""
    return urlsplit(url).netloc
