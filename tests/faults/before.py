"""The ways a provider goes wrong before its answer's head is there: each a coroutine over one raw connection.

Rules, here and in `within`: a way ends its connection itself where ending is part of the fault; where the gateway must
end it, it waits for that (`Peer.left`). What it sends as body it sends through `send_body`, so that the test knows what
could have been passed on.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.fakes.misbehaving import Peer, framing_of, head, send_rest, without_keep_alive
from tests.fakes.server import Answer

GAP = 0.04
"""Seconds between two pieces of what is slow but not too slow."""

PATIENCE = 4.0
"""Seconds: every time-out of the gateway under test."""

_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n"


async def good(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(peer.answer())


# -- before the head


async def close(peer: Peer) -> None:
    await peer.request()
    peer.close()


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def silence(peer: Peer) -> None:
    await peer.request()
    await peer.left()


async def half_open(peer: Peer) -> None:
    await asyncio.sleep(PATIENCE * 1.5)
    peer.close()


async def close_while_sent(peer: Peer) -> None:
    await peer.head()
    peer.reset()


async def answer_before_read(peer: Peer) -> None:
    await peer.head()
    await peer.send_answer(without_keep_alive(peer.answer(413)))
    await peer.linger()


async def answer_and_read_no_further(peer: Peer) -> None:
    await peer.head()
    await peer.send_answer(peer.answer(413))
    await asyncio.sleep(PATIENCE * 1.5)
    peer.close()


async def slow_head(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    lines = head(answer, framing_of(answer)).splitlines(keepends=True)
    for line in lines[:-1]:
        await peer.send(line)
        await asyncio.sleep(GAP / 4)
    await peer.send(lines[-1])
    await send_rest(peer, answer, framing_of(answer))


async def endless_slow_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-wait: 1\r\n")
        await asyncio.sleep(GAP)


async def cut_in_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(head(peer.answer(), "chunked")[:120])
    peer.close()


async def endless_headers(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-more: and more\r\n" * 1000)


async def many_headers(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n" + b"x-one: 1\r\n" * 300 + b"content-length: 0\r\n\r\n")
    await peer.left()


async def huge_header(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nx-huge: " + b"h" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n")
    await peer.left()


async def some_1xx(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + _HINTS)
    await peer.send_answer(peer.answer())


async def storm_of_1xx(peer: Peer) -> None:
    await peer.request()
    while True:
        await peer.send(_HINTS)


async def only_1xx(peer: Peer) -> None:
    await peer.request()
    await peer.send(_HINTS)
    await peer.left()


async def no_http(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"SSH-2.0-OpenSSH_9.9\r\n")
    await peer.left()


async def http_2(peer: Peer) -> None:
    await peer.request()
    await peer.send(head(peer.answer(), "length", first="HTTP/2.0 200 OK"))
    await peer.left()


async def length_and_chunked(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send(head(replace(answer, headers=(*answer.headers, ("content-length", "5"))), "chunked"))
    await peer.left()


async def upgrade(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x02hi")
    await peer.left()


async def offered_upgrade(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send_answer(replace(answer, headers=(*answer.headers, ("upgrade", "h2c"), ("connection", "upgrade"))))


async def redirect(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(Answer(307, (("location", f"http://127.0.0.1:{peer.listener.port}/stolen"),)))


# -- instead of TLS


async def no_tls(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    await peer.left()


async def cut_handshake(peer: Peer) -> None:
    await peer.some()
    peer.close()
