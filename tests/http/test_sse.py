"""http/sse.py: any split of a stream gives the same events; memory is bounded (I9)."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.http.sse import DEFAULT_LIMIT, Event, Reader


def read(pieces: list[bytes], limit: int = DEFAULT_LIMIT) -> tuple[list[Event], int]:
    reader = Reader(limit)
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.finish()
    return events, reader.skipped


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


def by_the_standard(stream: bytes) -> list[Event]:
    """The WHATWG algorithm, line by line over the whole stream; an unfinished last event counts too."""
    events: list[Event] = []
    name, data = b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            if data:
                events.append((name, b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


LINES = st.sampled_from(
    [
        b"data: x",
        b"data:y",
        b"data",
        b"data:  z",
        b": note",
        b"event: add",
        b"event:",
        b"id: 1",
        b"retry: 9",
        b"dat",
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=14).map(lambda rows: b"".join(line + end for line, end in rows))
CUTS = st.lists(st.integers(0, 400), max_size=8)


@given(STREAMS, CUTS, st.booleans())
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [8, 9, 10, 11], False)
@example(b"data: x\r\r\ndata: y\n\r\n", [9, 10, 18], False)
def test_any_split_reads_as_the_standard_says(stream: bytes, cuts: list[int], mark: bool) -> None:
    stream = b"\xef\xbb\xbf" + stream if mark and stream[:1] not in (b"\n", b"\r") else stream
    assert read(cut(stream, cuts))[0] == by_the_standard(stream)
    assert read([stream[at : at + 1] for at in range(len(stream))])[0] == by_the_standard(stream)


@given(st.binary(max_size=200), CUTS)
def test_any_bytes_in_any_split_are_read_alike(stream: bytes, cuts: list[int]) -> None:
    assert read(cut(stream, cuts)) == read([stream])


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), CUTS, ENDS)
@example([14, 14], [23], b"\r\n")
def test_an_event_above_the_limit_is_skipped_and_counted_in_any_split_i9(
    sizes: list[int], cuts: list[int], end: bytes
) -> None:
    stream = b"".join(b"data: " + b"x" * size + end + end for size in sizes)
    events, skipped = read(cut(stream, cuts), limit=20)
    assert [len(data) for _, data in events] == [size for size in sizes if size + 6 <= 20]
    assert skipped == sum(size + 6 > 20 for size in sizes)


def test_memory_is_bounded_whatever_comes_i9() -> None:
    reader = Reader(limit=1000)
    for _ in range(3000):
        assert reader.feed(b"data: " + b"x" * 94) == []
        assert len(reader._buffer) <= 1002
    assert reader.feed(b"\n\ndata: small\n\n") == [(b"", b"small")]
    assert reader.skipped == 1


def test_an_endless_event_in_small_pieces_costs_linear_time() -> None:
    reader = Reader(limit=400_000)
    for _ in range(400_000):
        reader.feed(b"x")
    assert len(reader._buffer) == 400_000


@pytest.mark.parametrize(
    ("piece", "events"),
    [
        (b"data: {}\n\n", [(b"", b"{}")]),
        (b"data: {}\r\n\r\n", [(b"", b"{}")]),
        (b"event: add\ndata: {}\n\n", [(b"add", b"{}")]),
        (b"event: add\r\ndata: {}\r\n\r\n", [(b"add", b"{}")]),
        (b"data: 1\n\ndata: 2\n\n", [(b"", b"1"), (b"", b"2")]),
        (b"data: 1\ndata: 2\n\n", [(b"", b"1\n2")]),
        (b": keep-alive\n\n", []),
        (b"event: ping\n\n", []),
        (b"data: cut off", [(b"", b"cut off")]),
        (b"data: cut off\r\n", [(b"", b"cut off")]),
        (b"data: a\rdata: b\r\r", [(b"", b"a\nb")]),
        (b"", []),
    ],
)
def test_forms(piece: bytes, events: list[Event]) -> None:
    assert read([piece])[0] == events
