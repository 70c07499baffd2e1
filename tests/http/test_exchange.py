"""An answer on the wire: framing, keep-alive, `100 Continue`, abnormal ends, body memory (I9)."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.exchange import Exchange
from tests.http.line import Handler, Line, echo, read_chunks, tell, whole_body


def answering(status: int, length: int | None, *pieces: bytes, lines: bytes = b"", end: bool = True) -> Handler:
    async def handler(exchange: Exchange) -> None:
        exchange.start(status, lines, length)
        for piece in pieces:
            exchange.write(piece)
        if end:
            exchange.end()
        else:
            exchange.abort()

    return handler


def request(first: bytes = b"GET / HTTP/1.1", *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([first, b"Host: gw", *lines]) + b"\r\n\r\n" + body


def spoken(handler: Handler, data: bytes) -> tuple[bytes, Line]:
    line = Line(handler).feed(data)
    return bytes(line.transport.written), line


# -- framing and keep-alive


def test_content_length_keeps_the_connection() -> None:
    written, line = spoken(answering(200, 5, b"he", b"", b"llo", lines=b"X: y\r\n"), request())
    assert written == b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 5\r\n\r\nhello"
    assert not line.ended()
    line.feed(request())
    assert len(line.answers()) == 2


def test_unknown_length_is_chunked_in_1_1() -> None:
    written, line = spoken(answering(200, None, b"hello", b"x" * 17), request())
    head, _, rest = written.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
    assert read_chunks(rest) == (b"hello" + b"x" * 17, b"", True)
    assert not line.ended()


def test_an_empty_chunked_answer_is_whole() -> None:
    assert spoken(answering(200, None), request())[0].endswith(b"chunked\r\n\r\n0\r\n\r\n")


def test_unknown_length_ends_the_connection_in_1_0() -> None:
    written, line = spoken(answering(200, None, b"hello"), request(b"GET / HTTP/1.0", b"Connection: keep-alive"))
    assert written == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
    assert line.transport.closed and not line.transport.aborted


def test_http_1_0_with_and_without_keep_alive() -> None:
    written, line = spoken(answering(200, 2, b"ok"), request(b"GET / HTTP/1.0", b"Connection: Keep-Alive"))
    assert written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok"
    assert not line.ended()
    written, line = spoken(answering(200, 2, b"ok"), request(b"GET / HTTP/1.0"))
    assert written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    assert line.transport.closed


def test_connection_close_of_the_client() -> None:
    written, line = spoken(answering(200, 2, b"ok"), request(b"GET / HTTP/1.1", b"Connection: close"))
    assert b"connection: close" in written
    assert line.transport.closed


@pytest.mark.parametrize(
    ("first", "status", "length", "head"),
    [
        (b"HEAD / HTTP/1.1", 200, 5, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (b"HEAD / HTTP/1.1", 200, None, b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET / HTTP/1.1", 204, None, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1", 204, 0, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1", 304, 5, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (b"GET / HTTP/1.1", 304, None, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
def test_answers_without_a_body_send_none_and_keep_the_connection(
    first: bytes, status: int, length: int | None, head: bytes
) -> None:
    written, line = spoken(answering(status, length, b"hello"), request(first))
    assert written == head
    assert not line.ended()
    assert line.app.served[0].sent == 0


def test_the_head_waits_for_the_first_body_byte_and_goes_with_it_or_at_flush() -> None:
    kept: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, b"", None)
        kept.append(exchange)

    line = Line(handler).feed(request())
    assert line.transport.written == b""
    kept[0].flush()
    kept[0].flush()
    assert line.transport.written.endswith(b"chunked\r\n\r\n")
    kept[0].write(b"a")
    assert line.transport.written.endswith(b"\r\n\r\n1\r\na\r\n")
    kept[0].end()
    line.hang_up()


def test_extra_lines_stand_on_every_answer() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.extra = b"access-control-allow-origin: *\r\n"
        tell(exchange, 200, b"")

    assert b"access-control-allow-origin: *\r\n" in spoken(handler, request())[0]


def test_an_answer_before_the_request_is_whole_closes_and_what_follows_is_not_served() -> None:
    line = Line(answering(401, 2, b"no")).feed(request(b"POST / HTTP/1.1", b"Content-Length: 10", body=b"abc"))
    assert line.answers()[0].headers["connection"] == "close"
    assert line.transport.eof and not line.transport.is_closing(), "lingers: the client may still be sending"
    line.feed(b"defghij" + request())
    assert len(line.app.served) == 1
    line.hang_up()


# -- ending abnormally


def test_1_7_chunked_ends_without_the_last_chunk() -> None:
    written, line = spoken(answering(200, None, b"hello", end=False), request())
    assert written.endswith(b"5\r\nhello\r\n")
    assert line.transport.closed and not line.transport.aborted, "what is written still goes out"


def test_1_7_content_length_ends_short() -> None:
    written, line = spoken(answering(200, 10, b"hello", end=False), request())
    assert written.endswith(b"content-length: 10\r\n\r\nhello")
    assert line.transport.closed and not line.transport.aborted
    _, line = spoken(answering(200, 10, b"hello", end=False), request(b"GET / HTTP/1.0"))
    assert line.transport.closed and not line.transport.aborted


def test_1_7_close_delimited_ends_with_a_reset() -> None:
    _, line = spoken(answering(200, None, b"hello", end=False), request(b"GET / HTTP/1.0"))
    assert line.transport.aborted


def test_1_7_nothing_said_yet_just_closes() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.abort()

    written, line = spoken(handler, request())
    assert written == b""
    assert line.transport.closed


@pytest.mark.parametrize("pieces", [(b"hell",), (b"hello", b"x"), ()])
def test_1_1_an_answer_that_is_not_as_long_as_promised_never_looks_whole_to_the_next_one(
    pieces: tuple[bytes, ...],
) -> None:
    """Else the next answer's bytes would be read as the rest of this one."""
    _, line = spoken(answering(200, 5, *pieces), request() + request())
    assert line.transport.closed
    assert len(line.app.served) == 1


