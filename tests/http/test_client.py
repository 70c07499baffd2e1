"""An upstream connection: answers are never swapped, cut ones never look whole, bounds hold (I9)."""

from __future__ import annotations

import asyncio

import pytest

from gatehouse.http.client import BULK, HEAD_LIMIT, SHARE, ClientConnection
from tests.fakes.fibers import telling
from tests.http.line import FakeTransport

REQUEST = b"POST / HTTP/1.1\r\nhost: up\r\ncontent-length: 0\r\n\r\n"


class Owner:
    """Stands where the pool stands."""

    def __init__(self) -> None:
        self.now = 100.0
        self.gone: list[ClientConnection] = []

    def lost(self, connection: ClientConnection) -> None:
        self.gone.append(connection)


class Upstream:
    """One connection on a fake transport, with a request sent on it."""

    def __init__(self, method: str = "POST", body: bytes | None = b"") -> None:
        self.owner = Owner()
        self.transport = FakeTransport()
        self.connection = ClientConnection(self.owner)
        self.connection.connection_made(self.transport)
        self.wakes = 0
        self.fiber = telling(self._count)
        self.connection.request(self.fiber, method, REQUEST, body)
        self.body = b""

    def _count(self) -> None:
        self.wakes += 1

    def feed(self, *pieces: bytes) -> ClientConnection:
        for piece in pieces:
            if not self.transport.is_closing():
                self.connection.data_received(piece)
        self.body += b"".join(self.connection.take())
        return self.connection

    def end(self, error: Exception | None = None) -> ClientConnection:
        """The upstream ends the connection: properly, or with an error."""
        if not self.transport.is_closing():
            if error is None:
                self.connection.eof_received()
            self.transport.abort()
        self.connection.connection_lost(error)
        self.body += b"".join(self.connection.take())
        return self.connection


