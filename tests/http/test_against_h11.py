"""Two readers of the same bytes: what the gateway takes, h11 reads as the same messages.

h11 is a strict HTTP/1.1 implementation by other people. Where the gateway takes a message whole, h11 must see the same
method and target (or status), headers and body, ending at the same byte: else two parties on one connection could
disagree on where a message begins. What we take and h11 refuses stands in `TAKEN` and `TAKEN_ANSWERS`, with the reason;
nothing else may. What we refuse and h11 takes needs no list: refusing is always safe.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from tests.http.line import Left, Line, tell, whole_body
from tests.http.test_client import CHUNKED, FIXED, MALFORMED, Upstream
from tests.http.test_client import answer as an_answer
from tests.http.test_client_splits import answers as answer_soup
from tests.http.test_reader_splits import cut, streams

TAKEN = {
    "empty lines before a request": re.compile(rb"[\r\n]+"),
    # RFC 9112, 2.2 asks servers to skip one; llhttp skips CR and LF in any number. No request line starts with either.
    "several spaces in the request line": re.compile(rb"[A-Z]+ +[^ ]+ +HTTP/1\.[01]\r\n"),
    # RFC 9112, 3 allows it. What goes upstream is written anew, with one.
}
"""Each with the bytes it is about, at the start of what h11 refuses."""

TAKEN_ANSWERS = {
    "empty lines before an answer": re.compile(rb"[\r\n]+"),
    # As above: what old servers send behind a body.
}


class Message(NamedTuple):
    """`first`: method, path and query of a request, or an answer's status."""

    first: tuple[bytes, ...]
    headers: list[tuple[bytes, bytes]]
    body: bytes


class RefusedError(Exception):
    """h11 does not take it, or not as a whole message."""


# -- requests


def by_us(pieces: list[bytes]) -> list[Message]:
    """The requests that an application gets whole."""
    found: list[Message] = []

    async def keep(exchange: Exchange) -> None:
        try:
            body = await whole_body(exchange)
        except (GatehouseError, Left):
            exchange.abort()
            return
        head = exchange.head
        first = (head.method, head.path.encode(), head.query.encode())
        found.append(Message(first, _alike(head.headers), body))
        tell(exchange, 200, b"")

    Line(keep).feed(*pieces).hang_up()
    return found


def by_h11(connection: h11.Connection, data: bytes) -> tuple[Message, bytes]:
    """The first message in `data`, and what follows it. Raises `RefusedError`."""
    connection.receive_data(data)
    message = Message((), [], b"")
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                message = Message((event.method, *_origin_form(event)), _alike(list(event.headers)), b"")
            elif isinstance(event, h11.Response):
                message = Message((b"%d" % event.status_code,), _alike(list(event.headers)), b"")
            elif isinstance(event, h11.Data):
                message = message._replace(body=message.body + event.data)
            elif not isinstance(event, h11.InformationalResponse):
                raise RefusedError("not whole")
    except h11.RemoteProtocolError as error:
        raise RefusedError(str(error)) from error
    return message, bytes(connection.trailing_data[0])


def _origin_form(request: h11.Request) -> tuple[bytes, bytes]:
    host = dict(request.headers)[b"host"]
    target = re.sub(rb"^https?://" + re.escape(host), b"", request.target, flags=re.IGNORECASE)
    path, _, query = target.partition(b"?")
    return path or b"/", query


def _alike(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """As h11 words them: names, and the one coding there is, in lower case."""
    lower = [(name.lower(), value.strip(b" \t")) for name, value in headers]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in lower]


def without_taken(data: bytes) -> bytes:
    """What h11 is given: with what `TAKEN` names put as h11 wants it."""
    data = data[len(match[0]) if (match := TAKEN["empty lines before a request"].match(data)) else 0 :]
    match = TAKEN["several spaces in the request line"].match(data)
    return re.sub(rb" +", b" ", match[0]) + data[match.end() :] if match else data


def assert_read_alike(data: bytes, pieces: list[bytes]) -> None:
    rest = data
    for ours in by_us(pieces):
        try:
            theirs, rest = by_h11(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), without_taken(rest))
        except RefusedError as refused:
            pytest.fail(f"we take {ours}; h11 refuses {rest!r}: {refused}")
        assert ours == theirs, rest