def test_end_and_abort_count_once() -> None:
    async def handler(exchange: Exchange) -> None:
        tell(exchange, 200, b"ok")
        exchange.end()
        exchange.abort()

    written, line = spoken(handler, request())
    assert written.count(b"HTTP/1.1") == 1
    assert not line.ended()


# -- Expect: 100-continue

EXPECTING = request(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 5")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_100_continue_is_said_when_the_body_is_wanted_and_not_before() -> None:
    kept: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        kept.append(exchange)
        await exchange.fiber.sleep()
        await echo(exchange)

    line = Line(handler).feed(EXPECTING)
    assert line.transport.written == b""
    kept[0].fiber.wake()
    assert line.transport.written == CONTINUE
    line.feed(b"hello")
    assert [answer.status for answer in line.answers()] == [100, 200]
    assert not line.ended()
    line.hang_up()


def test_100_continue_is_not_said_once_the_body_began_or_is_whole() -> None:
    for body in (b"h", b"hello"):
        line = Line().feed(EXPECTING + body, *([b"ello"] if body == b"h" else []))
        assert [answer.status for answer in line.answers()] == [200]
        line.hang_up()


def test_100_continue_is_not_said_to_http_1_0() -> None:
    line = Line().feed(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert line.transport.written == b""
    line.feed(b"hello")
    assert [answer.status for answer in line.answers()] == [200]
    line.hang_up()


def test_413_instead_of_100_continue_when_too_much_is_announced() -> None:
    line = Line().feed(EXPECTING.replace(b"Length: 5", b"Length: 5000000"))
    assert [answer.status for answer in line.answers()] == [413]
    assert line.ended()
    line.hang_up()


def test_a_refusal_on_the_head_alone_says_no_100_continue() -> None:
    line = Line(answering(401, 0)).feed(EXPECTING)
    assert [answer.status for answer in line.answers()] == [401]
    assert line.ended()
    line.hang_up()


# -- I9: what is held is counted, and let go on every path


def test_I9_held_until_forgotten() -> None:
    kept: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        kept.append(exchange)
        exchange.accept_body(1000)
        while not exchange.complete:
            await exchange.fiber.sleep()

    line = Line(handler).feed(request(b"POST / HTTP/1.1", b"Content-Length: 10", body=b"hello"))
    (exchange,) = kept
    assert (line.server.held, exchange.buffered, exchange.received) == (5, 5, 5)
    exchange.forget()
    assert line.server.held == 5, "nobody has taken it yet"
    assert exchange.take() == [b"hello"]
    assert (line.server.held, exchange.buffered) == (5, 0)
    line.feed(b"world")
    assert line.server.held == 10
    exchange.forget()
    assert line.server.held == 5, "the second piece is not taken"
    assert exchange.take() == [b"world"]
    exchange.forget()
    exchange.forget()
    assert line.server.held == 0
    tell(exchange, 200, b"")
    line.hang_up()


@pytest.mark.parametrize("how", ["end", "abort", "gone", "gone before taking"])
def test_I9_nothing_stays_counted(how: str) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.accept_body(1000)
        if how == "gone before taking":
            while not exchange.gone:
                await exchange.fiber.sleep()
            exchange.abort()
            return
        exchange.take()
        match how:
            case "end":
                tell(exchange, 200, b"")
            case "abort":
                exchange.abort()
            case _:
                while not exchange.gone:
                    await exchange.fiber.sleep()
                tell(exchange, 200, b"too late")

    line = Line(handler).feed(request(b"POST / HTTP/1.1", b"Content-Length: 10", body=b"hello"))
    line.feed(b"wor")
    line.hang_up()


def test_a_limit_set_late_counts_what_came_before() -> None:
    """Pipelined bodies arrive before their limit is known."""
    refused: list[GatehouseError] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await whole_body(exchange, 4)
        except GatehouseError as error:
            refused.append(error)
            tell(exchange, error.kind.status, b"")
        else:
            tell(exchange, 200, b"")

    big = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    line = Line(handler).feed(request() + big + request())
    assert [answer.status for answer in line.answers()] == [200, 413]
    assert [error.kind for error in refused] == [errors.TOO_LARGE]
    line.hang_up()
