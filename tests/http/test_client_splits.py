"""Any split of any answer, well-formed or not, gives the same; nothing ever escapes."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.http.test_client import CHUNKED, FIXED, MALFORMED, Upstream


class Outcome(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool
    lost: bool


def outcome(pieces: list[bytes], method: str) -> Outcome:
    upstream = Upstream(method)
    connection = upstream.feed(*pieces)
    if not connection.lost:
        upstream.end()
    return Outcome(connection.status, list(connection.headers), upstream.body, connection.complete, connection.lost)


token = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 101 S\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"Upgrade: x\r\n", b"Connection: Upgrade\r\n", b"\r\n", b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n",
        b"0\r\nT: r\r\n\r\n", b"X: y\r\n", b"\n", b"\x00",
    ]
)  # fmt: skip
answers = st.one_of(
    st.sampled_from([FIXED, CHUNKED, *MALFORMED.values()]),
    st.lists(st.one_of(token, token, st.binary(max_size=8)), max_size=12).map(b"".join),
)


@settings(max_examples=400)
@given(answers, st.lists(st.integers(0, 1000), max_size=6), st.sampled_from(["POST", "HEAD"]))
@example(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello", [3], "POST")
def test_any_split_gives_the_same_answer_and_nothing_escapes(data: bytes, places: list[int], method: str) -> None:
    if not data:
        return
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    pieces = [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    whole = outcome([data], method)
    for other in (pieces, [data[i : i + 1] for i in range(len(data))]):
        found = outcome(other, method)
        assert (found.status, found.complete) == (whole.status, whole.complete)
        if whole.status:
            assert found.headers == whole.headers
        assert found.body == whole.body
