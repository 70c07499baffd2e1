"""What a head may say: the checks llhttp leaves to us, one by one."""

from __future__ import annotations

from itertools import product

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.message import METHODS, Head, Headers, check_response, spoken

HOST = (b"Host", b"gw.example:8080")


def head(
    *headers: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/v1/x", version: str = "1.1"
) -> Head:
    return Head(method, target, version, [HOST, *headers])


def refused(*headers: tuple[bytes, bytes], **kw: str | bytes) -> str:
    with pytest.raises(GatehouseError) as raised:
        head(*headers, **kw)  # type: ignore[arg-type]
    assert raised.value.kind is errors.BAD_REQUEST
    return raised.value.detail


def test_an_ordinary_head() -> None:
    found = head((b"Content-Length", b"12"), (b"X-A", b"1"), (b"x-a", b"2"), target=b"/v1/x?a=b?c")
    assert (found.method, found.path, found.query, found.minor) == (b"POST", "/v1/x", "a=b?c", 1)
    assert (found.length, found.chunked, found.expects_continue, found.upgrade) == (12, False, False, None)
    assert found.host == b"gw.example:8080"
    assert found.fields[b"x-a"] == b"2"
    assert found.headers[0] == HOST


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0", "1.10"])
def test_only_http_1(version: str) -> None:
    assert "HTTP/1.1" in refused(version=version)


@pytest.mark.parametrize(
    "method", [b"CONNECT", b"TRACE", b"PRI", b"M-SEARCH", b"get", b"QUERY", b"SOURCE", b"PROPFIND"]
)
def test_odd_methods(method: bytes) -> None:
    assert "method" in refused(method=method)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_ordinary_methods(method: bytes) -> None:
    assert head(method=method).method == method


def test_host_exactly_once_and_not_empty() -> None:
    for headers in ([], [(b"host", b"")], [(b"host", b" \t")]):
        with pytest.raises(GatehouseError, match="no Host"):
            Head(b"GET", b"/", "1.1", headers)
    assert "more than one Host" in refused(HOST)
    assert "more than one Host" in refused((b"HOST", b"other"))
    with pytest.raises(GatehouseError, match="more than one Host"):
        Head(b"GET", b"/", "1.1", [(b"Host", b""), (b"Host", b"evil")])


@pytest.mark.parametrize(
    "value",
    [b"", b"+5", b"-1", b"5,5", b"0x10", b"1e3", b"5 5", b"\xb2", b"18446744073709551615", b"18446744073709551616"],
)
def test_content_length_is_a_plain_number(value: bytes) -> None:
    assert "Content-Length" in refused((b"Content-Length", value))


def test_content_length_once() -> None:
    assert "more than one Content-Length" in refused((b"content-length", b"5"), (b"Content-Length", b"5"))


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Encoding"])
def test_what_a_body_is_read_by_once(name: bytes) -> None:
    """Of two boundaries we would take one, and a provider the other."""
    assert f"more than one {name.decode()}" in refused((name, b"a"), (name.lower(), b"b"))


def test_blanks_behind_a_value_are_no_part_of_it() -> None:
    found = Head(b"POST", b"/", "1.1", [(b"Host", b"gw \t"), (b"Content-Length", b"5 ")])
    assert (found.host, found.length) == (b"gw", 5)


@pytest.mark.parametrize(
    "value",
    [b"gzip, chunked", b"identity", b"identity, chunked", b",chunked", b"chunked,", b"chunked, chunked", b"gzip", b""],
)
def test_transfer_encoding_is_exactly_chunked(value: bytes) -> None:
    assert "Transfer-Encoding" in refused((b"Transfer-Encoding", value))


