"""Who a request comes from: the socket's address or the right-most hop that is no proxy of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.gateway.proxies import UNKNOWN, Proxies
from gatehouse.http.message import Head

OURS = Proxies(("127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"))
XFF, FORWARDED = "X-Forwarded-For", "Forwarded"
LINES = st.lists(
    st.tuples(st.sampled_from([XFF, FORWARDED]), st.text('0123456789abcdef.:,;[]" for=', max_size=40)), max_size=4
)


def client(*lines: tuple[str, str], peer: str = "127.0.0.1", proxies: Proxies = OURS) -> str:
    headers = [(name.encode(), value.encode()) for name, value in lines]
    head = Head(b"GET", b"/api/v1/traces", "1.1", [(b"Host", b"127.0.0.1"), *headers])
    return proxies.client(head.headers, head.fields, peer)


def test_who_came_directly_is_who_connected() -> None:
    for peer in ("127.0.0.1", "203.0.113.7", "::1", ""):
        assert client(peer=peer) == client(("X-Request-Id", "1"), peer=peer) == peer


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(XFF, "203.0.113.7")], "203.0.113.7"),
        ([(XFF, "203.0.113.7:4711")], "203.0.113.7"),
        ([(XFF, "[2001:db9::7]:4711")], "2001:db9::7"),
        ([(XFF, "2001:db9::7")], "2001:db9::7"),
        ([(XFF, "::ffff:203.0.113.7")], "203.0.113.7"),
        ([(XFF, "198.51.100.1, 203.0.113.7")], "203.0.113.7"),
        ([(XFF, "198.51.100.1"), (XFF, "203.0.113.7")], "203.0.113.7"),
        ([(XFF, "203.0.113.7"), (XFF, "10.0.0.9")], "203.0.113.7"),
        ([(XFF, "127.0.0.1, 203.0.113.7, 10.0.0.9")], "203.0.113.7"),
        ([(XFF, "10.1.2.3, 10.0.0.9")], "10.1.2.3"),
        ([(FORWARDED, "for=203.0.113.7;proto=https;by=10.0.0.9")], "203.0.113.7"),
        ([(FORWARDED, 'proto=https; For="[2001:db9::7]:4711"')], "2001:db9::7"),
        ([(FORWARDED, "for=198.51.100.1, for=203.0.113.7, for=10.0.0.9")], "203.0.113.7"),
        ([(FORWARDED, "for=203.0.113.7"), (XFF, "203.0.113.7")], "203.0.113.7"),
    ],
)
def test_5_2_the_right_most_hop_that_is_no_proxy_of_ours(lines: list[tuple[str, str]], expected: str) -> None:
    assert client(*lines) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [(XFF, "127.0.0.1")],
        [(XFF, "::1")],
        [(XFF, "127.0.0.1, 10.0.0.9")],
        [(XFF, "")],
        [(XFF, "unknown")],
        [(XFF, "203.0.113.7, unknown")],
        [(XFF, "203.0.113.7,")],
        [(FORWARDED, "for=127.0.0.1")],
        [(FORWARDED, "for=_hidden")],
        [(FORWARDED, "for=unknown")],
        [(FORWARDED, "proto=https")],
        [(FORWARDED, "for=203.0.113.7, proto=https")],
        [(FORWARDED, "for=127.0.0.1"), (XFF, "203.0.113.7")],
        [("X-Real-IP", "127.0.0.1")],
        [("Via", "1.1 nginx")],
        [("X-Forwarded-Host", "gateway.example")],
    ],
)
def test_5_2_what_a_proxy_does_not_tell_is_unknown_and_nobody_behind_it_is_local(lines: list[tuple[str, str]]) -> None:
    assert client(*lines) == UNKNOWN


def test_5_2_a_peer_that_is_no_proxy_of_ours_tells_nothing() -> None:
    assert client((XFF, "198.51.100.1"), peer="203.0.113.7") == UNKNOWN
    assert client((XFF, "198.51.100.1"), proxies=Proxies(())) == UNKNOWN


@given(LINES)
def test_5_2_no_header_makes_anybody_local(lines: list[tuple[str, str]]) -> None:
    found = client(*lines)
    assert not lines or not (found.startswith("127.") or found == "::1")
