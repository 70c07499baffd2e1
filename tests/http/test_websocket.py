"""Watching WebSocket frames go by: the same at every split, bounded (I9), never raising; checked with `websockets`."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gatehouse.errors import GatehouseError
from gatehouse.http.message import Head
from gatehouse.http.websocket import (
    FRAMES_AT_ONCE,
    FrameReader,
    accept_lines,
    check_handshake,
    close_frame,
    handshake_lines,
    unmask,
)
from tests.fakes.sockets import KEY, close, frame


def read(reader: FrameReader, data: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(data):
        before = at
        at = reader.read(data, at, found)
        assert at > before
    return found


def theirs(opcode: int, payload: bytes, *, last: bool, masked: bool) -> bytes:
    """A frame as the `websockets` library writes it."""
    return Frame(Opcode(opcode), payload, last).serialize(mask=masked)


messages = st.lists(
    st.tuples(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.sampled_from([1, 2])), max_size=8
)
controls = st.lists(st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125)), max_size=4)


@given(messages, controls, st.booleans(), st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_gives_the_same_messages(
    sent: list[tuple[list[bytes], int]], between: list[tuple[int, bytes]], masked: bool, places: list[int]
) -> None:
    data = b""
    ends = [0]
    waiting = list(between)
    for fragments, opcode in sent:
        for number, fragment in enumerate(fragments):
            last = number == len(fragments) - 1
            data += theirs(opcode if number == 0 else 0, fragment, last=last, masked=masked)
            ends.append(len(data))
            if waiting:  # control frames may stand between fragments
                kind, payload = waiting.pop()
                data += theirs(kind, payload, last=True, masked=masked)
                ends.append(len(data))
    expected = [b"".join(fragments) for fragments, _ in sent]
    whole = FrameReader(10_000, masked=masked)
    assert read(whole, data) == expected
    assert (whole.fault, whole.whole, whole.closed) == (None, True, False)
    cuts = sorted({0, len(data), *[place for place in places if place < len(data)]})
    split = FrameReader(10_000, masked=masked)
    found: list[bytes] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        found += read(split, data[start:end])
        assert split.whole is (end in ends)
    assert found == expected
    one = FrameReader(10_000, masked=masked)
    assert [message for i in range(len(data)) for message in read(one, data[i : i + 1])] == expected


@given(st.lists(st.binary(max_size=50), max_size=10), st.booleans(), st.integers(0, 100))
def test_nothing_escapes(pieces: list[bytes], masked: bool, limit: int) -> None:
    reader = FrameReader(limit, masked=masked)
    for piece in pieces:
        assert all(len(message) <= limit for message in read(reader, piece))
    assert reader.fault is None or not reader.whole


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_every_form_of_length(size: int) -> None:
    for masked in (False, True):
        reader = FrameReader(100_000, masked=masked)
        assert read(reader, theirs(2, b"x" * size, last=True, masked=masked)) == [b"x" * size]


def test_I9_a_message_beyond_the_limit_is_not_kept() -> None:
    """In one frame, or in as many as there are bytes; and what follows is read again."""
    many = frame(b"a", last=False) + frame(b"b", 0, last=False) * 2000 + frame(b"", 0)
    for data in (frame(b"y" * 2001), many):
        reader = FrameReader(2000, masked=False)
        assert read(reader, data + frame(b"next")) == [b"next"]
        assert (reader.skipped, reader.whole) == (1, True)


def test_I9_a_huge_frame_takes_no_memory() -> None:
    reader = FrameReader(1 << 20, masked=False)
    piece = b"z" * 65_536
    read(reader, b"\x82\x7f" + (1 << 30).to_bytes(8, "big"))
    tracemalloc.start()
    for _ in range(200):
        read(reader, piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000


def test_nothing_is_put_together_without_a_limit() -> None:
    reader = FrameReader(0, masked=False)
    assert read(reader, frame(b"hello") + close(1000)) == []
    assert (reader.skipped, reader.closed, reader.close_code) == (0, True, 1000)


def test_the_limit_may_be_lowered_at_any_time() -> None:
    reader = FrameReader(100, masked=True)
    data = frame(b"one", masked=True) + frame(b"two", masked=True)
    assert read(reader, data[:12]) == [b"one"]
    reader.limit = 0
    assert read(reader, data[12:]) == []
    assert reader.whole


def test_it_stops_after_so_many_frames() -> None:
    reader = FrameReader(10, masked=False)
    found: list[bytes] = []
    data = frame(b"") * (FRAMES_AT_ONCE + 5)
    at = reader.read(data, 0, found)
    assert (at, len(found)) == (FRAMES_AT_ONCE * 2, FRAMES_AT_ONCE)
    assert reader.read(data, at, found) == len(data)


@pytest.mark.parametrize(("payload", "code"), [(b"", None), (b"\x03", None), (b"\x03\xe8bye", 1000)])
def test_what_a_close_frame_says(payload: bytes, code: int | None) -> None:
    reader = FrameReader(10, masked=True)
    read(reader, frame(payload, 8, masked=True))
    assert (reader.closed, reader.close_code) == (True, code)


def test_the_rest_of_a_frame() -> None:
    """Where a stream can be ended: behind the frame that has begun, and nowhere else."""
    reader = FrameReader(10, masked=False)
    found: list[bytes] = []
    assert reader.finish_frame(frame(b"new"), found) == 0
    read(reader, frame(b"hello")[:1])
    assert not reader.whole
    assert reader.finish_frame(frame(b"hello")[1:] + frame(b"next"), found) == 6
    assert found == [b"hello"]
    assert reader.whole


@pytest.mark.parametrize("code", [1000, 1001, 4999])
def test_our_close_frames_are_what_others_read(code: int) -> None:
    assert close_frame(code, masked=False) == close(code)
    made = close_frame(code, masked=True)
    assert (made[:2], unmask(made[6:], made[2:6])) == (b"\x88\x82", code.to_bytes(2, "big"))
    assert made != close_frame(code, masked=True), "the mask cannot be foreseen"


# -- handshakes


def head(*lines: tuple[bytes, bytes], method: bytes = b"GET", version: str = "1.1") -> Head:
    fields = [(b"Host", b"gw"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    return Head(method, b"/x", version, [*fields, *lines])


GOOD = ((b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", KEY))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (head(*GOOD, method=b"POST"), "GET"),
        (head(*GOOD, version="1.0"), "HTTP/1.1"),
        (head(GOOD[1]), "Version: 13"),
        (head((b"Sec-WebSocket-Version", b"14"), GOOD[1]), "Version: 13"),
        (head(GOOD[0]), "Sec-WebSocket-Key"),
        (head(GOOD[0], (b"Sec-WebSocket-Key", b"AAAA")), "Sec-WebSocket-Key"),
        (head((b"sec-websocket-key", b"AAAA"), *GOOD), "one Sec-WebSocket-Key"),
        (head((b"Sec-WebSocket-Version", b"8"), *GOOD), "one Sec-WebSocket-Version"),
    ],
)
def test_what_is_no_handshake(request_: Head, says: str) -> None:
    with pytest.raises(GatehouseError, match=re.escape(says)) as caught:
        check_handshake(request_)
    assert caught.value.kind.status == 400


def test_what_goes_up_and_what_comes_down() -> None:
    """The key and its answer are those of RFC 6455, 1.3."""
    asked = head(*GOOD, (b"Sec-WebSocket-Protocol", b"a, b"), (b"Sec-WebSocket-Extensions", b"permessage-deflate"))
    check_handshake(asked)
    assert handshake_lines(asked.headers) == (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\n"
    )
    fields = {b"upgrade": b"websocket", b"sec-websocket-accept": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}
    accepted = b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    assert accept_lines(asked, fields) == accepted
    assert accept_lines(asked, {**fields, b"sec-websocket-protocol": b"b"}) == (
        accepted + b"sec-websocket-protocol: b\r\n"
    )
