"""The ways a provider goes wrong within its answer, behind it, or by it. The rules are those of `before`."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import replace

from tests.fakes import anthropic_api
from tests.fakes.misbehaving import Framing, Peer, Way, framing_of, head, pieces, send_rest, without_keep_alive
from tests.fakes.server import Answer
from tests.faults.before import GAP

LONG_LINE = 3 * 1024 * 1024

_HTML = b"<html>\r\n<head><title>nginx</title></head>\r\n<body><center><h1>Sorry</h1></center></body>\r\n</html>\r\n"


async def slow_body(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    framing = framing_of(answer)
    await peer.send(head(answer, framing))
    for piece in _split(answer):
        await peer.send_body(piece, framing)
        await asyncio.sleep(GAP)
    await peer.send(b"0\r\n\r\n" if framing == "chunked" else b"")


async def stall(peer: Peer) -> None:
    await _begin(peer, "chunked")
    await peer.left()


async def cut_behind_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(head(peer.answer(), "chunked"))
    peer.close()


async def cut_in_body(peer: Peer) -> None:
    await _begin(peer, "length")
    peer.close()


async def reset_in_body(peer: Peer) -> None:
    await _begin(peer, "chunked")
    peer.reset()


async def cut_between_chunks(peer: Peer) -> None:
    await _begin(peer, "chunked")
    peer.close()


async def cut_in_chunk_header(peer: Peer) -> None:
    await _begin(peer, "chunked")
    await peer.send(b"1f")
    peer.close()


async def cut_in_chunk(peer: Peer) -> None:
    await _begin(peer, "chunked")
    half = b'data: {"half'
    peer.listener.body += half
    await peer.send(b"1f\r\n" + half)
    peer.close()


async def cut_before_last_chunk(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send(head(answer, "chunked"))
    for piece in pieces(answer):
        await peer.send_body(piece, "chunked")
    peer.close()


async def length_too_long(peer: Peer) -> None:
    await _all_with(peer, wrong_by=60)
    peer.close()


async def length_too_short(peer: Peer) -> None:
    await _all_with(peer, wrong_by=-10)
    await peer.left()


async def no_chunk_size(peer: Peer) -> None:
    await _begin(peer, "chunked")
    await peer.send(b"zz\r\nhello\r\n")
    await peer.left()


async def huge_chunk_size(peer: Peer) -> None:
    await _begin(peer, "chunked")
    await peer.send(b"f" * 17 + b"\r\nhello\r\n")
    await peer.left()


async def chunk_longer_than_said(peer: Peer) -> None:
    await _begin(peer, "chunked")
    peer.listener.body += b"hello"
    await peer.send(b"3\r\nhello\r\n")
    await peer.left()


async def endless_chunk_extension(peer: Peer) -> None:
    await _begin(peer, "chunked")
    await peer.send(b"5;")
    while True:
        await peer.send(b"x" * 16_384)


async def trailers(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send(head(answer, "chunked"))
    for piece in pieces(answer):
        await peer.send_body(piece, "chunked")
    await peer.send(b"0\r\nauthorization: Bearer trailing\r\nset-cookie: a=b\r\n\r\n")


async def bad_utf8(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    text = b"Hello"
    await peer.send_answer(_mapped(answer, lambda piece: piece.replace(text, b"He\xff\xc0lo", 1)))


async def long_line(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(lengthened(peer.answer(), LONG_LINE))


async def empty(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send_answer(Answer(200, answer.headers))


async def cut_encoded(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    packed = gzip.compress(b"".join(pieces(answer)), mtime=0)
    await peer.send(head(_encoded(answer), "chunked"))
    await peer.send_body(packed[: len(packed) // 2], "chunked")
    peer.close()


async def not_what_it_is_encoded_as(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(_encoded(peer.answer()))


async def to_the_end(peer: Peer) -> None:
    await _all_with(peer, "none", first="HTTP/1.0 200 OK")
    peer.close()


async def to_the_end_cut(peer: Peer) -> None:
    await _begin(peer, "none", first="HTTP/1.0 200 OK")
    peer.close()


async def to_the_end_reset(peer: Peer) -> None:
    await _begin(peer, "none", first="HTTP/1.0 200 OK")
    peer.reset()


# -- behind the answer


async def second_answer(peer: Peer) -> None:
    await peer.request()
    answer = peer.answer()
    await peer.send_answer(answer)
    await _unasked(peer)
    await peer.left()


async def answer_after_close(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(without_keep_alive(peer.answer()))
    await _unasked(peer)
    await peer.left()


async def unasked_answer(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(peer.answer())
    await asyncio.sleep(GAP)
    await _unasked(peer)
    await peer.left()


# -- errors of its own


def error(status: int) -> Way:
    async def way(peer: Peer) -> None:
        await peer.request()
        await peer.send_answer(peer.answer(status))

    return way


def html(status: int) -> Way:
    async def way(peer: Peer) -> None:
        await peer.request()
        await peer.send_answer(Answer(status, (("content-type", "text/html"), ("server", "nginx")), _HTML))

    return way


async def error_event(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(_failed(peer))


async def named_error_event(peer: Peer) -> None:
    await peer.request()
    await peer.send_answer(_failed(peer, named=True))


async def error_event_cut(peer: Peer) -> None:
    await peer.request()
    answer = _failed(peer)
    await peer.send(head(answer, "chunked"))
    for piece in pieces(answer):
        await peer.send_body(piece, "chunked")
    peer.close()


# -- parts of the above


def lengthened(answer: Answer, size: int) -> Answer:
    """The answer with so much more text in one line of its own."""
    text = b'"Hello'
    return _mapped(answer, lambda piece: piece.replace(text, text + b"l" * size, 1))


def _mapped(answer: Answer, change: Callable[[bytes], bytes]) -> Answer:
    """The answer with one of its pieces changed: the first that `change` does something to."""
    changed, done = [], False
    for piece in pieces(answer):
        other = piece if done else change(piece)
        done = done or other != piece
        changed.append(other)
    assert done, "nothing to change in this answer"
    if answer.events is not None:
        return replace(answer, events=tuple(changed))
    return replace(answer, body=changed[0])


def _split(answer: Answer) -> tuple[bytes, ...]:
    if answer.events is not None:
        return answer.events
    return tuple(answer.body[at : at + 200] for at in range(0, len(answer.body), 200))


def _half(answer: Answer) -> tuple[bytes, ...]:
    if answer.events is not None:
        return answer.events[: len(answer.events) // 2]
    return (answer.body[: len(answer.body) // 2],)


async def _begin(peer: Peer, framing: Framing, first: str = "") -> None:
    """The head and about half of the body, in whole events where it has some."""
    await peer.request()
    answer = peer.answer()
    await peer.send(head(answer, framing, first=first))
    for piece in _half(answer):
        await peer.send_body(piece, framing)


async def _all_with(peer: Peer, framing: Framing = "length", *, first: str = "", wrong_by: int = 0) -> None:
    """The whole body under a head that says something else."""
    await peer.request()
    answer = peer.answer()
    await peer.send(head(answer, framing, first=first, wrong_by=wrong_by))
    await send_rest(peer, answer, framing)


async def _unasked(peer: Peer) -> None:
    """Somebody else's answer, sent to nobody's request. Not counted as this answer's body."""
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nsecret")


def _encoded(answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, ("content-encoding", "gzip")))


def _failed(peer: Peer, *, named: bool = False) -> Answer:
    """Half a stream that ends in the dialect's own error event; or a document that holds an error, with status 200.

    Anthropic's event always has a name; `named` gives one to the others'.
    """
    answer, failure = peer.answer(), peer.answer(500)
    if answer.events is None:
        return replace(answer, body=failure.body)
    if peer.listener.dialect == "anthropic":
        event = anthropic_api.overloaded_event()
    else:
        end = b"\r\n" if peer.listener.dialect == "google" else b"\n"
        name = b"event: error" + end if named else b""
        event = name + b"data: " + b"".join(failure.body.split(b"\n")) + end + end
    return replace(answer, events=(*_half(answer), event))
