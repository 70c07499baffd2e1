"""Any split of any request stream, valid or not, gives the same answers; nothing ever escapes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.http.line import Answer, Line, limited
from tests.http.test_reader import GET, H2C, REFUSED, UPGRADES, post

BODY_LIMIT = 600


@st.composite
def chunked_body(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(st.binary(min_size=1, max_size=300), max_size=4))
    extension = draw(st.sampled_from([b"", b";a", b';a="b"', b";x=y;z"]))
    trailers = draw(st.sampled_from([b"", b"A: b\r\n", b"Authorization: x\r\nContent-Length: 5\r\n"]))
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return framed + b"0\r\n" + trailers + b"\r\n"


@st.composite
def good_request(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["get", "head", "length", "chunked", "1.0", "close", "h2c", "absolute", "blank lines"]))
    body = draw(st.binary(max_size=900))
    length = b"Content-Length: %d" % len(body)
    made = {
        "get": GET,
        "head": post(first=b"HEAD /h HTTP/1.1"),
        "length": post(b"X: " + draw(st.binary(max_size=20)).hex().encode(), length, body=body),
        "chunked": post(b"Transfer-Encoding: chunked", body=draw(chunked_body())),
        "1.0": post(b"Connection: keep-alive", length, body=body, first=b"PUT /1.0 HTTP/1.0"),
        "close": post(b"Connection: close", length, body=body),
        "h2c": post(*H2C, b"Transfer-Encoding: chunked", body=draw(chunked_body())),
        "absolute": post(first=b"GET http://gw/a HTTP/1.1"),
        "blank lines": b"\r\n\r\n" + GET,
    }
    return made[kind]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good request with a byte changed, taken out or put in."""
    data = bytearray(draw(good_request()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        byte = draw(st.sampled_from(list(b"\r\n\t :;,0aAZ/\x00\x7f\xff")))
        match draw(st.sampled_from(["change", "insert", "delete"])):
            case "change":
                data[at] = byte
            case "insert":
                data.insert(at, byte)
            case _ if len(data) > 1:
                del data[at]
    return bytes(data)


bad_request = st.one_of(st.sampled_from(sorted(REFUSED.values())), damaged(), st.binary(min_size=1, max_size=200))
streams = st.lists(st.one_of(good_request(), good_request(), bad_request), min_size=1, max_size=8).map(b"".join)


def outcome(pieces: list[bytes]) -> tuple[list[Answer], list[tuple[bytes, str]], bool]:
    """What a client sees, what the application was given whole, and whether the connection ended."""
    line = Line(limited(BODY_LIMIT), header_bytes=2000, url_bytes=500).feed(*pieces)
    answers = [answer for answer in line.answers() if answer.status != 100]
    whole = [(e.head.method, e.head.path) for e in line.app.served if e.complete and e.received <= BODY_LIMIT]
    ended = line.ended()
    line.hang_up()
    return answers, whole, ended


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@settings(max_examples=400)
@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
@example(UPGRADES["chunked"] + GET + UPGRADES["Content-Length"], [40])
@example(GET + post(b"Transfer-Encoding: chunked", body=b"1\r\na\r\nX"), [50, 120])
def test_any_split_gives_the_same_answers(data: bytes, places: list[int]) -> None:
    whole = outcome([data])
    assert outcome(cut(data, places)) == whole
    if len(data) < 1500:
        assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@settings(max_examples=400)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"GET ", b"POST ", b"/", b"*", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host: gw",
                 b"Content-Length: 3", b"Content-Length: 99999", b"Transfer-Encoding: chunked", b"Connection: close",
                 b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket", b"Expect: 100-continue", b"0\r\n\r\n",
                 b"Host:", b"3\r\nabc\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b": ", b"x", b"\x00", b"HTTP/1.1 200\r\n"]
            ),
            st.binary(max_size=30),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_header_soup_never_escapes(pieces: list[bytes]) -> None:
    """Whatever comes, in whatever pieces: well-formed answers or none, and a connection that can be hung up."""
    answers, _, ended = outcome([piece for piece in pieces if piece])
    assert all(answer.whole for answer in answers)
    if any(answer.status >= 400 for answer in answers):
        assert ended
        assert answers[-1].headers["connection"] == "close"
