"""A provider that reads HTTP as loosely as the worst servers do, and says what each of them would have understood.

What lives here: `understood`, the loose reading of raw bytes under a `Temper`; and a server that answers by it and
keeps every byte. Rules: a reading never fails, it takes what it can; every answer repeats its request's target and the
header `x-nonce`, so that whoever gets it can tell whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LIFE: Final = 30.0
_NUMBER: Final = re.compile(rb"[+]?(0x[0-9a-f]+|[0-9_]+)", re.IGNORECASE)
_HEX: Final = re.compile(rb"\s*[+]?(?:0x)?([0-9a-f_]+)", re.IGNORECASE)


class Temper(NamedTuple):
    """What a loose server makes of what is ambiguous."""

    name: str
    chunked_first: bool
    """Of Transfer-Encoding and Content-Length, the former counts."""
    last_length: bool
    """Of several lengths, the last counts."""
    folds: bool
    """A line that begins with a blank goes on with the one before; else it is a header of its own."""
    bits: int
    """Width of the register that a chunk's size is read into."""


TEMPERS: Final = (
    Temper("chunked first", chunked_first=True, last_length=False, folds=True, bits=32),
    Temper("length first", chunked_first=False, last_length=True, folds=False, bits=64),
    Temper("length first, first of several", chunked_first=False, last_length=False, folds=True, bits=64),
)


class Request(NamedTuple):
    """One that a loose server believes to have got. `whole`: all of it has come."""

    method: bytes
    target: bytes
    nonce: bytes
    body: bytes
    whole: bool


def understood(data: bytes, temper: Temper) -> tuple[list[Request], bytes]:
    """The requests in `data`, and what is left of it behind the last whole one."""
    found: list[Request] = []
    while data:
        request, rest = _one(data, temper)
        if request is None:
            break
        found.append(request)
        if not request.whole:
            break
        data = rest
    return found, data


def _one(data: bytes, temper: Temper) -> tuple[Request | None, bytes]:
    data = data.lstrip(b"\r\n\t \0")
    ending = re.search(rb"\n\r*\n|\r\r", data)
    if ending is None:
        return None, data
    lines = re.split(rb"\r*\n|\r", data[: ending.start()])
    words = lines[0].replace(b"\0", b"").split()
    fields: dict[bytes, list[bytes]] = {}
    name = b""
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t") and temper.folds and name:
            fields[name][-1] += b" " + line.strip()
            continue
        name, _, value = line.partition(b":")
        # As CGI and its heirs do, which know no names but those of variables.
        name = re.sub(rb"[^a-z0-9]", b"-", name.lower()).strip(b"-")
        fields.setdefault(name, []).append(value.strip(b"\r\n\t \x0b\x0c\0"))
    method, target = (*words, b"", b"")[:2]
    nonce = fields.get(b"x-nonce", [b""])[-1]
    body, rest, whole = _body(fields, data[ending.end() :], temper)
    return Request(method, target, nonce, body, whole), rest


def _body(fields: dict[bytes, list[bytes]], data: bytes, temper: Temper) -> tuple[bytes, bytes, bool]:
    chunked = any(b"chunked" in value.lower() for value in fields.get(b"transfer-encoding", []))
    lengths = [word for value in fields.get(b"content-length", []) for word in value.split(b",")]
    if chunked and (temper.chunked_first or not lengths):
        return _chunks(data, temper)
    if not lengths:
        return b"", data, True
    match = _NUMBER.match(lengths[-1 if temper.last_length else 0].strip())
    digits = match[1].lower().replace(b"_", b"") if match else b""
    size = int(digits, 16 if digits.startswith(b"0x") else 10) if digits else 0
    return data[:size], data[size:], len(data) >= size


def _chunks(data: bytes, temper: Temper) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        line, newline, rest = data.partition(b"\n")
        if not newline:
            return body, b"", False
        match = _HEX.match(line)
        digits = match[1].replace(b"_", b"") if match else b""
        size = int(digits or b"0", 16) % (1 << temper.bits)
        if not size:
            break
        body += rest[:size]
        if len(rest) < size:
            return body, b"", False
        data = rest[size:].removeprefix(b"\r").removeprefix(b"\n")
    while True:
        line, newline, rest = rest.partition(b"\n")
        if not newline:
            return body, b"", False
        if not line.strip(b"\r"):
            return body, rest, True


@dataclass(eq=False)
class Lenient:
    """The server. `taken`: what came on each connection, since the last `forget`."""

    temper: Temper
    port: int = 0
    answer: Callable[[Request], bytes] = field(default=lambda request: echoed(request))
    taken: list[bytearray] = field(default_factory=list)

    def forget(self) -> None:
        """What came so far was looked at."""
        for each in self.taken:
            each.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken = bytearray()
        self.taken.append(taken)
        waiting = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(LIFE):
                while data := await reader.read(65_536):
                    taken += data
                    requests, waiting = understood(waiting + data, self.temper)
                    for request in requests:
                        if request.whole:
                            writer.write(self.answer(request))
        writer.close()


def echoed(request: Request) -> bytes:
    """A good answer: whose it is."""
    said = b'{"target":"%b","nonce":"%b"}' % (request.target, request.nonce)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)


@contextlib.contextmanager
def lenient(*tempers: Temper) -> Iterator[list[Lenient]]:
    """One server per temper, on a thread of their own."""
    loop = asyncio.new_event_loop()
    servers = [Lenient(temper) for temper in tempers]
    listening: list[asyncio.Server] = []

    async def start() -> None:
        for server in servers:
            listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
            server.port = listener.sockets[0].getsockname()[1]
            listening.append(listener)

    async def stop() -> None:
        for listener in listening:
            listener.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="lenient", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(LIFE)
    try:
        yield servers
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(LIFE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIFE)
        loop.close()