def test_transfer_encoding_once_and_not_in_http_1_0() -> None:
    assert head((b"Transfer-Encoding", b"Chunked")).chunked
    assert "more than one" in refused((b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"chunked"))
    assert "HTTP/1.0" in refused((b"Transfer-Encoding", b"chunked"), version="1.0")
    assert "ambiguous" in refused((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5"))
    assert "ambiguous" in refused((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"))


def test_expect() -> None:
    assert head((b"Expect", b"100-Continue")).expects_continue
    assert not head((b"Expect", b"100-continue"), version="1.0").expects_continue, "RFC 9110, 10.1.1: ignored there"
    assert "Expect" in refused((b"Expect", b"200-ok"))
    assert "more than one" in refused((b"Expect", b"100-continue"), (b"Expect", b"100-continue"))


def test_absolute_form_only_with_our_own_host() -> None:
    assert head(target=b"http://gw.example:8080/v1/x?q").path == "/v1/x"
    assert head(target=b"HTTPS://GW.Example:8080").path == "/"
    for target in (
        b"http://other/v1",
        b"http://gw.example/v1",
        b"http://gw.example:8080@evil/",
        b"ftp://gw.example:8080/",
    ):
        assert "target" in refused(target=target)


@pytest.mark.parametrize(
    "target",
    [
        b"*",
        b"",
        b"v1/x",
        b"gw.example:443",
        b"/a#b",
        b"/a\\b",
        b"\\",
        b"/a b",
        b"/\x7f",
        b"/\xc3\xa4",
        b"/a\x00",
        b"?q",
    ],
)
def test_other_targets(target: bytes) -> None:
    assert "target" in refused(target=target)


@given(st.binary(max_size=40))
def test_no_target_but_printable_ascii_without_fragment_and_backslash_passes(target: bytes) -> None:
    try:
        found = head(target=b"/" + target)
    except GatehouseError:
        assert any(byte <= 0x20 or byte >= 0x7F or byte in b"#\\" for byte in target)
    else:
        assert f"{found.path}?{found.query}".rstrip("?") == "/" + target.decode("ascii").rstrip("?")


# -- heads that repeat the one before on their connection

AGAIN = [HOST, (b"Authorization", b"Bearer a"), (b"Content-Length", b"5"), (b"X", b"y")]


def test_a_repeated_head_is_the_same_and_only_its_length_may_differ() -> None:
    first = Head(b"POST", b"/v1/x?q", "1.1", list(AGAIN))
    assert first.repeated(b"POST", b"/v1/x?q", "1.1", list(AGAIN)) is first
    longer = [*AGAIN[:2], (b"Content-Length", b"12345 "), AGAIN[3]]
    other = first.repeated(b"POST", b"/v1/x?q", "1.1", list(longer))
    assert other is not None
    assert (other.length, other.headers, other.fields, other.path) == (12345, longer, first.fields, "/v1/x")
    assert other.kin is first.kin
    assert first.length == 5
    assert other.repeated(b"POST", b"/v1/x?q", "1.1", list(AGAIN)) is not None


@pytest.mark.parametrize(
    ("method", "target", "version", "headers"),
    [
        (b"PUT", b"/v1/x?q", "1.1", AGAIN),
        (b"POST", b"/v1/x?r", "1.1", AGAIN),
        (b"POST", b"/v1/x?q", "1.0", AGAIN),
        (b"POST", b"/v1/x?q", "1.1", [*AGAIN[:3], (b"X", b"z")]),
        (b"POST", b"/v1/x?q", "1.1", [*AGAIN[:1], (b"Authorization", b"Bearer b"), *AGAIN[2:]]),
        (b"POST", b"/v1/x?q", "1.1", [(b"Host", b"evil"), *AGAIN[1:]]),
        (b"POST", b"/v1/x?q", "1.1", [*AGAIN[:2], (b"Content-Lengt", b"5"), AGAIN[3]]),
        (b"POST", b"/v1/x?q", "1.1", [*AGAIN[:2], (b"Transfer-Encoding", b"chunked"), AGAIN[3]]),
        (b"POST", b"/v1/x?q", "1.1", AGAIN[:3]),
        (b"POST", b"/v1/x?q", "1.1", [*AGAIN, HOST]),
        (b"POST", b"/v1/x?q", "1.1", [AGAIN[0], AGAIN[2], AGAIN[1], AGAIN[3]]),
        (b"POST", b"/v1/x?q", "1.1", []),
    ],
)
def test_any_other_difference_is_a_head_of_its_own(
    method: bytes, target: bytes, version: str, headers: Headers
) -> None:
    first = Head(b"POST", b"/v1/x?q", "1.1", list(AGAIN))
    before = list(headers)
    assert first.repeated(method, target, version, headers) is None
    assert headers == before, "left as it was"


@pytest.mark.parametrize("value", [b"+5", b"", b"99999999999999999999", b"5,5"])
def test_a_repeated_head_does_not_smuggle_a_length(value: bytes) -> None:
    first = Head(b"POST", b"/v1/x?q", "1.1", list(AGAIN))
    with pytest.raises(GatehouseError, match="Content-Length"):
        first.repeated(b"POST", b"/v1/x?q", "1.1", [*AGAIN[:2], (b"Content-Length", value), AGAIN[3]])


header_lists = st.lists(
    st.tuples(
        st.sampled_from([b"A", b"a", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Host", b"Expect"]),
        st.sampled_from([b"1", b"22", b"chunked", b"x", b"100-continue", b""]),
    ),
    max_size=4,
)


@settings(max_examples=400)
@given(header_lists, header_lists)
def test_a_repeated_head_says_what_a_fresh_one_would(first: Headers, second: Headers) -> None:
    def made(headers: Headers) -> Head | str:
        try:
            return Head(b"POST", b"/", "1.1", [HOST, *headers])
        except GatehouseError as error:
            return error.detail

    last = made(first)
    if isinstance(last, str):
        return
    fresh = made(second)
    try:
        found = last.repeated(b"POST", b"/", "1.1", [HOST, *second])
    except GatehouseError as error:
        assert fresh == error.detail
        return
    if found is not None:
        assert isinstance(fresh, Head)
        for name in (
            "method",
            "minor",
            "headers",
            "fields",
            "host",
            "length",
            "chunked",
            "expects_continue",
            "upgrade",
        ):
            assert getattr(found, name) == getattr(fresh, name), name


# -- answers


def check(*headers: tuple[bytes, bytes], version: str = "1.1") -> tuple[int | None, bool]:
    given_headers: Headers = list(headers)
    _, length, chunked = check_response(version, given_headers)
    return length, chunked


def test_framing_of_answers() -> None:
    assert check((b"Content-Length", b"7 ")) == (7, False)
    assert check((b"Transfer-Encoding", b"CHUNKED")) == (None, True)
    assert check() == (None, False)
    fields, _, _ = check_response("1.1", [(b"Content-Type", b"a"), (b"content-type", b"b")])
    assert fields == {b"content-type": b"b"}


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Length", b"7"), (b"content-length", b"7")],
        [(b"Content-Length", b"7"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"+7")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"9999999999999999")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"identity")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
    ],
)
def test_odd_framing_of_answers(headers: Headers) -> None:
    with pytest.raises(ValueError, match=r"Content-Length|Transfer-Encoding|framing"):
        check_response("1.1", headers)


def test_odd_versions_of_answers() -> None:
    for version in ("0.9", "2.0"):
        with pytest.raises(ValueError, match="version"):
            check_response(version, [])
    with pytest.raises(ValueError, match="Transfer-Encoding"):
        check_response("1.0", [(b"Transfer-Encoding", b"chunked")])


REPEATABLE = [
    HOST,
    (b"Content-Length", b"7"),
    (b"content-length", b"7"),
    (b"Content-Length", b"12"),
    (b"Content-Length", b"x"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Authorization", b"Bearer a"),
    (b"Authorization", b"Bearer b"),
    (b"Expect", b"100-continue"),
    (b"X-A", b"1"),
]
PUBLIC = (
    *("chunked", "expects_continue", "fields", "headers", "host", "length", "method", "minor", "path", "query"),
    "upgrade",
)


@given(
    st.lists(st.sampled_from(REPEATABLE), max_size=5),
    st.lists(st.sampled_from(REPEATABLE), max_size=5),
    st.sampled_from([b"/v1/x", b"/v1/y"]),
)
def test_a_repeated_head_is_what_reading_it_anew_gives(first: Headers, second: Headers, target: bytes) -> None:
    def read(headers: Headers, target: bytes = b"/v1/x") -> Head | str:
        try:
            return Head(b"POST", target, "1.1", list(headers))
        except GatehouseError as error:
            return error.detail

    last = read([HOST, *first])
    if isinstance(last, str):
        return
    sent = [HOST, *second]
    anew = read(sent, target)
    try:
        repeated = last.repeated(b"POST", target, "1.1", sent)
    except GatehouseError as error:
        assert error.detail == anew, "a length that is none is refused alike"
        return
    assert sent == [HOST, *second], "what was received is left as it was"
    if repeated is not None:
        assert isinstance(anew, Head)
        assert [getattr(repeated, name) for name in PUBLIC] == [getattr(anew, name) for name in PUBLIC]
        assert repeated.kin is last.kin


def test_only_the_length_may_differ_in_a_repeated_head() -> None:
    last = head((b"Content-Length", b"7"), (b"X-A", b"1"))
    again = last.repeated(b"POST", b"/v1/x", "1.1", [HOST, (b"Content-Length", b"8"), (b"X-A", b"1")])
    assert again is not None and (again.length, last.length) == (8, 7) and again.kin is last.kin
    assert last.repeated(b"PUT", b"/v1/x", "1.1", list(last.headers)) is None
    assert last.repeated(b"POST", b"/v1/x", "1.0", list(last.headers)) is None
    assert last.repeated(b"POST", b"/v1/x", "1.1", [HOST, (b"Content-Length", b"8"), (b"X-A", b"2")]) is None


class Versions:
    """The version of each head that a parser accepts: as `spoken`, and as the parser says."""

    def __init__(self, kind: type[httptools.HttpRequestParser] | type[httptools.HttpResponseParser]) -> None:
        self.found: list[tuple[str, str]] = []
        self.headers: Headers = []
        self.parser = kind(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.found.append((spoken(self.parser, self.headers), self.parser.get_http_version()))


@pytest.mark.parametrize("kind", [httptools.HttpRequestParser, httptools.HttpResponseParser])
def test_the_version_is_known_without_asking_only_where_it_is_1_1(
    kind: type[httptools.HttpRequestParser] | type[httptools.HttpResponseParser],
) -> None:
    accepted = set()
    names = (b"Connection", b"connection", b"Proxy-Connection", b"Keep-Alive", b"Proxy-ConnectioX", b"Content-Type")
    values = (b"keep-alive", b"close", b"keep-alive, close", b"upgrade", b"")
    for major, minor, name, value in product(range(10), range(10), names, values):
        versions = Versions(kind)
        first = b"GET / HTTP/%d.%d" if kind is httptools.HttpRequestParser else b"HTTP/%d.%d 200 OK"
        head = b"%b\r\n%b: %b\r\nContent-Length: 0\r\n\r\n" % (first % (major, minor), name, value)
        try:
            versions.parser.feed_data(head)
        except httptools.HttpParserError:
            pass
        for known, said in versions.found:
            assert known == said, head
            accepted.add(said)
    assert {"1.0", "1.1"} <= accepted
