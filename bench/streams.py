"""Opens many streams at once and measures how late each event arrives: its stamp against this machine's one clock.

Every stream is checked whole: as many events as upstream sends, `[DONE]`, the last chunk. A stream that ends starts
again on its connection. `--sockets`: the streams are responses on WebSockets, asked for by a masked `response.create`
and checked alike, to the last bytes of their `response.done`. Run as `python -m bench.streams`; prints
`{"phase": "open"}` when all are open and measuring begins, then one JSON line of results: events per
second, delays in milliseconds, streams completed and bad.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from array import array
from typing import Any, Final, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import uvloop

from gatehouse.http.websocket import unmask

_STAMP: Final = re.compile(rb'"created_ns":(\d+)}')
_BODY: Final = b'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Tell me a story."}]}'
_ASK: Final = b'{"type":"response.create","response":{"output_modalities":["text"]}}'
_MASK: Final = b"\x1f\x8c\x42\xd3"


class Talk(NamedTuple):
    """What a connection says, and is told."""

    opening: bytes
    """Said once: the first request, or a handshake."""
    status: bytes
    """How the answer to it, or to every request, begins."""
    request: bytes
    """Said for every stream."""
    end: bytes
    """The last bytes of a stream."""
    last: bytes
    """What stands just before: a part of its last event."""
    socket: bool


class Tally:
    """What all streams add to."""

    def __init__(self, talk: Talk, events: int) -> None:
        self.talk = talk
        self.events = events
        self.measuring = False
        self.stopping = False
        self.delays = array("q")
        self.completed = 0
        self.bad: dict[str, int] = {}

    def fault(self, what: str) -> None:
        if not self.stopping:
            self.bad[what] = self.bad.get(what, 0) + 1


class Stream(asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._tail = b""
        self._count = 0
        self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._tally.talk.opening)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.fault("connection lost")

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        tally = self._tally
        talk = tally.talk
        if not self._answering:
            self._answering = True
            if not data.startswith(talk.status):
                tally.fault("status " + data[9:12].decode("latin-1"))
            elif talk.socket:
                self.transport.write(talk.request)
        if self._tail:
            data = self._tail + data
        end = 0
        for match in _STAMP.finditer(data):
            self._count += 1
            end = match.end()
            if tally.measuring:
                tally.delays.append(now - int(match[1]))
        # A stamp or the end may be split between two reads; neither is longer than this.
        self._tail = data[max(end, len(data) - 48) :]
        if data.endswith(talk.end):
            self._finished(talk.last in data)

    def _finished(self, done: bool) -> None:
        tally = self._tally
        if self._count != tally.events or not done:
            tally.fault("short stream")
        elif tally.measuring:
            tally.completed += 1
        self._tail, self._count, self._answering = b"", 0, tally.talk.socket
        if not tally.stopping:
            self.transport.write(tally.talk.request)


def _streamed(parts: SplitResult) -> Talk:
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sk-bench\r\n"
        f"content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    )
    request = head.encode() + _BODY
    return Talk(request, b"HTTP/1.1 200", request, b"\r\n0\r\n\r\n", b"[DONE]", socket=False)


def _conversed(parts: SplitResult) -> Talk:
    handshake = (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sk-bench\r\n"
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    ask = bytes((0x81, 0x80 | len(_ASK))) + _MASK + unmask(_ASK, _MASK)
    return Talk(handshake.encode(), b"HTTP/1.1 101", ask, b"}}}", b'"output_tokens"', socket=True)


async def run(url: str, count: int, seconds: float, settle: float, events: int, sockets: bool) -> dict[str, Any]:
    """Open `count` streams, let them settle, measure for `seconds`, close them."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    tally = Tally(_conversed(parts) if sockets else _streamed(parts), events)
    loop = asyncio.get_running_loop()
    streams = []
    for number in range(count):
        _, stream = await loop.create_connection(lambda: Stream(tally), host, port)
        streams.append(stream)
        if number % 25 == 24:
            await asyncio.sleep(0.02)
    await asyncio.sleep(settle)
    sys.stdout.write('{"phase": "open"}\n')
    sys.stdout.flush()
    cpu, started, tally.measuring = time.process_time(), time.monotonic(), True
    await asyncio.sleep(seconds)
    tally.measuring, took, cpu = False, time.monotonic() - started, time.process_time() - cpu
    tally.stopping = True
    for stream in streams:
        stream.transport.abort()
    await asyncio.sleep(0)
    ordered = sorted(tally.delays) or [0]
    return {
        "streams": count,
        "events_per_second": len(tally.delays) / took,
        "p50_ms": ordered[len(ordered) // 2] / 1e6,
        "p99_ms": ordered[int(len(ordered) * 0.99)] / 1e6,
        "max_ms": ordered[-1] / 1e6,
        "completed": tally.completed,
        "bad": tally.bad,
        "client_cpu": cpu / took,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.streams", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument(
        "--settle", type=float, default=3.0, help="seconds between the last stream's start and measuring"
    )
    parser.add_argument("--events", type=int, default=300, help="events of one stream, as upstream sends")
    parser.add_argument("--sockets", action="store_true", help="each on a WebSocket")
    options = parser.parse_args()
    running = run(options.url, options.streams, options.seconds, options.settle, options.events, options.sockets)
    result = uvloop.run(running)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
