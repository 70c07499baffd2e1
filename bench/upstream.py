"""A fast fake OpenAI upstream: fixed JSON answers, and streams of events stamped with the monotonic clock, by SSE or on
WebSockets.

Built to cost as little as possible on the core it shares with the load generator, and to send an event at the moment
its stamp says: streams are driven by one wheel of timers, and plaintext events go straight to the socket.
It understands only what a benchmark sends: GET or Content-Length, `"stream":true` among the body's first bytes, and a
handshake; on a WebSocket every message of the client asks for one response, in the words of OpenAI's realtime API
(`openai.types.realtime`).

Run as `python -m bench.upstream`; prints one JSON line `{"port": …}` when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import re
import ssl
import sys
import time
from typing import Final, cast

import uvloop

RATE: Final = 30
"""Events per second of one stream."""
DIMENSIONS: Final = 1536
"""Numbers of one embedding."""
SLOTS: Final = 32
"""Positions of the wheel: streams are spread over an event's period."""

_JSON_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n"
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_CHUNK: Final = (
    b'{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini-2024-07-18",'
    b'"service_tier":"default","system_fingerprint":"fp_1",'
)
_EVENT: Final = (
    b"data: "
    + _CHUNK
    + b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]%b,"created_ns":%d}\n\n'
)
_USAGE: Final = (
    b"data: "
    + _CHUNK
    + b'"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)
_NULL_USAGE: Final = b',"usage":null'
_KEY: Final = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-request-id: req_bench\r\n"
    b"sec-websocket-accept: %b\r\n\r\n"
)
_SESSION: Final = (
    b'{"type":"session.created","event_id":"event_BenchSession0001",'
    b'"session":{"type":"realtime","id":"sess_Bench000000001","model":"gpt-4o-realtime-preview"}}'
)
_CREATED: Final = (
    b'{"type":"response.created","event_id":"event_BenchResponse001",'
    b'"response":{"id":"resp_Bench00000000000000001","object":"realtime.response","status":"in_progress"}}'
)
_DELTA: Final = (
    b'{"type":"response.output_text.delta","event_id":"event_Bench0000000000001",'
    b'"response_id":"resp_Bench00000000000000001","item_id":"item_Bench00000000000000001","output_index":0,'
    b'"content_index":0,"delta":" word","created_ns":%d}'
)
_DONE: Final = (
    b'{"type":"response.done","event_id":"event_BenchDone00000001",'
    b'"response":{"id":"resp_Bench00000000000000001","object":"realtime.response","status":"completed",'
    b'"usage":{"total_tokens":%d,"input_tokens":19,"input_token_details":{"text_tokens":19,"audio_tokens":0,'
    b'"cached_tokens":0},"output_token_details":{"text_tokens":%d,"audio_tokens":0},"output_tokens":%d}}}'
)
_CLOSE: Final = 8


