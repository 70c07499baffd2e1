"""Which headers cross the gateway (F12): nothing private goes up, nothing unlisted comes down."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.headers import ALWAYS, AnswerHeaders, RequestHeaders, lines
from gatehouse.http.message import Headers

PRIVATE = [
    # hop by hop and framing
    "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings",
    "Content-Length", "Host", "Expect", "Via", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Anything",
    # the browser's
    "Cookie", "Cookie2", "Origin", "Referer", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-CH-UA", "Sec-WebSocket-Key",
    # the client's address
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Anything", "X-Real-IP", "X-Client-IP",
    "CF-Connecting-IP", "True-Client-IP", "Fastly-Client-IP", "X-Azure-ClientIP", "X-Envoy-External-Address",
    # ours
    "X-Gatehouse-Key", "X-Gatehouse-Identity", "X-Gatehouse-Anything", "X-OngoingAI-Gateway-Key", "X-OngoingAI-Trace",
]  # fmt: skip

SENT = [
    # what openai-py, anthropic-py and google-genai-py send (3.52, 2.11, 3.4)
    "Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Content-Type", "Content-Encoding", "Authorization",
    "x-api-key", "api-key", "x-goog-api-key", "x-goog-api-client", "x-goog-user-project", "X-Goog-Upload-Protocol",
    "X-Goog-Upload-Command", "X-Goog-Upload-Offset", "X-Goog-Upload-Header-Content-Length", "x-server-timeout",
    "X-Stainless-Lang", "x-stainless-retry-count", "X-Stainless-Read-Timeout", "OpenAI-Organization", "OpenAI-Project",
    "OpenAI-Beta", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access", "x-app",
    "Idempotency-Key", "x-ms-useragent", "HTTP-Referer", "X-Title", "traceparent", "tracestate", "X-Request-Id",
    "cf-aig-authorization", "Range", "If-None-Match", "X-Vendor-New",
]  # fmt: skip


def request(*names: str) -> Headers:
    return [(name.encode(), b"v") for name in names]


@pytest.mark.parametrize("name", PRIVATE)
def test_private_headers_never_go_upstream(name: str) -> None:
    """F12, I3: in any spelling, first seen or remembered."""
    filter_ = RequestHeaders()
    variable = name.replace("-", "_")  # what CGI makes of it
    for spelling in (name, name.lower(), name.upper(), name.swapcase(), name, variable, f"{variable}~"):
        assert filter_.upstream([(spelling.encode(), b"v"), (b"Accept", b"*/*")]) == [(b"Accept", b"*/*")]


def test_the_rest_goes_as_it_came() -> None:
    """I1: order, spelling, repetition and values are the caller's."""
    headers = request(*SENT, *(name.upper() for name in SENT), "Accept", "accept")
    assert RequestHeaders().upstream(headers) == headers


@pytest.mark.parametrize("name", [b"Content-Type", b"content-encoding"])
def test_what_a_body_is_read_by_goes_under_its_own_name_alone(name: bytes) -> None:
    """What we did not read it by, nobody upstream shall, nor without what we did."""
    sent: Headers = [(name, b"v"), (b"Connection", name)]
    others = [name.replace(b"-", b"_"), name.replace(b"-", b"_").upper(), name + b"_", b"_" + name]
    assert RequestHeaders().upstream([*sent, *((other, b"w") for other in others)]) == [(name, b"v")]


@pytest.mark.parametrize(
    ("value", "gone"),
    [
        (b"keep-alive", set()),
        (b"close", set()),
        (b"Keep-Alive", set()),
        (b"keep-alive, X-Hop", {b"x-hop"}),
        (b" x-hop ,X-OTHER", {b"x-hop", b"x-other"}),
    ],
)
def test_connection_names_further_headers(value: bytes, gone: set[bytes]) -> None:
    headers: Headers = [(b"X-Hop", b"1"), (b"connection", value), (b"x-other", b"2"), (b"Accept", b"*/*")]
    kept = RequestHeaders().upstream(headers)
    assert [name.lower() for name, _ in kept] == [
        name for name in (b"x-hop", b"x-other", b"accept") if name not in gone
    ]
    answer = AnswerHeaders(prefixes=(b"x-",)).downstream(headers, lambda address: address)
    assert {b"x-hop", b"x-other"} - {name.lower() for name, _ in answer} == gone


