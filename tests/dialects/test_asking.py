"""dialects/asking.py: whatever a body is, reading it says what it can and never raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gatehouse.dialects import openai_chat
from gatehouse.model.call import Ask


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'"x"', b'{"model":"m"', b'{"model":"m",}', b"\xff\xfe{\x00", b"null"]
)
def test_an_unreadable_body_says_so_and_keeps_the_paths_model(body: bytes) -> None:
    ask = openai_chat.read(body, "deployment")
    assert ask.unread is not None and "body is no JSON object" in ask.unread
    assert (ask.model, ask.stream, ask.input_bytes) == ("deployment", False, len(body))


def test_reasons_hold_no_content_and_long_names_are_not_recorded() -> None:
    secret = b'{"model": secret-words }'
    assert "secret" not in (openai_chat.read(secret, None).unread or "")
    ask = openai_chat.read(b'{"model":"%b"}' % (b"m" * 5000), None)
    assert ask.model is None and ask.unread == "`model` is longer than 1024 characters"


def test_a_large_body_msgspec_refuses_is_not_searched_in_one_go() -> None:
    ask = openai_chat.read(b'{"x":"\\ud800%b","model":"m"}' % (b"x" * 2_000_000), None)
    assert ask.unread == "body is not plain JSON, and too large to be searched"


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_reading_never_raises(body: bytes) -> None:
    assert openai_chat.read(body, None).input_bytes == len(body)


@pytest.mark.parametrize("extra", [b'"x":1', b'"x":"\\ud800"'])
def test_slices_read_the_same(extra: bytes) -> None:
    body = (
        b'{"messages":[{"role":"user","content":"%b"}],"model":"m","stream":true,"max_tokens":7,%b,'
        b'"stream_options":{"include_usage":true}}' % (b"word " * 200_000, extra)
    )
    slices = openai_chat.read_slices(body, None)
    yields = 0
    while True:
        try:
            next(slices)
        except StopIteration as done:
            ask = done.value
            break
        yields += 1
    assert ask == Ask("chat", "m", True, 7, asks_usage=True, input_bytes=len(body))
    if extra == b'"x":1':
        assert structs.replace(openai_chat.read(body, None), links=None) == ask
