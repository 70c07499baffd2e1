"""Opens many streams at once and measures how late each event arrives: its stamp against this machine's one clock.

Every stream is checked whole: as many events as upstream sends, `[DONE]`, the last chunk. A stream that ends starts
again on its connection. Run as `python -m bench.streams`; prints `{"phase": "open"}` when all are open and measuring
begins, then one JSON line of results: events per second, delays in milliseconds, streams completed and bad.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from array import array
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvloop

_STAMP: Final = re.compile(rb'"created_ns":(\d+)}')
_BODY: Final = b'{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Tell me a story."}]}'
_END: Final = b"\r\n0\r\n\r\n"


class Tally:
    """What all streams add to."""

    def __init__(self, request: bytes, events: int) -> None:
        self.request = request
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
        self.transport.write(self._tally.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.fault("connection lost")

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        tally = self._tally
        if not self._answering:
            self._answering = True
            if not data.startswith(b"HTTP/1.1 200"):
                tally.fault("status " + data[9:12].decode("latin-1"))
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
        if data.endswith(_END):
            self._finished(b"[DONE]" in data)

    def _finished(self, done: bool) -> None:
        tally = self._tally
        if self._count != tally.events or not done:
            tally.fault("short stream")
        elif tally.measuring:
            tally.completed += 1
        self._tail, self._count, self._answering = b"", 0, False
        if not tally.stopping:
            self.transport.write(tally.request)


async def run(url: str, count: int, seconds: float, settle: float, events: int) -> dict[str, Any]:
    """Open `count` streams, let them settle, measure for `seconds`, close them."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sk-bench\r\n"
        f"content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    )
    tally = Tally(head.encode() + _BODY, events)
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
    options = parser.parse_args()
    result = uvloop.run(run(options.url, options.streams, options.seconds, options.settle, options.events))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