NEVER = [
    "Set-Cookie", "Set-Cookie2", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Alt-Svc", "Link",
    "Clear-Site-Data", "Service-Worker-Allowed", "Refresh", "X-Accel-Redirect", "X-Accel-Buffering", "X-Sendfile",
    "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Strict-Transport-Security",
    "X-Content-Type-Options", "X-Frame-Options", "WWW-Authenticate", "Proxy-Authenticate", "Report-To", "NEL",
    "SourceMap", "Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Trailer", "Upgrade", "TE",
    "X-Gatehouse-Id", "X-Gatehouse-Request-Id",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_never_comes_down(name: str) -> None:
    """Whatever the lists of an upstream say."""
    lower = name.lower().encode()
    greedy = AnswerHeaders(names=(lower,), prefixes=(b"x-", b""), suffixes=(b"-id",), addresses=(lower,))
    for spelling in (name, name.upper(), name.lower()):
        assert greedy.downstream([(spelling.encode(), b"v")], lambda address: address) == [*ALWAYS]


def test_answers_pass_by_list_only() -> None:
    filter_ = AnswerHeaders(names=(b"x-should-retry",), prefixes=(b"x-ratelimit-",), suffixes=(b"-request-id",))
    passing = request("Content-Type", "Content-Encoding", "Date", "ETag", "Vary", "Cache-Control", "Retry-After")
    passing += request("X-Should-Retry", "x-ratelimit-remaining-tokens", "X-Request-Id", "CONTENT-DISPOSITION")
    blocked = request("Server", "X-Powered-By", "Request-Id", "X-Unknown")
    mixed = [pair for both in zip(passing, blocked * 3, strict=False) for pair in both]
    assert filter_.downstream(mixed, lambda address: address) == [*passing, *ALWAYS]


def test_every_answer_is_sandboxed() -> None:
    assert AnswerHeaders().downstream([], lambda address: address) == [
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
    ]


def test_addresses_are_rewritten_or_left_out() -> None:
    filter_ = AnswerHeaders(addresses=(b"operation-location",))
    headers: Headers = [
        (b"Location", b"good"),
        (b"Content-Location", b"bad"),
        (b"Operation-Location", b"good"),
        (b"Content-Type", b"good"),
    ]
    assert filter_.downstream(headers, lambda address: b"ours" if address == b"good" else None) == [
        (b"Location", b"ours"),
        (b"Operation-Location", b"ours"),
        (b"Content-Type", b"good"),
        *ALWAYS,
    ]


def test_lines() -> None:
    assert lines([(b"A", b"1"), (b"b", b"")]) == b"A: 1\r\nb: \r\n"
    assert lines([]) == b""


def test_invented_names_do_not_pile_up() -> None:
    """I9."""
    filter_ = RequestHeaders()
    generator = random.Random(1)
    for _ in range(5000):
        name = f"x-{generator.getrandbits(64):x}".encode()
        assert filter_.upstream([(name, b"v")]) == [(name, b"v")]
    filter_.upstream([(b"x-" + b"y" * 5000, b"v")])
    assert len(filter_._verdicts._known) <= 1024
    assert filter_.upstream(request("Cookie", "Accept")) == request("Accept"), "a full memory judges no worse"


_NAMES = st.one_of(
    st.sampled_from(PRIVATE + SENT + NEVER), st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
)


@given(st.lists(st.tuples(_NAMES.map(str.encode), st.binary(max_size=12)), max_size=20))
def test_header_soup(headers: Headers) -> None:
    """Any headers: a subsequence goes up, no private one among them, and every answer stays in its box."""
    kept = RequestHeaders().upstream(headers)
    rest = iter(headers)
    assert all(pair in rest for pair in kept)
    private = {name.lower().encode() for name in PRIVATE}
    assert not private & {name.lower() for name, _ in kept}
    answer = AnswerHeaders(prefixes=(b"x-", b"s", b"c")).downstream(headers, lambda address: None)
    assert answer[-2:] == [*ALWAYS]
    never = {name.lower().encode() for name in NEVER}
    assert not never & {name.lower() for name, _ in answer[:-2]}
