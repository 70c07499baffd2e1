"""What a meter reads of a stream is what the caller's SDK reads of it, for any bytes and any split.

The SDKs' own decoders are asked: `SSEDecoder.iter_bytes` of `openai._streaming` and `anthropic._streaming`, and
google-genai's `HttpResponse`. Where they differ is listed in the tests at the end, each with the reason; a test per
line holds that the difference is still there. Events without data mean nothing to any of them, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from anthropic._streaming import SSEDecoder as AnthropicDecoder
from google.genai._api_client import HttpResponse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder as OpenAIDecoder

from gatehouse.http.sse import BOM, Event, Reader
from tests.http.test_sse import cut

Decode = Callable[[list[bytes]], list[Event]]


def by_us(pieces: list[bytes], *, unfinished: bool = False) -> list[Event]:
    """`unfinished`: also the event that the stream's end cuts off."""
    reader = Reader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    if unfinished:
        events += reader.finish()
    return [event for event in events if event[1]]


def by_openai(pieces: list[bytes]) -> list[Event]:
    events = OpenAIDecoder().iter_bytes(iter(pieces))
    return [((event.event or "").encode(), event.data.encode()) for event in events if event.data]


def by_anthropic(pieces: list[bytes]) -> list[Event]:
    events = AnthropicDecoder().iter_bytes(iter(pieces))
    return [((event.event or "").encode(), event.data.encode()) for event in events if event.data]


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def by_google(pieces: list[bytes]) -> list[Event]:
    response = httpx2.Response(200, stream=_Pieces(pieces))
    return [(b"", text.encode()) for text in HttpResponse({}, response)._iter_response_stream() if text]


_TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_FIELDS = st.sampled_from(
    [
        "data",
        "data:",
        "data: x",
        "data:  y",
        "event: add",
        "event:",
        "event",
        ": note",
        "id: 1",
        "retry: 9",
        "dat: z",
        "",
    ]
)
_LINES = st.one_of(_FIELDS, _FIELDS, _TEXT, _TEXT.map("data: {}".format), st.just('data: {"a": "b"}')).map(str.encode)
_ENDS = st.sampled_from([b"\n", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"\r\r", b"\n\r\n", b"\r\n\n", b"\n\r"])
_PLACES = st.lists(st.integers(0, 5000), max_size=8)


@st.composite
def streams(draw: st.DrawFn, lines: st.SearchStrategy[bytes] = _LINES) -> bytes:
    return b"".join(line + draw(_ENDS) for line in draw(st.lists(lines, max_size=12)))


@pytest.mark.parametrize("by_sdk", [by_openai, by_anthropic])
@settings(max_examples=500)
@given(streams(), _PLACES)
@example(b"event: add\r\ndata: x\r\n\r\ndata: y\r\r\ndata: z\n\n", [5, 20, 21, 23])
@example(b"data: x\r\n\r", [9, 10])
def test_openai_and_anthropic_read_the_same_events(by_sdk: Decode, data: bytes, places: list[int]) -> None:
    if not data.startswith(BOM):
        assert by_sdk(cut(data, places)) == by_us(cut(data, places))


@settings(max_examples=500)
@given(
    streams(st.one_of(_TEXT.map("data: {}".format), st.just(""), st.just('data: {"a": "b"}')).map(str.encode)), _PLACES
)
def test_google_reads_the_same_events(data: bytes, places: list[int]) -> None:
    """Of what Google sends: lines of data, all spelt `data: `. Like us, it takes an event that the end cuts off."""
    assert by_google(cut(data, places)) == by_us(cut(data, places), unfinished=True)


# -- where they differ

WELL = b"data: 1\n\n"


def test_a_byte_order_mark_costs_the_sdks_the_first_line() -> None:
    """The standard has it skipped. No provider sends one."""
    assert by_us([BOM + WELL]) == [(b"", b"1")]
    assert by_openai([BOM + WELL]) == by_anthropic([BOM + WELL]) == []


def test_bytes_that_are_no_text_stop_the_sdks_and_not_us() -> None:
    """A meter reads on: what comes behind may be the usage that is paid for."""
    assert by_us([WELL + b"data: \xff\n\n" + WELL]) == [(b"", b"1"), (b"", b"\xff"), (b"", b"1")]
    for by_sdk in (by_openai, by_anthropic):
        with pytest.raises(UnicodeDecodeError):
            by_sdk([WELL + b"data: \xff\n\n" + WELL])


def test_an_event_that_the_end_cuts_off_counts_for_us_and_google() -> None:
    """Providers forget the last blank line: what stands there whole is read, what does not cannot be (JSON)."""
    assert by_us([b"data: 1\n"], unfinished=True) == by_google([b"data: 1\n"]) == [(b"", b"1")]
    assert by_openai([b"data: 1\n"]) == by_anthropic([b"data: 1\n"]) == []


def test_google_wants_the_space_and_takes_other_lines_for_errors() -> None:
    """It reads bare JSON lines, too, which is how its API words errors in a stream; to the standard they are none."""
    assert by_us([b"data:1\n\n"]) == [(b"", b"1")]
    assert by_google([b"data:1\n\n"]) == [(b"", b"data:1")]
    assert by_google([b'{"error": 1}\n']) == [(b"", b'{"error": 1}')]
    assert by_us([b'{"error": 1}\n'], unfinished=True) == []


def test_an_event_above_the_limit_is_skipped_by_us_alone() -> None:
    """I9: it is counted instead of held (`Reader.skipped`); the bytes are passed on all the same."""
    reader = Reader(limit=10)
    assert reader.feed(b"data: " + b"x" * 20 + b"\n\n" + WELL) == [(b"", b"1")]
    assert reader.skipped == 1