_LINES = st.sampled_from(
    [
        b"Content-Length: 5", b"Content-Length: 0",
        b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length:5\t",
        b"Content-Length: 0x5", b"content-length: 00005", b"Content_Length: 9", b"Content-Length : 5",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"transfer-encoding: chunked ",
        b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: Chunked",
        b"Host: gw", b"Host: other", b"Connection: close", b"Connection: upgrade", b"Connection: keep-alive",
        b"Upgrade: h2c", b"Expect: 100-continue", b"X:", b"X: \x80\xff", b"X: \x01", b"X: a\tb ", b"X-\xff: a",
        b"X Y: a", b": a", b"X", b" folded", b"\tfolded", b"X: a\rb", b"X: a\nb", b"X: \x00", b"Trailer: X", b"",
    ]
)  # fmt: skip
_BODIES = st.sampled_from(
    [
        b"", b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n', b"5 \r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n00\r\n\r\n",
        b"5\nhello\n0\n\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", b"fffffffffffffffff\r\nhello\r\n", b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n", b"5\r\nhello\r\n0\r\n\r", b";\r\n", b"\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n",
    ]
)  # fmt: skip
_FIRST = st.sampled_from(
    [
        b"POST /a HTTP/1.1", b"GET /a?b=c?d HTTP/1.1", b"PUT /a HTTP/1.0", b"HEAD http://gw/a HTTP/1.1",
        b"GET HTTP://gw HTTP/1.1", b"POST  /a   HTTP/1.1", b"POST /a\tHTTP/1.1", b"POST /a HTTP/1.1 ", b"POST /a",
        b"\r\nPOST /a HTTP/1.1",
        b"\n\rPOST /a HTTP/1.1", b"post /a HTTP/1.1", b"POST /\xc3 HTTP/1.1", b"POST a HTTP/1.1",
        b"POST /a HTTP/1.2", b"POST /a http/1.1", b"OPTIONS * HTTP/1.1", b"DELETE /a?# HTTP/1.1", b"PATCH /a? HTTP/1.1",
    ]
)  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A request put together of parts that are well-formed, nearly so, or not at all."""
    lines = [draw(_FIRST), *([b"Host: gw"] if draw(st.integers(0, 9)) else []), *draw(st.lists(_LINES, max_size=4))]
    ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])
    return b"".join(line + draw(ends) for line in lines) + draw(ends) + draw(_BODIES)


requests = st.one_of(streams, st.lists(written(), min_size=1, max_size=3).map(b"".join), st.binary(min_size=1))


@settings(max_examples=800)
@given(requests, st.lists(st.integers(0, 10_000), max_size=8))
@example(
    b"\n\rPOST  /a   HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: gw\r\n\r\n", [9]
)
@example(b"POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", [70])
@example(b"POST /a HTTP/1.1\r\nHost: gw\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", [80])
def test_a_request_we_take_is_the_same_request_to_h11(data: bytes, places: list[int]) -> None:
    assert_read_alike(data, [piece for piece in cut(data, places) if piece])


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("empty lines before a request", b"\r\n\n\rGET / HTTP/1.1\r\nHost: gw\r\n\r\n"),
        ("several spaces in the request line", b"GET   /  HTTP/1.1\r\nHost: gw\r\n\r\n"),
    ],
)
def test_what_we_take_and_h11_does_not(why: str, data: bytes) -> None:
    """The list is closed, and nothing on it is there for nothing."""
    assert TAKEN[why].match(data)
    assert len(by_us([data])) == 1
    with pytest.raises(RefusedError):
        by_h11(h11.Connection(h11.SERVER), data)


# -- answers


def answer_by_us(pieces: list[bytes], method: str, *, ended: bool) -> Message | None:
    """The answer, if it is whole."""
    upstream = Upstream(method)
    connection = upstream.feed(*pieces)
    if ended and not connection.lost:
        upstream.end()
    if not connection.complete:
        return None
    return Message((b"%d" % connection.status,), _alike(list(connection.headers)), upstream.body)


def answer_by_h11(data: bytes, method: str, *, ended: bool) -> Message:
    asking = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    asking.send(h11.Request(method=method, target="/", headers=[("host", "up"), ("content-length", "0")]))
    asking.send(h11.EndOfMessage())
    if ended:
        asking.receive_data(data)
        data = b""
    return by_h11(asking, data)[0]


_STATUS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 204 No", b"HTTP/1.1 304 Not",
        b"HTTP/1.1  200 OK", b"HTTP/1.1 200 \x80", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK",
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 103 E\r\nX: y\r\n\r\nHTTP/1.1 500 E", b"ICY 200 OK",
        b"HTTP/1.1 999 Odd", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 099 Odd",
    ]
)  # fmt: skip


@st.composite
def answered(draw: st.DrawFn) -> bytes:
    lines = [draw(_STATUS), *draw(st.lists(_LINES, max_size=3))]
    ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r"])
    return b"".join(line + draw(ends) for line in lines) + draw(ends) + draw(_BODIES)


answers = st.one_of(st.sampled_from([FIXED, CHUNKED, *MALFORMED.values()]), answered(), answered(), answer_soup)


@settings(max_examples=800)
@given(answers, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from(["POST", "HEAD"]), st.booleans())
@example(an_answer(b"Content-Length: 5", body=b"hello" + FIXED), [], "POST", False)
def test_an_answer_we_take_whole_is_the_same_answer_to_h11(
    data: bytes, places: list[int], method: str, ended: bool
) -> None:
    if not data:
        return
    ours = answer_by_us([piece for piece in cut(data, places) if piece], method, ended=ended)
    if ours is None:
        return
    start = match.end() if (match := TAKEN_ANSWERS["empty lines before an answer"].match(data)) else 0
    try:
        theirs = answer_by_h11(data[start:], method, ended=ended)
    except RefusedError as refused:
        pytest.fail(f"we take {ours}; h11 refuses {data!r}: {refused}")
    assert ours == theirs
