"""dialects/openai_option.py: the one exception to I1 changes its own bytes and no other, there and back."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gatehouse.dialects import openai_chat
from gatehouse.dialects.openai_filter import UsageFilter, usage_filter
from gatehouse.dialects.openai_option import ask_usage, ask_usage_slices
from tests.dialects.samples import (
    AZURE_STREAM_ASKED,
    AZURE_STREAM_PLAIN,
    CUTS,
    GROQ_STREAM,
    JSON,
    MOONSHOT_STREAM,
    OPENAI_ANSWER,
    OPENAI_STREAM_ASKED,
    OPENAI_STREAM_PLAIN,
    OPENAI_TOOL_STREAM,
    SSE,
    XAI_STREAM,
    cut,
)


def run(slices: Generator[None, None, bytes | None]) -> bytes | None:
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: bytes | None = done.value
            return result


def asked(body: bytes) -> bytes | None:
    ask = openai_chat.read(body, None)
    result = ask_usage(body, ask)
    assert run(ask_usage_slices(body, ask)) == result
    return result


# --- the request ---------------------------------------------------------------------------------------------------

MEMBERS = st.dictionaries(
    st.sampled_from(["model", "messages", "n", "user", 'x"y', "größe", "stream_option", "Stream_option"])
    | st.text(max_size=8),
    st.recursive(
        st.none()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=30)
        | st.sampled_from(['"stream_options":{}']),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["stream_options", "stream", "a"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=5,
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
OPTIONS = st.sampled_from([None, {}, {"include_obfuscation": False}, {"x": {"include_usage": False}, "y": [1, 2]}])


@given(MEMBERS, st.integers(0, 5), SEPARATORS, st.booleans(), st.booleans())
@example({"größe": 1}, 0, (",", ":"), False, False)
def test_asking_inserts_and_keeps_every_other_byte_i1(
    members: dict[str, Any], place: int, separators: tuple[str, str], ascii_only: bool, padded: bool
) -> None:
    assume(not {name.casefold() for name in members} & {"stream", "stream_options"})
    rows = list(members.items())
    rows.insert(place, ("stream", True))
    body = json.dumps(dict(rows), separators=separators, ensure_ascii=ascii_only).encode()
    body = b" \n" + body + b"\n" if padded else body
    result = asked(body)
    assert result is not None
    inserted = b'"stream_options":{"include_usage":true},'
    assert result.count(inserted) >= 1
    at = result.index(inserted)
    assert result[:at] + result[at + len(inserted) :] == body
    assert json.loads(result) == {"stream_options": {"include_usage": True}} | json.loads(body)


@given(MEMBERS, OPTIONS, st.integers(0, 5), SEPARATORS, st.booleans())
def test_options_already_there_are_added_to_i1(
    members: dict[str, Any], options: dict[str, Any] | None, place: int, separators: tuple[str, str], ascii_only: bool
) -> None:
    assume(not {name.casefold() for name in members} & {"stream", "stream_options"})
    rows = list(members.items())
    rows.insert(place, ("stream_options", options))
    rows.insert(place, ("stream", True))
    body = json.dumps(dict(rows), separators=separators, ensure_ascii=ascii_only).encode()
    result = asked(body)
    assert result is not None
    assert json.loads(result) == json.loads(body) | {"stream_options": {"include_usage": True} | (options or {})}
    # Exactly one stretch differs: `null` became an object, or an object got a member first.
    inserted = b'{"include_usage":true}' if options is None else b'"include_usage":true' + (b"," if options else b"")
    removed = b"null" if options is None else b""
    places = [
        at
        for at in range(len(result) - len(inserted) + 1)
        if result[at : at + len(inserted)] == inserted and result[:at] + removed + result[at + len(inserted) :] == body
    ]
    assert places


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":false}',
        b'{"model":"m"}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":{"include_usage":false}}',
        b'{"stream":true,"stream_options":{"include_usage":null}}',
        b'{"stream":true,"stream_options":{"Include_Usage":true}}',
        b'{"stream":true,"stream_options":"yes"}',
        b'{"stream":true,"stream_options":[1]}',
        b'{"stream":true,"stream":true}',
        b'{"stream":false,"stream":true}',
        b'{"Stream":false,"stream":true}',
        b'{"stream":true,"str\\u0065am":true}',
        b'{"stream":true,"stream_options":{},"stream_options":null}',
        b'{"stream":true,"stream_options":{},"STREAM_OPTIONS":{}}',
        '{"stream":true,"\u017ftream_options":{}}'.encode(),
        b'{"stream":true',
        b"[]",
        b"not json",
    ],
)
def test_what_must_not_be_changed_is_not(body: bytes) -> None:
    """The caller said something of usage, or nobody knows which of two names the provider reads."""
    assert asked(body) is None


def test_a_body_msgspec_refuses_is_asked_all_the_same() -> None:
    body = b'{"x":"\\ud800","stream":true,"model":"m"}'
    assert asked(body) == b'{"stream_options":{"include_usage":true},' + body[1:]


def test_a_large_body_is_asked_in_slices() -> None:
    members = {"model": "m", "messages": ["word " * 500_000], "stream": True, "stream_options": None}
    body = json.dumps(members, indent=1).encode()
    ask = openai_chat.read(body, None)
    assert ask_usage(body, ask) is None, "lines between members: it has to be searched, and that in slices"
    assert run(ask_usage_slices(body, ask)) == body.replace(b"null", b'{"include_usage":true}')


# --- the answer ----------------------------------------------------------------------------------------------------


def filtered(pieces: list[bytes], limit: int = 1024 * 1024) -> bytes:
    sieve = UsageFilter(limit)
    return b"".join(map(sieve.feed, pieces)) + sieve.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("with_option", "without"),
    [(OPENAI_STREAM_ASKED, OPENAI_STREAM_PLAIN), (AZURE_STREAM_ASKED, AZURE_STREAM_PLAIN)],
)
def test_the_providers_streams_come_back_as_without_the_option_i1(
    with_option: bytes, without: bytes, end: bytes
) -> None:
    stream, plain = with_option.replace(b"\n", end), without.replace(b"\n", end)
    assert b'"usage"' in stream and b'"usage"' not in plain
    assert filtered([stream]) == plain
    assert filtered([stream[at : at + 1] for at in range(len(stream))]) == plain
    for at in range(len(stream)):
        assert filtered([stream[:at], stream[at:]]) == plain


@pytest.mark.parametrize("stream", [OPENAI_STREAM_PLAIN, OPENAI_TOOL_STREAM, GROQ_STREAM, MOONSHOT_STREAM, XAI_STREAM])
def test_streams_that_were_not_asked_pass_untouched_i1(stream: bytes) -> None:
    """Among them usage that a provider sends with its choices, asked or not."""
    for at in range(0, len(stream), 7):
        assert filtered([stream[:at], stream[at:]]) == stream


TEXTS = st.text(max_size=12) | st.sampled_from(
    ['"usage":null', ',"usage": null', "usage", '{"usage":null}', "\\", "{}]["]
)
CHUNKS = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "choices": st.lists(
            st.fixed_dictionaries({"delta": st.dictionaries(st.sampled_from(["content", "usage"]), st.none() | TEXTS)}),
            max_size=2,
        ),
    },
    optional={"x_groq": st.sampled_from([{"usage": None}, {"usage": {"total_tokens": 1}}]), "obfuscation": TEXTS},
)
PARTS = st.tuples(CHUNKS, st.integers(0, 4), st.sampled_from([None, ": keep-alive", ": note\n\n", "id: 7"]))


@given(
    st.lists(PARTS, max_size=5),
    st.integers(0, 3),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    CUTS,
)
def test_asked_streams_come_back_as_plain_ones_in_any_split_i1(
    parts: list[tuple[dict[str, Any], int, str | None]],
    extra: int,
    separators: tuple[str, str],
    end: str,
    ascii_only: bool,
    cuts: list[int],
) -> None:
    """Any key order, spacing and line end; decoys in text and in nested objects; comments; the extra event anywhere."""

    def dump(value: dict[str, Any]) -> str:
        return "data: " + json.dumps(value, separators=separators, ensure_ascii=ascii_only) + "\n\n"

    option, plain = "", ""
    for number, (chunk, place, line) in enumerate(parts):
        comment = "" if line is None else line + "\n"
        rows = list(chunk.items())
        rows.insert(place, ("usage", None))
        option += comment + dump(dict(rows))
        plain += comment + dump(chunk)
        if number == extra:
            option += dump({"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    option += "data: [DONE]\n\n"
    plain += "data: [DONE]\n\n"
    stream = option.replace("\n", end).encode()
    assert filtered(cut(stream, cuts)) == plain.replace("\n", end).encode()


@given(
    st.binary(max_size=120)
    | st.lists(st.sampled_from([b"\r", b"\n", b"data: ", b'"usage"', b"{}", b":"])).map(b"".join),
    CUTS,
)
def test_anything_else_passes_untouched_in_any_split_i1(stream: bytes, cuts: list[int]) -> None:
    assert filtered(cut(stream, cuts)) == stream


def test_whole_events_pass_at_once() -> None:
    sieve = UsageFilter()
    for event in OPENAI_STREAM_ASKED.split(b"\n\n")[:5]:
        given_back = sieve.feed(event + b"\n\n")
        assert given_back == event.replace(b',"usage":null', b"") + b"\n\n"
    assert sieve.feed(b'data: {"id":') == b""
    assert sieve.feed(b'1,"usage":null}\n\ndata: {') == b'data: {"id":1}\n\n'
    assert sieve.finish() == b"data: {"


def test_a_last_event_without_its_blank_line_is_filtered_too() -> None:
    assert filtered([b'data: {"choices":[],"usage":{"total_tokens":1}}']) == b""
    assert filtered([b'data: {"choices":[1],"usage":null}\n']) == b'data: {"choices":[1]}\n'


def test_comments_in_the_dropped_event_stay() -> None:
    event = b': busy\ndata: {"choices":[],"usage":{"total_tokens":1}}\n\n'
    assert filtered([event]) == b": busy\n\n"


@given(st.integers(0, 60), CUTS)
def test_an_event_above_the_limit_passes_unfiltered_and_is_not_held_i9(size: int, cuts: list[int]) -> None:
    small = b'data: {"a":1,"usage":null}\n\n'
    large = b'data: {"a":"' + b"x" * (20 + size) + b'","usage":null}\n\n'
    stream = small + large + small
    result = filtered(cut(stream, cuts), limit=30)
    assert result == b'data: {"a":1}\n\n' + large + b'data: {"a":1}\n\n'
    sieve = UsageFilter(limit=30)
    for piece in cut(stream * 50, cuts * 20):
        sieve.feed(piece)
        assert len(sieve._held) <= 32


def test_only_event_streams_are_filtered() -> None:
    assert usage_filter(JSON) is None
    assert usage_filter("") is None
    assert usage_filter(SSE) is not None
    assert usage_filter("Text/Event-Stream") is not None
    assert filtered([OPENAI_ANSWER]) == OPENAI_ANSWER


def test_several_lines_of_data_are_left_alone_but_for_the_extra_event() -> None:
    pretty = b'data: {"choices": [1],\ndata:  "usage": null}\n\n'
    assert filtered([pretty]) == pretty


def test_the_position_is_the_top_levels() -> None:
    """Decoys of the same bytes before the member meant."""
    event = b'data: {"x_groq":{"id":1,"usage":null},"choices":[{"usage":null}],"usage":null}\n\n'
    shorter = filtered([event])
    assert shorter == b'data: {"x_groq":{"id":1,"usage":null},"choices":[{"usage":null}]}\n\n'
    assert msgspec.json.decode(shorter[6:]) == {"x_groq": {"id": 1, "usage": None}, "choices": [{"usage": None}]}
