"""dialects/openai_completions.py: asks, usage, and the usage option of legacy completions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from gatehouse.dialects import openai_completions
from gatehouse.dialects.openai_filter import UsageFilter
from gatehouse.dialects.openai_option import ask_usage
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects.metering import estimated, first_token_at, metered, provider
from tests.dialects.openai_text_samples import (
    COMPLETIONS_ANSWER,
    COMPLETIONS_STREAM_ASKED,
    COMPLETIONS_STREAM_PLAIN,
)
from tests.dialects.samples import CUTS, SSE

COMPLETIONS: tuple[Dialect, str] = ("openai", "completions")


def test_an_ask_is_read() -> None:
    body = json.dumps(
        {
            "model": "gpt-3.5-turbo-instruct",
            "prompt": ["a", "b"],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 64,
            "temperature": 0,
            "top_p": 0.5,
            "n": 2,
            "best_of": 4,
        }
    ).encode()
    asked = Ask(
        operation="text_completion",
        model="gpt-3.5-turbo-instruct",
        stream=True,
        max_output=64,
        temperature=0.0,
        top_p=0.5,
        choices=2,
        asks_usage=True,
        input_bytes=len(body),
    )
    assert openai_completions.read(body, "deployment") == asked
    with pytest.raises(StopIteration) as done:
        next(openai_completions.read_slices(body, "deployment"))
    assert done.value.value == asked
    assert openai_completions.read(b'{"prompt":"x"}', "deployment").model == "deployment"
    assert openai_completions.read(b"oops", None).unread is not None


@pytest.mark.parametrize("stream", [COMPLETIONS_STREAM_ASKED, COMPLETIONS_STREAM_PLAIN])
def test_any_split_of_a_stream_gives_the_same_reading(stream: bytes) -> None:
    whole = metered(COMPLETIONS, stream, SSE)
    for at in range(0, len(stream), 3):
        assert metered(COMPLETIONS, stream, SSE, cuts=[at]) == whole
    assert metered(COMPLETIONS, stream, SSE, cuts=list(range(len(stream)))) == whole


def test_a_stream_with_usage() -> None:
    reading = metered(COMPLETIONS, COMPLETIONS_STREAM_ASKED, SSE)
    assert provider(reading) == Usage(input=5, output=7)
    assert (reading.check, reading.note, reading.finish_reasons) == ("ok", None, ("length",))
    assert (reading.model, reading.response_id) == ("gpt-3.5-turbo-instruct:20230824-v2", "cmpl-C8vBq2mR")


def test_a_silent_provider_is_estimated_never_zero_f3() -> None:
    assert estimated(metered(COMPLETIONS, COMPLETIONS_STREAM_PLAIN, SSE)) == Usage(input=100, output=7)
    silent = json.loads(COMPLETIONS_ANSWER)
    del silent["usage"]
    assert estimated(metered(COMPLETIONS, json.dumps(silent).encode())) == Usage(input=100, output=7)


def test_a_stream_cut_anywhere_keeps_what_came_i10() -> None:
    for at in range(0, len(COMPLETIONS_STREAM_PLAIN), 5):
        reading = metered(COMPLETIONS, COMPLETIONS_STREAM_PLAIN[:at], SSE, complete=False)
        usage = estimated(reading)
        assert usage.input == 100
        assert (usage.output > 0) == (at >= COMPLETIONS_STREAM_PLAIN.index(b"\n\n"))
        assert reading.note is None, "half an event is no surprise"


def test_the_first_token_is_the_first_text() -> None:
    empty = COMPLETIONS_STREAM_PLAIN.split(b"\n\n")[0].replace(b"The", b"") + b"\n\n"
    at = first_token_at(COMPLETIONS, empty + COMPLETIONS_STREAM_PLAIN, SSE, Ask("text_completion", stream=True))
    assert at == len(empty) + COMPLETIONS_STREAM_PLAIN.index(b"\n\n") + 2


@given(CUTS)
def test_an_answer_of_several_choices(cuts: list[int]) -> None:
    reading = metered(COMPLETIONS, COMPLETIONS_ANSWER, cuts=cuts)
    assert provider(reading) == Usage(input=5, output=11)
    assert (reading.check, reading.finish_reasons) == ("ok", ("length", "stop"))


def test_a_chat_chunk_that_repeats_its_delta_as_text_counts_once() -> None:
    """Together's chat streams carry both."""
    chunk = b'data: {"choices":[{"index":0,"text":"four","delta":{"content":"four"}}]}\n\n'
    assert estimated(metered(("openai", "chat"), chunk, SSE)) == Usage(input=100, output=1)


def test_the_usage_option_goes_in_and_its_traces_come_out_i1() -> None:
    """In any split."""
    body = b'{"model":"gpt-3.5-turbo-instruct","prompt":"x","stream":true}'
    assert ask_usage(body, openai_completions.read(body, None)) == (
        b'{"stream_options":{"include_usage":true},' + body[1:]
    )
    assert for_endpoint(*COMPLETIONS).option is not None
    for at in range(len(COMPLETIONS_STREAM_ASKED)):
        sieve = UsageFilter()
        pieces = (COMPLETIONS_STREAM_ASKED[:at], COMPLETIONS_STREAM_ASKED[at:])
        assert b"".join(map(sieve.feed, pieces)) + sieve.finish() == COMPLETIONS_STREAM_PLAIN


@pytest.mark.parametrize("body", [b'{"error":{"message":"no","code":"bad"}}', b"<html>", b"", b"{}"])
def test_what_is_no_completion_has_no_usage(body: bytes) -> None:
    assert metered(COMPLETIONS, body).usage is None
    assert metered(COMPLETIONS, COMPLETIONS_ANSWER, status=500).usage is None