def json_answer(size: int) -> bytes:
    """A whole chat completion with a body of about `size` bytes, at least 700."""
    words = b"Hello! How can I assist you today? "
    body = (
        b'{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1741569952,'
        b'"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"%b",'
        b'"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,'
        b'"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"service_tier":"default"}'
    )
    filled = body % (words * max(1, (size - len(body)) // len(words)))
    return _JSON_HEAD % len(filled) + filled


def embeddings_answer(size: int) -> bytes:
    """Vectors of 1,536 numbers as text, about `size` bytes of them, written as OpenAI writes them."""
    numbers = ",".join(f"{(n * 7919 % 20011 - 10005) / 100_000:.8f}" for n in range(DIMENSIONS))
    vector = b'{"object":"embedding","index":%d,"embedding":[' + numbers.encode() + b"]}"
    vectors = b",".join([vector % n for n in range(vectors_of(size))])
    usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % ((16 * vectors_of(size),) * 2)
    body = b'{"object":"list","data":[%b],"model":"text-embedding-3-small","usage":%b}' % (vectors, usage)
    return _JSON_HEAD % len(body) + body


def vectors_of(size: int) -> int:
    """How many vectors an answer of `size` bytes holds, at least one."""
    return max(1, size // (DIMENSIONS * 12))


def _message(text: bytes) -> bytes:
    """A text frame of a server, of less than 64 KiB."""
    size = len(text)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + text


class Upstream:
    """What all connections share."""

    def __init__(self, answer: bytes, events: int) -> None:
        self.answer = answer
        self.events = events
        self.lengths: dict[bytes, int] = {}
        """Content-Length by request head: a load generator repeats its heads."""
        self.slots: list[set[Connection]] = [set() for _ in range(SLOTS)]
        self.slot = 0
        self.next = 0.0
        self.loop = asyncio.get_running_loop()

    def turn(self) -> None:
        """One position of the wheel: an event for each of its streams. Late turns are made up for."""
        for connection in tuple(self.slots[self.slot]):
            connection.event()
        self.slot = (self.slot + 1) % SLOTS
        self.next += 1 / RATE / SLOTS
        self.loop.call_at(self.next, self.turn)

    def begin(self) -> None:
        self.next = self.loop.time()
        self.turn()


class Connection(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._missing = 0
        self._streaming = False
        self._socket = False
        self._null_usage = b""
        self._left = 0
        self._slot: set[Connection] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        plain = transport.get_extra_info("sslcontext") is None
        self._fd = transport.get_extra_info("socket").fileno() if plain else -1

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        if self._socket:
            self._asked(data)
            return
        if self._missing:
            self._missing -= len(data)
            if not self._missing:
                self._answer()
            return
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return
        self._buffer = b""
        head = data[:end]
        if key := _KEY.search(head):
            self._switch(key[1])
            self._asked(data[end + 4 :])
            return
        length = self._upstream.lengths.get(head)
        if length is None:
            length = self._length(head)
        body = data[end + 4 : end + 516]
        self._streaming = b'"stream":true' in body or b'"stream": true' in body
        self._null_usage = _NULL_USAGE if self._streaming and b"include_usage" in data else b""
        self._missing = length - (len(data) - end - 4)
        if not self._missing:
            self._answer()

    def _length(self, head: bytes) -> int:
        if head.startswith(b"GET "):
            return 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
                if len(self._upstream.lengths) < 1000:
                    self._upstream.lengths[head] = length
                return length
        raise ValueError(f"a request without Content-Length: {head[:200]!r}")

    def _answer(self) -> None:
        if not self._streaming:
            self._transport.write(self._upstream.answer)
            return
        self._transport.write(_STREAM_HEAD)
        self._begin()

    def _switch(self, key: bytes) -> None:
        self._socket = True
        accepted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._transport.write(_SWITCHED % accepted + _message(_SESSION))

    def _asked(self, data: bytes) -> None:
        """By a WebSocket's client: short frames, masked, each after the last one's answer. None of them is read."""
        data = self._buffer + data
        if len(data) < 2 or len(data) < 6 + (data[1] & 127):
            self._buffer = data
            return
        self._buffer = b""
        if data[0] & 15 == _CLOSE:
            self._leave()
            self._transport.close()
            return
        self._transport.write(_message(_CREATED))
        self._begin()

    def _begin(self) -> None:
        self._left = self._upstream.events
        # The emptiest position, so that a thousand streams started at once are spread evenly.
        self._slot = min(self._upstream.slots, key=len)
        self._slot.add(self)

    def event(self) -> None:
        if not self._left:
            self._finish()
            return
        self._left -= 1
        if self._socket:
            wire = _message(_DELTA % time.monotonic_ns())
        else:
            event = _EVENT % (self._null_usage, time.monotonic_ns())
            wire = b"%x\r\n%b\r\n" % (len(event), event)
        if self._fd >= 0 and not self._transport.get_write_buffer_size():
            try:
                wire = wire[os.write(self._fd, wire) :]
            except BlockingIOError:
                pass
            except OSError:
                self._transport.abort()
                return
        if wire:
            self._transport.write(wire)

    def _finish(self) -> None:
        self._leave()
        events = self._upstream.events
        if self._socket:
            self._transport.write(_message(_DONE % (events + 19, events, events)))
            return
        end = _USAGE % (events, events + 19) if self._null_usage else b"data: [DONE]\n\n"
        self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))

    def _leave(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None


async def serve(answer: bytes, events: int, tls: ssl.SSLContext | None) -> None:
    upstream = Upstream(answer, events)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", 0, backlog=4096, ssl=tls)
    upstream.begin()
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.upstream", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="bytes of a JSON answer's body")
    parser.add_argument("--embeddings", action="store_true", help="answer with embeddings instead of a chat")
    parser.add_argument("--events", type=int, default=300, help="events of one stream")
    parser.add_argument("--tls", metavar="PEM", help="certificate and key: speak TLS")
    options = parser.parse_args()
    tls = None
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls)
    answer = embeddings_answer(options.size) if options.embeddings else json_answer(options.size)
    uvloop.run(serve(answer, options.events, tls))


if __name__ == "__main__":
    main()
