"""Reading requests: what is refused, pipelining, upgrades, bounds (I9)."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from gatehouse.http.client import BULK, SHARE
from gatehouse.http.exchange import Exchange
from tests.http.line import Line, echo, limited

GET = b"GET /v1/x HTTP/1.1\r\nHost: gw\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", first: bytes = b"POST /v1/x HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: gw", *lines]) + b"\r\n\r\n" + body


def refused(data: bytes, status: int = 400) -> str:
    """Fed whole and byte by byte: the same one answer, then our side closes, and the application saw no request."""
    told = []
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))] if len(data) < 4096 else [data]):
        line = Line().feed(*pieces)
        (answer,) = line.answers()
        assert (answer.status, answer.headers["connection"]) == (status, "close"), answer
        assert line.ended()
        assert not any(exchange.complete for exchange in line.app.served)
        told.append(answer.text)
        line.hang_up()
    assert told[0] == told[-1]
    return told[0]


# -- strictness

REFUSED: dict[str, bytes] = {
    "CL+TE": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"),
    "TE+CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\nG"),
    "CL twice, equal": post(b"Content-Length: 1", b"Content-Length: 1", body=b"a"),
    "CL twice, different": post(b"Content-Length: 1", b"content-length: 2", body=b"aa"),
    "CL list": post(b"Content-Length: 1, 1", body=b"a"),
    "CL signed": post(b"Content-Length: +1", body=b"a"),
    "CL negative": post(b"Content-Length: -1", body=b"a"),
    "CL hex": post(b"Content-Length: 0x1", body=b"a"),
    "CL empty": post(b"Content-Length:", body=b"a"),
    "CL with a space inside": post(b"Content-Length: 1 1", body=b"a"),
    "CL 2^64-1": post(b"Content-Length: 18446744073709551615", body=b"a"),
    "CL 2^64": post(b"Content-Length: 18446744073709551616", body=b"a"),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "TE identity": post(b"Transfer-Encoding: identity", body=b"a"),
    "TE identity, chunked": post(b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "TE ,chunked": post(b"Transfer-Encoding: ,chunked", body=b"0\r\n\r\n"),
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "TE twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "TE twice, gzip first": post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "TE with a control character": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "TE in HTTP/1.0": post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", first=b"POST /v1/x HTTP/1.0"),
    "bare LF": b"GET / HTTP/1.1\nHost: gw\n\n",
    "bare LF behind a header": b"GET / HTTP/1.1\r\nHost: gw\nX: y\r\n\r\n",
    "bare CR in a value": post(b"X: a\rb"),
    "obs-fold": post(b"X: a\r\n b"),
    "obs-fold with a tab": post(b"X: a\r\n\tb"),
    "space before the colon": post(b"X : a"),
    "space before the first header": b"GET / HTTP/1.1\r\n Host: gw\r\n\r\n",
    "no colon": post(b"X"),
    "empty name": post(b": a"),
    "control character in a name": post(b"X\x01: a"),
    "NUL in a value": post(b"X: a\x00b"),
    "control character in a value": post(b"X: a\x01b"),
    "DEL in a value": post(b"X: a\x7fb"),
    "NUL in the target": post(first=b"GET /\x00 HTTP/1.1"),
    "tab in the target": post(first=b"GET /\ta HTTP/1.1"),
    "space in the target": post(first=b"GET /a b HTTP/1.1"),
    "non-ASCII in the target": post(first=b"GET /\xc3\xa4 HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": post(first=b"GET / HTTP/1.2"),
    "HTTP/2.0": post(first=b"GET / HTTP/2.0"),
    "HTTP/2.0 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "no Host in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": post(b"Host: gw"),
    "empty Host, then another": b"GET / HTTP/1.1\r\nHost:\r\nHost: evil\r\n\r\n",
    "absolute-form of another host": post(first=b"GET http://evil/v1/x HTTP/1.1"),
    "absolute-form with a user": post(first=b"GET http://gw@evil/ HTTP/1.1"),
    "asterisk-form": post(first=b"OPTIONS * HTTP/1.1"),
    "fragment": post(first=b"GET /a#b HTTP/1.1"),
    "backslash": post(first=b"GET /a\\b HTTP/1.1"),
    "CONNECT": post(first=b"CONNECT gw:443 HTTP/1.1"),
    "CONNECT with an upgrade": post(b"Upgrade: h2c", b"Connection: Upgrade", first=b"CONNECT gw:443 HTTP/1.1"),
    "TRACE": post(first=b"TRACE / HTTP/1.1"),
    "PROPFIND": post(first=b"PROPFIND / HTTP/1.1"),
    "M-SEARCH": post(first=b"M-SEARCH / HTTP/1.1"),
    "lower-case method": post(first=b"get / HTTP/1.1"),
    "unknown method": post(first=b"BREW / HTTP/1.1"),
    "Expect of something else": post(b"Expect: 200-ok"),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
}


@pytest.mark.parametrize("name", REFUSED)
def test_1_2_refused_with_400_and_close(name: str) -> None:
    refused(REFUSED[name])


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"-5\r\nhello", b"0x5\r\nhello", b"5\r\nhelloX",
        b"G\r\n", b"\r\n", b"10000000000000000\r\na", b"5;a\x01\r\nhello", b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n", b"0\r\nA : b\r\n\r\n",
    ],
)  # fmt: skip
def test_1_2_bad_chunks(body: bytes) -> None:
    refused(post(b"Transfer-Encoding: chunked", body=body))


def test_1_2_absolute_form_of_our_own_host_is_served() -> None:
    line = Line().feed(post(first=b"GET http://GW/v1/y?q=1 HTTP/1.1"))
    assert line.answers()[0].text == "GET /v1/y 1.1 "
    line.hang_up()


def test_1_2_an_authorization_in_trailers_does_not_appear() -> None:
    sent = post(
        b"Transfer-Encoding: chunked", body=b"3;x=y\r\nabc\r\n0\r\nAuthorization: Bearer evil\r\nHost: evil\r\n\r\n"
    )
    for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        line = Line().feed(*pieces, GET)
        first, second = line.app.served
        assert [name for name, _ in first.head.headers] == [b"Host", b"Transfer-Encoding"]
        assert b"authorization" not in first.head.fields
        assert first.head.host == second.head.host == b"gw"
        assert [answer.text for answer in line.answers()] == ["POST /v1/x 1.1 abc", "GET /v1/x 1.1 "]
        line.hang_up()


def test_1_2_a_target_that_arrives_in_pieces_is_joined() -> None:
    line = Line().feed(b"GET /v1", b"/a%20b", b"c?x", b"=1 HT", b"TP/1.1\r\nHo", b"st: gw\r\n\r", b"\n")
    assert line.answers()[0].text == "GET /v1/a%20bc 1.1 "
    assert line.app.served[0].head.query == "x=1"
    line.hang_up()


# -- I9: bounds


def test_I9_oversized_head_431_however_it_comes() -> None:
    head = b"GET / HTTP/1.1\r\nHost: gw\r\nX: " + b"a" * 70_000
    assert "head is larger" in refused(head, 431)
    line = Line().feed(*[head[i : i + 1000] for i in range(0, len(head), 1000)])
    assert [answer.status for answer in line.answers()] == [431]
    line.hang_up()


def test_I9_a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not_also_behind_another_request() -> None:
    """The limit holds for each head by itself, whatever came in the same read."""
    limit = 8192
    for extra, status in ((0, 200), (1, 431)):
        head = b"GET / HTTP/1.1\r\nHost: gw\r\nX: %b\r\n\r\n"
        head %= b"a" * (limit + extra - len(head % b""))
        assert len(head) == limit + extra
        for before in (b"", GET, post(b"Content-Length: 3", body=b"abc")):
            for cut in (0, 1, len(before), len(before) + 10, len(before) + limit - 1):
                data = before + head
                line = Line(header_bytes=limit).feed(*filter(None, (data[:cut], data[cut:])))
                assert line.answers()[-1].status == status, (extra, before, cut)
                assert len(line.answers()) == (2 if before else 1)
                line.hang_up()


def test_I9_header_count_and_url_431() -> None:
    assert "more than 128 headers" in refused(post(*[b"X: y"] * 128, first=b"GET / HTTP/1.1"), 431)
    assert Line().feed(post(*[b"X: y"] * 127, first=b"GET / HTTP/1.1")).answers()[0].status == 200
    assert "target exceeds" in refused(post(first=b"GET /" + b"a" * 20_000 + b" HTTP/1.1"), 431)


def test_I9_an_endless_header_costs_bounded_memory_and_time() -> None:
    """One byte a read, for as long as we listen (T: gathering it costs quadratic time)."""
    line = Line()
    line.feed(b"GET / HTTP/1.1\r\nHost: gw\r\nX: ")
    tracemalloc.start()
    began = time.process_time()
    fed = 0
    while not line.ended():
        line.feed(b"a" * 16)
        fed += 16
    spent = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line.answers()[0].status == 431
    assert fed <= 65_536
    assert peak < 1_000_000
    assert spent < 5
    line.hang_up()


def test_I9_endless_blank_lines_are_a_head_that_never_comes() -> None:
    line = Line()
    for _ in range(100):
        line.feed(b"\r\n" * 1000)
    assert [answer.status for answer in line.answers()] == [431]
    line.hang_up()


@pytest.mark.parametrize("size", [100, 65_536, 262_144])
def test_I9_endless_chunk_extensions_8_MB_are_refused(size: int) -> None:
    line = Line().feed(post(b"Transfer-Encoding: chunked", body=b"1;"))
    fed = 0
    while not line.ended() and fed < 8 << 20:
        line.feed(b"a" * size)
        fed += size
    assert [answer.status for answer in line.answers()] == [413]
    assert fed <= 65_536 + 2 * size
    line.hang_up()


@pytest.mark.parametrize("trailer", [b"X: " + b"a" * 256, b"X: a\r\n" * 50])
def test_I9_endless_trailers_are_refused_quickly(trailer: bytes) -> None:
    """T: httptools gathers one endless trailer in quadratic time."""
    line = Line().feed(post(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nY: "))
    fed = 0
    while not line.ended() and fed < 8 << 20:
        line.feed(trailer)
        fed += len(trailer)
    assert line.answers()[0].status in (400, 413)
    assert fed < 70_000
    line.hang_up()


def test_I9_much_transfer_encoding_around_little_body_is_refused_beyond_twice_the_limit() -> None:
    line = Line(limited(100_000)).feed(post(b"Transfer-Encoding: chunked"))
    chunk = b"1;" + b"x" * 10_000 + b"\r\na\r\n"
    count = 0
    while not line.ended() and count < 1000:
        line.feed(chunk)
        count += 1
    assert line.answers()[0].status == 413
    assert 2 * 100_000 <= count * len(chunk) <= 2 * 100_000 + 65_536 + 2 * len(chunk)
    line.hang_up()


def test_I9_one_byte_chunks_of_a_whole_body_pass() -> None:
    body = b"abcdefgh" * 2000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    line = Line(limited(len(body))).feed(post(b"Transfer-Encoding: chunked", body=chunks))
    assert line.answers()[0].body.endswith(body)
    line.hang_up()


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_413_announced_and_unannounced(pieces: int) -> None:
    announced = post(b"Content-Length: 5000", body=b"a" * 5000)
    chunked = post(b"Transfer-Encoding: chunked", body=b"1388\r\n" + b"a" * 5000 + b"\r\n0\r\n\r\n")
    for data in (announced, chunked):
        step = -(-len(data) // pieces)
        line = Line(limited(4999)).feed(*[data[i : i + step] for i in range(0, len(data), step)])
        (answer,) = line.answers()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "larger than 4999" in answer.text
        assert line.ended()
        line.hang_up()
        assert Line(limited(5000)).feed(data).answers()[0].status == 200


# -- pipelining


def numbered(count: int, version: bytes = b"1.1") -> bytes:
    return b"".join(b"GET /%d HTTP/%b\r\nHost: gw\r\n\r\n" % (i, version) for i in range(count))


def test_1_3_sixteen_wait_behind_the_running_one_and_more_are_refused_after_those() -> None:
    for count, refusals in ((17, 0), (18, 1), (40, 1)):
        line = Line().feed(numbered(count))
        answers = line.answers()
        assert [answer.text for answer in answers[:17]] == [f"GET /{i} 1.1 " for i in range(17)]
        assert [answer.status for answer in answers[17:]] == [503] * refusals
        assert line.ended() is bool(refusals)
        # Only the last answer announces the end: a client that stops reading there has missed nothing.
        assert ["connection" in answer.headers for answer in answers] == [False] * 17 + [True] * refusals
        line.hang_up()


def test_1_3_14000_requests_in_one_segment_of_256_KB() -> None:
    """T: llhttp parses all of them in one feed. Bounded time, the first ones answered, then a refusal."""
    request = b"GET / HTTP/1.1\r\nHost:x\r\n\r\n"
    segment = request * 14_000
    began = time.process_time()
    line = Line().feed(segment[:262_144])
    assert time.process_time() - began < 0.5
    assert [answer.status for answer in line.answers()] == [200] * 17 + [503]
    assert line.ended()
    line.hang_up()


def test_1_3_a_parse_error_after_good_requests_is_answered_after_them_in_order() -> None:
    data = numbered(3) + b"GARBAGE\r\n\r\n" + numbered(3)
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        line = Line().feed(*pieces)
        answers = line.answers()
        assert [answer.status for answer in answers] == [200, 200, 200, 400]
        assert [answer.headers.get("connection") for answer in answers] == [None, None, None, "close"]
        line.hang_up()


def test_1_3_a_fault_in_the_body_of_a_waiting_request_is_answered_in_its_turn() -> None:
    data = numbered(2) + post(b"Transfer-Encoding: chunked", body=b"1\r\na\r\nZ\r\n")
    line = Line().feed(data)
    assert [answer.status for answer in line.answers()] == [200, 200, 400]
    assert line.ended()
    line.hang_up()


def test_1_3_method_and_version_are_those_of_each_request() -> None:
    data = (
        b"PUT /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\nx"
        b"HEAD /b HTTP/1.1\r\nHost: gw\r\n\r\n"
        b"DELETE /c HTTP/1.0\r\nHost: gw\r\nConnection: keep-alive\r\n\r\n"
        b"GET /d HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"
    )
    line = Line().feed(data)
    assert [answer.text for answer in line.answers()] == ["PUT /a 1.1 x", "", "DELETE /c 1.0 ", "GET /d 1.1 "]
    assert [e.head.method for e in line.app.served] == [b"PUT", b"HEAD", b"DELETE", b"GET"]
    line.hang_up()


def test_nothing_is_served_behind_connection_close() -> None:
    for last in (post(b"Connection: close"), b"GET / HTTP/1.0\r\nHost: gw\r\n\r\n"):
        line = Line().feed(GET + last + GET)
        assert [answer.status for answer in line.answers()] == [200, 200]
        assert [answer.headers.get("connection") for answer in line.answers()] == [None, "close"]
        assert line.ended()
        assert len(line.app.served) == 2
        line.hang_up()


def test_I9_only_a_small_head_is_kept_while_its_connection_is_idle() -> None:
    for size, kept in ((100, True), (60_000, False)):
        line = Line()
        for _ in range(2):
            line.feed(post(b"X: " + b"a" * size, first=b"GET /v1/x HTTP/1.1"))
        assert len({exchange.head.kin for exchange in line.app.served}) == (1 if kept else 2)
        line.hang_up()


def test_heads_that_repeat_each_other_differ_in_what_differs() -> None:
    def numbered_post(number: int, key: bytes) -> bytes:
        body = b"b" * number
        return post(b"Authorization: " + key, b"Content-Length: %d" % number, body=body)

    requests = [(1, b"a"), (2, b"a"), (2, b"a"), (3, b"b"), (0, b"b"), (4, b"a")]
    line = Line().feed(b"".join(numbered_post(*each) for each in requests))
    assert [(e.head.length, e.head.fields[b"authorization"]) for e in line.app.served] == requests
    assert [answer.text.count("b") for answer in line.answers()] == [1, 2, 2, 3, 0, 4]
    line.hang_up()


# -- Upgrade

H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
UPGRADES = {
    "Content-Length": post(*H2C, b"Content-Length: 5", body=b"hello"),
    "chunked": post(*H2C, b"Transfer-Encoding: chunked", body=b"3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: r\r\n\r\n"),
    "no body": post(*H2C, first=b"GET /v1/x HTTP/1.1"),
    "empty body": post(*H2C, b"Content-Length: 0"),
}


@pytest.mark.parametrize("framing", UPGRADES)
def test_1_4_h2c_is_an_ordinary_request_at_every_split(framing: str) -> None:
    """And the next request on the connection still works."""
    request = UPGRADES[framing]
    data = request + post(b"Content-Length: 4", body=b"next") + request
    whole = Line().feed(data)
    texts = [answer.text for answer in whole.answers()]
    body = "" if "body" in framing else "hello"
    assert [text.split(" ", 3)[3] for text in texts] == [body, "next", body]
    assert {text.split(" ", 3)[1] for text in texts} == {"/v1/x"}
    assert not whole.ended()
    whole.hang_up()
    for cut in range(1, len(data)):
        line = Line().feed(data[:cut], data[cut:])
        assert [answer.text for answer in line.answers()] == texts, cut
        line.hang_up()
    line = Line().feed(*[data[i : i + 1] for i in range(len(data))])
    assert [answer.text for answer in line.answers()] == texts
    line.hang_up()


def test_1_4_h2c_behind_a_large_body_in_the_same_read() -> None:
    """The place where the upgrade begins counts from what was fed, not from what was read."""
    large = post(b"Content-Length: 90000", body=b"b" * 90_000)
    for first in (large, post(b"Transfer-Encoding: chunked", body=b"15f90\r\n" + b"b" * 90_000 + b"\r\n0\r\n\r\n")):
        line = Line().feed(first + UPGRADES["chunked"] + UPGRADES["Content-Length"] + GET)
        assert [answer.text[-5:] for answer in line.answers()] == ["bbbbb", "hello", "hello", " 1.1 "]
        line.hang_up()


def test_1_4_h2c_close_and_the_limit_on_its_body() -> None:
    close = [b"Connection: Upgrade, close", b"Upgrade: h2c", b"Content-Length: 5"]
    line = Line().feed(post(*close, body=b"hello") + GET)
    assert [answer.headers.get("connection") for answer in line.answers()] == ["close"]
    line.hang_up()
    line = Line(limited(4)).feed(UPGRADES["chunked"])
    assert [answer.status for answer in line.answers()] == [413]
    line.hang_up()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Upgrade: h2c, websocket",), 426),
        ((b"Upgrade: h2c", b"Upgrade: websocket"), 426),
        ((b"upgrade: WebSocket", b"Upgrade: h2c"), 426),
        ((b"Upgrade: websocket", b"Content-Length: 2"), 400),
    ],
)
def test_1_4_an_odd_request_for_websocket_is_refused_and_closed(lines: tuple[bytes, ...], status: int) -> None:
    data = post(b"Connection: Upgrade", *lines, first=b"GET /v1/x HTTP/1.1")
    for pieces in ([GET + data + b"\x81\x05hello"], [GET, *[data[i : i + 1] for i in range(len(data))], b"\x81\x00"]):
        line = Line().feed(*pieces)
        assert [answer.status for answer in line.answers()] == [200, status]
        assert line.app.rejected[0].kind.status == status
        assert line.ended()
        line.hang_up()


@pytest.mark.parametrize("lines", [(), (b"Content-Length: 0",)])
def test_1_11_what_follows_a_request_for_websocket_stays_with_it(lines: tuple[bytes, ...]) -> None:
    """However it is split, and whatever it looks like."""
    behind = GET + b"\x81\x05hello" + GET
    data = post(b"Connection: Upgrade", b"Upgrade: WebSocket", *lines, first=b"GET /v1/x HTTP/1.1") + behind
    for pieces in ([GET + data], [GET, *[data[i : i + 1] for i in range(len(data))]]):
        line = Line(switched).feed(*pieces)
        assert line.transport.written.endswith(b"101 Switching Protocols\r\nconnection: Upgrade\r\n"
                                               b"upgrade: websocket\r\nx: y\r\n\r\n" + behind)  # fmt: skip
        assert [exchange.upgrade for exchange in line.app.served] == [False, True]
        line.pass_time(1000)
        assert not line.ended(), "no time-out of requests holds for it"
        line.hang_up()


async def switched(exchange: Exchange) -> None:
    """Answers ordinary requests as `echo` does, and sends everything else back as it comes."""
    if not exchange.upgrade:
        await echo(exchange)
        return
    exchange.switch(b"x: y\r\n")
    while not exchange.gone:
        for piece in exchange.take():
            exchange.write(piece)
        exchange.forget()
        await exchange.fiber.sleep()
    exchange.end()


def test_1_11_a_websocket_that_is_declined_closes_the_connection() -> None:
    """What the client said early is no request."""
    data = post(b"Connection: Upgrade", b"Upgrade: websocket", first=b"GET /v1/x HTTP/1.1")
    line = Line(limited(1 << 20)).feed(data + GET, GET)
    assert [(answer.status, answer.headers["connection"]) for answer in line.answers()] == [(200, "close")]
    assert line.ended()
    line.hang_up()


def test_I9_a_client_that_speaks_early_is_paused() -> None:
    async def waits(exchange: Exchange) -> None:
        while not exchange.gone:
            await exchange.fiber.sleep()
        exchange.abort()

    data = post(b"Connection: Upgrade", b"Upgrade: websocket", first=b"GET /v1/x HTTP/1.1")
    line = Line(waits).feed(data, *[b"x" * 65_536] * 5)
    assert not line.reading()
    assert line.server.held == 5 * 65_536
    line.hang_up()


def test_1_4_upgrade_without_connection_upgrade_is_ignored() -> None:
    line = Line().feed(post(b"Upgrade: websocket", b"Content-Length: 2", body=b"ok") + GET)
    assert [answer.text[-2:] for answer in line.answers()] == ["ok", "1 "]
    line.hang_up()


def test_a_fast_client_leaves_the_loop_to_others() -> None:
    """One that sends faster than it can be read has a share of each turn of the loop, as an upstream has."""
    line = Line(limited(4 * SHARE)).feed(post(b"Content-Length: %d" % (3 * SHARE)))
    paused = []
    for _ in range(SHARE // BULK):
        paused.append(line.transport.paused)
        line.connection.data_received(b"x" * BULK)
    paused.append(line.transport.paused)
    line.turns.settle()
    assert paused == [False] * (SHARE // BULK) + [True]
    assert not line.transport.paused
    line.feed(*[b"x" * BULK] * (2 * SHARE // BULK))
    (answer,) = line.answers()
    assert (answer.status, len(answer.body)) == (200, len(b"POST /v1/x 1.1 ") + 3 * SHARE)
    line.hang_up()