def answer(*lines: bytes, body: bytes = b"", first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n" + body


FIXED = answer(b"Content-Length: 5", body=b"hello")
CHUNKED = answer(b"Transfer-Encoding: chunked", body=b"3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: r\r\n\r\n")


# -- whole answers


@pytest.mark.parametrize("data", [FIXED, CHUNKED])
def test_a_whole_answer_leaves_the_connection_reusable_however_it_is_cut(data: bytes) -> None:
    for cut in range(len(data)):
        upstream = Upstream()
        connection = upstream.feed(*filter(None, (data[:cut], data[cut:])))
        assert (connection.status, upstream.body, connection.complete) == (200, b"hello", True)
        assert connection.reusable
        assert upstream.wakes >= 1


def test_the_same_connection_serves_one_request_after_the_other_and_nothing_is_left_over() -> None:
    upstream = Upstream()
    for number in range(3):
        connection = upstream.feed(answer(b"Content-Length: 1", b"X-Number: %d" % number, body=b"%d" % number))
        assert connection.fields[b"x-number"] == b"%d" % number
        assert connection.reusable
        connection.release()
        assert connection.reused
        connection.request(upstream.fiber, "GET", REQUEST, b"")
        assert (connection.status, connection.headers, connection.pieces, connection.received) == (0, [], [], 0)
        assert not (connection.complete or connection.heard or connection.reusable)
    assert upstream.body == b"012"


def test_1_1_trailers_are_dropped() -> None:
    connection = Upstream().feed(answer(b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 9\r\nX: y\r\n\r\n"))
    assert [name for name, _ in connection.headers] == [b"Transfer-Encoding"]
    assert b"x" not in connection.fields


@pytest.mark.parametrize("first", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"])
def test_1_1_204_and_304_end_at_their_head(first: bytes) -> None:
    for lines in ([], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"]):
        connection = Upstream().feed(answer(*lines, first=first))
        assert connection.complete
        assert connection.reusable


def test_1_1_head_ends_at_its_head_and_takes_the_connection_with_it() -> None:
    """T: after HEAD with Content-Length the next response's bytes arrive as body."""
    upstream = Upstream("HEAD")
    connection = upstream.feed(answer(b"Content-Length: 5"))
    assert (connection.complete, connection.length, connection.reusable) == (True, 5, False)
    upstream = Upstream("HEAD")
    connection = upstream.feed(answer(b"Content-Length: 5", body=b"hello"))
    assert (connection.complete, upstream.body, connection.reusable) == (True, b"", False)


def test_1_1_neither_length_nor_chunks_ends_at_eof_and_is_never_reused() -> None:
    upstream = Upstream()
    connection = upstream.feed(answer(b"Connection: keep-alive", body=b"hel"), b"lo")
    assert (connection.status, connection.complete) == (200, False)
    connection = upstream.end()
    assert (connection.complete, upstream.body, connection.reusable) == (True, b"hello", False)


# -- answers must not be swapped


@pytest.mark.parametrize(
    "extra", [FIXED, b"H", b"HTTP/1.1 200", b"garbage", b"\x00", b"HTTP/1.1 100 Continue\r\n\r\n", b"0\r\n\r\n"]
)
@pytest.mark.parametrize(
    "data", [FIXED, CHUNKED, answer(first=b"HTTP/1.1 204 No Content"), answer(b"Content-Length: 0")]
)
def test_1_1_bytes_behind_an_answer_reach_nobody_and_end_the_connection(data: bytes, extra: bytes) -> None:
    """T: llhttp parses on past the end; an unsolicited second response in the same read is handed to the caller."""
    for pieces in ([data + extra], [data, extra]):
        upstream = Upstream()
        connection = upstream.feed(*pieces)
        assert connection.complete
        assert upstream.body in (b"hello", b"")
        assert connection.headers == Upstream().feed(data).headers
        assert not connection.reusable


def test_1_1_blank_lines_behind_an_answer_are_nothing() -> None:
    assert Upstream().feed(FIXED + b"\r\n\r\n").reusable


def test_1_1_any_byte_on_an_idle_connection_ends_it() -> None:
    upstream = Upstream()
    connection = upstream.feed(FIXED)
    connection.release()
    connection.data_received(FIXED)
    assert upstream.transport.aborted
    assert connection.lost, "at once: in the same turn nobody may be handed it"
    assert not connection.reusable


def test_1_1_a_byte_before_the_first_request_ends_the_connection() -> None:
    owner, transport = Owner(), FakeTransport()
    connection = ClientConnection(owner)
    connection.connection_made(transport)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert transport.aborted
    assert connection.lost


def test_an_idle_connection_whose_upstream_left_is_lost_at_once() -> None:
    upstream = Upstream()
    connection = upstream.feed(FIXED)
    connection.release()
    connection.eof_received()
    assert connection.lost


def test_1_1_informational_answers_are_consumed() -> None:
    """T: a 1xx fires message_complete."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n"
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + early + FIXED
    for cut in range(len(data)):
        upstream = Upstream()
        connection = upstream.feed(*filter(None, (data[:cut], data[cut:])))
        assert (connection.status, upstream.body) == (200, b"hello")
        assert [name for name, _ in connection.headers] == [b"Content-Length"]
        assert connection.reusable


def test_I9_informational_storms_are_bounded() -> None:
    upstream = Upstream()
    for _ in range(1000):
        upstream.feed(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert upstream.transport.aborted
    assert upstream.connection.failure == "too many informational answers"
    assert upstream.connection.status == 0
    storm = Upstream().feed(b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + FIXED)
    assert (storm.status, storm.lost) == (0, True)


@pytest.mark.parametrize("lines", [(), (b"Upgrade: websocket", b"Connection: Upgrade")])
def test_1_1_a_101_that_nobody_asked_for_ends_the_connection(lines: tuple[bytes, ...]) -> None:
    connection = Upstream().feed(answer(*lines, first=b"HTTP/1.1 101 Switching Protocols") + FIXED)
    assert (connection.status, connection.complete, connection.lost) == (0, False, True)


SWITCHED = answer(b"Upgrade: websocket", b"Connection: Upgrade", first=b"HTTP/1.1 101 Switching Protocols")


def test_1_11_behind_a_101_that_was_asked_for_everything_is_the_other_protocols() -> None:
    """At every split, also where it looks like HTTP; the connection never serves again."""
    data = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + SWITCHED + b"\x81\x05hello" + FIXED
    for cut in range(len(data)):
        upstream = Upstream("GET")
        upstream.connection.may_switch = True
        connection = upstream.feed(data[:cut], data[cut:])
        assert (connection.status, upstream.body, connection.lost) == (101, b"\x81\x05hello" + FIXED, False), cut
        assert connection.fields[b"upgrade"] == b"websocket"
        assert not connection.reusable
        connection.send(b"\x88\x00")
        assert upstream.transport.written.endswith(b"\x88\x00")
        assert upstream.end().lost


def test_1_11_another_answer_is_an_ordinary_one() -> None:
    upstream = Upstream("GET")
    upstream.connection.may_switch = True
    connection = upstream.feed(FIXED)
    assert (connection.status, connection.complete, connection.reusable) == (200, True, True)
    upstream.connection.release()
    upstream.connection.request(upstream.fiber, "GET", REQUEST, b"")
    assert upstream.feed(SWITCHED).lost, "it was asked for by the request before"


def test_I9_a_provider_that_speaks_too_fast_is_paused() -> None:
    upstream = Upstream("GET")
    upstream.connection.may_switch = True
    for piece in (SWITCHED, *[b"x" * 65_536] * 5):
        upstream.connection.data_received(piece)
    assert upstream.connection.held
    upstream.connection.take()
    assert not upstream.connection.held


def test_what_was_written_goes_out_before_a_finished_connection_ends() -> None:
    async def finish() -> FakeTransport:
        upstream = Upstream("GET")
        upstream.connection.finish()
        assert upstream.connection.lost
        upstream.connection.finish()
        return upstream.transport

    transport = asyncio.run(finish())
    assert (transport.closed, transport.aborted) == (True, False)


# -- when a connection may serve again


@pytest.mark.parametrize(
    "data",
    [
        answer(b"Content-Length: 5", b"Connection: close", body=b"hello"),
        answer(b"Content-Length: 5", body=b"hello", first=b"HTTP/1.0 200 OK"),
        answer(b"Transfer-Encoding: chunked", b"Connection: Close", body=b"5\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_keep_alive_must_hold(data: bytes) -> None:
    upstream = Upstream()
    connection = upstream.feed(data)
    assert (connection.complete, upstream.body, connection.reusable) == (True, b"hello", False)


def test_http_1_0_with_keep_alive_may_be_reused() -> None:
    data = answer(b"Content-Length: 5", b"Connection: keep-alive", body=b"hello", first=b"HTTP/1.0 200 OK")
    assert Upstream().feed(data).reusable


def test_a_request_half_written_makes_the_connection_unfit() -> None:
    streamed = Upstream(body=None)
    connection = streamed.feed(answer(b"Content-Length: 0", first=b"HTTP/1.1 413 Too Large"))
    assert connection.complete
    before = connection.reusable
    connection.sent()
    assert (before, connection.reusable) == (False, True)
    handed_over = Upstream(body=b"a" * 100_000)
    handed_over.transport.unsent = 10
    connection = handed_over.feed(answer(b"Content-Length: 0", first=b"HTTP/1.1 413 Too Large"))
    before = connection.reusable
    handed_over.transport.unsent = 0
    assert (before, connection.reusable) == (False, True), "handed over is not written"


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_the_request_is_written_head_first(size: int) -> None:
    upstream = Upstream(body=b"b" * size)
    assert upstream.transport.written == REQUEST + b"b" * size


def test_a_request_on_a_connection_lost_since_it_was_handed_out_is_not_sent() -> None:
    upstream = Upstream()
    connection = upstream.feed(FIXED)
    connection.release()
    connection.connection_lost(None)
    connection.request(upstream.fiber, "POST", REQUEST, b"x")
    connection.send(b"more")
    assert upstream.transport.written == REQUEST
    assert (connection.lost, connection.status, connection.heard, connection.reused) == (True, 0, False, True)


# -- cut answers


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        answer(b"Content-Length: 5", body=b"hell"),
        answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
        answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_1_1_a_cut_answer_is_lost_and_not_complete(data: bytes, error: Exception | None) -> None:
    upstream = Upstream()
    if data:
        upstream.feed(data)
    before = upstream.wakes
    connection = upstream.end(error)
    assert (connection.lost, connection.complete, connection.reusable) == (True, False, False)
    assert connection.failure == ("connection closed" if error is None else "connection reset")
    assert connection.heard is bool(data)
    assert upstream.wakes > before
    assert upstream.owner.gone == [connection]


def test_1_1_a_body_to_eof_is_whole_only_if_the_upstream_ended_it_itself() -> None:
    """Not by a reset, not by us, and over TLS not without close_notify (then nobody tells us of an EOF)."""
    for how in ("reset", "we end it", "no close_notify"):
        upstream = Upstream()
        upstream.feed(answer(body=b"hel"))
        if how == "reset":
            connection = upstream.end(ConnectionResetError())
        else:
            if how == "we end it":
                upstream.connection.abort()
            upstream.connection.connection_lost(None)
            connection = upstream.connection
        assert (connection.lost, connection.complete) == (True, False), how


def test_what_came_before_the_cut_can_still_be_taken() -> None:
    upstream = Upstream()
    upstream.connection.data_received(answer(b"Content-Length: 9", body=b"hello"))
    upstream.connection.connection_lost(None)
    assert upstream.connection.take() == [b"hello"]


# -- malformed heads

MALFORMED = {
    "garbage": b"hello world\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2.0": answer(first=b"HTTP/2.0 200 OK"),
    "CL+TE": answer(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "TE+CL": answer(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "CL twice": answer(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "CL signed": answer(b"Content-Length: +5", body=b"hello"),
    "CL 2^64-1": answer(b"Content-Length: 18446744073709551615", body=b"hello"),
    "TE gzip, chunked": answer(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "TE identity": answer(b"Transfer-Encoding: identity", body=b"hello"),
    "TE in HTTP/1.0": answer(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", first=b"HTTP/1.0 200 OK"),
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "obs-fold": answer(b"X: a\r\n b", b"Content-Length: 0"),
    "bare CR": answer(b"X: a\rb", b"Content-Length: 0"),
    "NUL": answer(b"X: a\x00b", b"Content-Length: 0"),
    "space before the colon": answer(b"X : a", b"Content-Length: 0"),
    "status 099": answer(b"Content-Length: 0", first=b"HTTP/1.1 099 OK"),
    "status 20": answer(b"Content-Length: 0", first=b"HTTP/1.1 20 OK"),
    "too many headers": answer(*[b"X: y"] * 300, b"Content-Length: 0"),
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_head_gives_no_answer_at_all(name: str) -> None:
    data = MALFORMED[name]
    for pieces in ([data + FIXED], [data[i : i + 1] for i in range(len(data))]):
        upstream = Upstream()
        connection = upstream.feed(*pieces)
        assert (connection.status, connection.complete, connection.lost, upstream.body) == (0, False, True, b"")
        assert connection.failure
        assert upstream.transport.aborted
        assert upstream.wakes >= 1


@pytest.mark.parametrize("body", [b"X\r\n", b"5\r\nhelloX", b"5\nhello", b"-1\r\n"])
def test_bad_chunks_cut_the_answer(body: bytes) -> None:
    connection = Upstream().feed(answer(b"Transfer-Encoding: chunked", body=body))
    assert (connection.status, connection.complete, connection.lost) == (200, False, True)
    assert connection.failure.startswith("malformed answer")


@pytest.mark.parametrize("piece", [b"a" * 1000, b"X: y\r\n" * 100])
def test_I9_an_endless_head_is_cut_off(piece: bytes) -> None:
    upstream = Upstream()
    upstream.feed(b"HTTP/1.1 200 OK\r\nX: ")
    fed = 0
    while not upstream.transport.aborted and fed < 8 << 20:
        upstream.feed(piece)
        fed += len(piece)
    assert fed <= HEAD_LIMIT + len(piece)
    assert upstream.connection.failure == "answer head too large"


def test_I9_a_head_too_large_is_refused_however_it_is_cut() -> None:
    data = answer(b"X: " + b"a" * HEAD_LIMIT, b"Content-Length: 5", body=b"hello")
    for cut in (len(data), HEAD_LIMIT // 2, HEAD_LIMIT + 10):
        connection = Upstream().feed(*filter(None, (data[:cut], data[cut:])))
        assert (connection.status, connection.failure) == (0, "answer head too large")
    small = Upstream().feed(answer(b"Content-Length: 100000", body=b"b" * 100_000))
    assert (small.status, small.complete) == (200, True), "a body in the same read is no part of the head"


@pytest.mark.parametrize("before", [b"1\r\na\r\n0\r\nX: ", b"1;"])
def test_I9_endless_trailers_and_chunk_extensions_are_cut_off(before: bytes) -> None:
    upstream = Upstream()
    upstream.feed(answer(b"Transfer-Encoding: chunked", body=before))
    fed = 0
    while not upstream.transport.aborted and fed < 8 << 20:
        upstream.feed(b"a" * 1000)
        fed += 1000
    assert fed <= HEAD_LIMIT + 1000
    assert not upstream.connection.complete


# -- back-pressure


def test_I9_reading_pauses_when_nobody_takes_and_goes_on_when_somebody_does() -> None:
    upstream = Upstream()
    connection = upstream.connection
    connection.data_received(answer(b"Content-Length: 1000000", body=b"a" * 262_144))
    states = [connection.held]
    connection.data_received(b"a")
    states += [connection.held, upstream.transport.paused]
    connection.take()
    assert [*states, connection.held, upstream.transport.paused] == [False, True, True, False, False]


def test_I9_what_was_held_is_read_on_at_the_next_take_even_if_there_is_nothing_to_take() -> None:
    """Else a call whose client caught up would wait for ever, with its idle clock stopped."""
    upstream = Upstream()
    upstream.feed(answer(b"Content-Length: 10", body=b"hello"))
    upstream.connection.hold()
    assert upstream.connection.take() == []
    assert not upstream.transport.paused


def test_the_idle_clock_starts_anew_when_reading_goes_on() -> None:
    upstream = Upstream()
    upstream.connection.hold()
    upstream.owner.now += 1000
    upstream.connection.take()
    assert upstream.connection.last_byte == upstream.owner.now


def test_a_fast_upstream_leaves_the_loop_to_others() -> None:
    """One whose answer is there faster than it can be read has a share of each turn: 40 of them held the loop up."""

    async def main() -> None:
        upstream = Upstream()
        upstream.feed(answer(b"Content-Length: 99999999"))
        piece = b"x" * BULK
        for _ in range(SHARE // BULK - 1):
            assert not upstream.feed(piece).held
            assert not upstream.transport.paused
        assert not upstream.feed(piece).held, "that is the business of whoever is served"
        paused = [upstream.transport.paused]
        await asyncio.sleep(0)
        paused.append(upstream.transport.paused)
        for _ in range(SHARE // BULK + 1):
            upstream.feed(b"x" * (BULK - 1))
        paused.append(upstream.transport.paused)  # small reads say that nothing waits
        assert paused == [True, False, False]

    asyncio.run(main())


def test_a_turn_that_was_left_to_others_does_not_overrule_a_hold() -> None:
    async def main() -> None:
        upstream = Upstream()
        upstream.feed(answer(b"Content-Length: 99999999"), *[b"x" * BULK] * (SHARE // BULK))
        upstream.connection.hold()
        await asyncio.sleep(0)
        paused = [upstream.transport.paused]
        upstream.connection.take()
        assert [*paused, upstream.transport.paused] == [True, False]

    asyncio.run(main())


def test_an_upstream_that_takes_no_bytes_is_seen_and_its_return_wakes() -> None:
    upstream = Upstream(body=None)
    upstream.connection.pause_writing()
    states = [upstream.connection.paused]
    before = upstream.wakes
    upstream.connection.resume_writing()
    assert [*states, upstream.connection.paused, upstream.wakes - before] == [True, False, 1]


def test_I10_abort_ends_the_connection_at_once_and_wakes_nobody() -> None:
    upstream = Upstream()
    upstream.connection.abort()
    assert upstream.transport.aborted
    upstream.connection.connection_lost(None)
    assert upstream.wakes == 0
    upstream.connection.abort()
    upstream.connection.hold()
