"""dialects/openai_chat.py and openai_tokens.py: asks, and usage of OpenAI, Azure and the compatible providers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gatehouse.dialects import openai_chat
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects import samples
from tests.dialects.metering import estimated, first_token_at, metered, provider
from tests.dialects.samples import CUTS, SSE

CHAT: tuple[Dialect, str] = ("openai", "chat")
STREAMS = {
    "asked": samples.OPENAI_STREAM_ASKED,
    "plain": samples.OPENAI_STREAM_PLAIN,
    "tools": samples.OPENAI_TOOL_STREAM,
    "azure": samples.AZURE_STREAM_ASKED,
    "groq": samples.GROQ_STREAM,
    "moonshot": samples.MOONSHOT_STREAM,
    "xai": samples.XAI_STREAM,
}


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


# --- asks ----------------------------------------------------------------------------------------------------------


def test_an_ask_is_read() -> None:
    body = json.dumps(
        {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 64,
            "temperature": 0,
            "top_p": 0.5,
            "n": 2,
        }
    ).encode()
    assert structs.replace(openai_chat.read(body, "path-model"), links=None) == Ask(
        operation="chat",
        model="gpt-4o-mini",
        stream=True,
        max_output=64,
        temperature=0.0,
        top_p=0.5,
        choices=2,
        asks_usage=True,
        input_bytes=len(body),
    )


@pytest.mark.parametrize(
    ("members", "field", "value"),
    [
        ('"max_tokens": 10.0', "max_output", 10),
        ('"max_tokens": 10.5', "max_output", None),
        ('"max_tokens": -1', "max_output", None),
        ('"max_tokens": true', "max_output", None),
        ('"max_tokens": "10"', "max_output", None),
        ('"max_tokens": 10, "max_completion_tokens": 20', "max_output", 20),
        ('"max_tokens": 20, "max_completion_tokens": null', "max_output", 20),
        ('"max_tokens": 1e400', "max_output", None),
        ('"max_tokens": 99999999999999999999999999', "max_output", 2**63 - 1),
        ('"temperature": "hot"', "temperature", None),
        ('"temperature": NaN', "temperature", None),
        ('"temperature": 1e999', "temperature", None),
        ('"stream": "true"', "stream", False),
        ('"stream": 1', "stream", False),
        ('"stream_options": {}', "asks_usage", None),
        ('"stream_options": null', "asks_usage", None),
        ('"stream_options": [1]', "asks_usage", None),
        ('"stream_options": {"include_usage": false}', "asks_usage", False),
        ('"stream_options": {"include_usage": null}', "asks_usage", False),
        ('"n": {}', "choices", None),
        ('"user": "\\ud800"', "choices", None),
        ('"user": ' + "[" * 3000 + "]" * 3000, "choices", None),
        ('"user": 1' + "0" * 3000, "choices", None),
    ],
)
def test_a_strange_member_harms_no_other(members: str, field: str, value: object) -> None:
    """What can be read is read."""
    ask = openai_chat.read(b'{"model":"m",%b}' % members.encode(), None)
    assert ask.model == "m" and ask.unread is None
    assert getattr(ask, field) == value


# --- streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(STREAMS))
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_split_of_a_stream_gives_the_same_reading(name: str, end: bytes) -> None:
    stream = STREAMS[name].replace(b"\n", end)
    whole = metered(CHAT, stream, SSE)
    for at in range(0, len(stream), 3):
        assert metered(CHAT, stream, SSE, cuts=[at]) == whole
    assert metered(CHAT, stream, SSE, cuts=list(range(len(stream)))) == whole


def test_a_stream_with_usage() -> None:
    reading = metered(CHAT, samples.OPENAI_STREAM_ASKED, SSE)
    assert provider(reading) == Usage(input=93, cache_read=1024, output=26, reasoning=20)
    assert (reading.check, reading.note) == ("ok", None)
    assert reading.model == "gpt-4o-mini-2024-07-18"
    assert reading.response_id == "chatcmpl-C8vBq2mRw5tYxN0pLkJ7hGfD4sAzE"
    assert reading.finish_reasons == ("stop",)


def test_azures_empty_chunks_and_filter_chunks_do_not_disturb() -> None:
    reading = metered(CHAT, samples.AZURE_STREAM_ASKED, SSE)
    assert provider(reading) == Usage(input=14, output=3)
    assert (reading.model, reading.response_id) == ("gpt-4o-2024-11-20", "chatcmpl-AzQ9")
    assert (reading.check, reading.note) == ("ok", None)


@pytest.mark.parametrize(
    ("stream", "usage"),
    [
        (samples.GROQ_STREAM, Usage(input=41, output=3)),
        (samples.MOONSHOT_STREAM, Usage(input=19, output=13)),
        (samples.XAI_STREAM, Usage(input=38, output=3)),
    ],
)
def test_usage_where_other_providers_put_it(stream: bytes, usage: Usage) -> None:
    reading = metered(CHAT, stream, SSE)
    assert provider(reading) == usage
    assert reading.check == "ok"


def test_a_silent_provider_is_estimated_never_zero_f3() -> None:
    usage = estimated(metered(CHAT, samples.OPENAI_STREAM_PLAIN, SSE))
    assert usage == Usage(input=100, output=7), "400 bytes asked, 28 bytes generated, 4 to a token"
    tools = estimated(metered(CHAT, samples.OPENAI_TOOL_STREAM, SSE))
    assert tools == Usage(input=100, output=5), "a tool's name and arguments are output"


@pytest.mark.parametrize("complete", [True, False])
def test_a_stream_cut_anywhere_keeps_what_came_i10(complete: bool) -> None:
    """The provider's own usage once it has come, else an estimate of what was generated until then."""
    stream = samples.OPENAI_STREAM_ASKED
    usage_at = stream.index(b'"usage":{')
    for at in range(0, len(stream) + 1, 5):
        reading = metered(CHAT, stream[:at], SSE, complete=complete)
        if b"}\n" in stream[usage_at:at]:
            assert provider(reading).total == 1163
        elif b'"choices"' in stream[:at].rpartition(b"\n\n")[0]:
            usage = estimated(reading)
            assert usage.input == 100
            assert (usage.output > 0) == (b'"The"}' in stream[:at].rpartition(b"\n\n")[0])
        assert reading.note is None, "half an event is no surprise"


def test_cumulative_usage_of_a_cut_stream_is_a_lower_bound() -> None:
    cut = samples.XAI_STREAM[: samples.XAI_STREAM.index(b" bells")]
    usage = estimated(metered(CHAT, cut, SSE, complete=False))
    assert usage == Usage(input=38, output=2), "two tokens reported, 7 bytes seen: two"


def test_nothing_generated_before_a_cut_costs_its_prompt() -> None:
    assert estimated(metered(CHAT, b"", SSE, complete=False)) == Usage(input=100)
    assert metered(CHAT, b"", SSE).usage is None


def test_no_output_reported_for_a_generated_answer_is_not_believed() -> None:
    stream = event({"choices": [{"delta": {"content": "Four words of text."}, "finish_reason": "stop"}]})
    for zero in (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 9, "total_tokens": 9},
    ):
        usage = estimated(metered(CHAT, stream + event({"choices": [], "usage": zero}), SSE))
        assert usage == Usage(input=zero["prompt_tokens"] or 100, output=5)


def test_the_first_token_is_the_first_content_not_the_role() -> None:
    """Text, reasoning, tool calls; the event that has it must be complete."""
    ask = Ask("chat", stream=True)
    first = samples.OPENAI_STREAM_ASKED.index(b'"The"}')
    at = first_token_at(CHAT, samples.OPENAI_STREAM_ASKED, SSE, ask)
    assert at == samples.OPENAI_STREAM_ASKED.index(b"\n\n", first) + 2
    for delta in (
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "x"}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "UklG"}},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
    ):
        stream = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}) + event(
            {"choices": [{"delta": delta}]}
        )
        assert first_token_at(CHAT, stream, SSE, ask) == len(stream), delta


def test_several_choices_each_have_their_finish_reason() -> None:
    stream = b"".join(
        event({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
        for index, reason in ((2, "length"), (0, "stop"), (1, "content_filter"))
    )
    assert metered(CHAT, stream, SSE).finish_reasons == ("stop", "content_filter", "length")


def test_an_error_inside_a_stream_is_noted_by_its_code_only() -> None:
    error = event({"error": {"message": "secret prompt words", "type": "server_error", "code": "rate_limit_exceeded"}})
    reading = metered(CHAT, error, SSE)
    assert reading.usage is None
    assert reading.note == "provider's error in the answer: rate_limit_exceeded"
    numbered = metered(CHAT, event({"error": {"message": "x", "code": 429}}), SSE)
    assert numbered.note == "provider's error in the answer: 429"
    assert metered(CHAT, event({"error": "x y"}), SSE).note == "provider's error in the answer: unnamed"
    late = metered(CHAT, samples.OPENAI_STREAM_PLAIN[:900] + error, SSE, complete=False)
    assert estimated(late).output > 0
    assert "secret" not in repr(late)


def test_strange_events_are_counted_and_the_rest_is_metered() -> None:
    strange = b'data: {oops\n\ndata: 7\n\ndata: {"choices":{},"usage":[]}\n\n: x\n\nevent: y\n\n'
    reading = metered(CHAT, strange + samples.OPENAI_STREAM_ASKED, SSE)
    assert provider(reading).total == 1163
    assert reading.note == "unreadable pieces: 2"
    split_pair = b"".join(
        b'data: {"choices":[{"delta":{"content":"\\u%b"}}]}\n\n' % half for half in (b"d83d", b"de00")
    )
    reading = metered(CHAT, split_pair, SSE)
    assert estimated(reading).output == 1 and reading.note is None


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"data: ", b"{", b"}", b"\n\n", b'"choices":[', b"null", b'"usage":'])).map(b"".join),
    CUTS,
)
def test_no_stream_raises(stream: bytes, cuts: list[int]) -> None:
    assert metered(CHAT, stream, SSE, cuts=cuts) == metered(CHAT, stream, SSE)


# --- documents -----------------------------------------------------------------------------------------------------


@given(CUTS)
def test_an_answer(cuts: list[int]) -> None:
    reading = metered(CHAT, samples.OPENAI_ANSWER, cuts=cuts)
    assert provider(reading) == Usage(input=31, output=7)
    assert (reading.check, reading.note) == ("ok", None)
    assert (reading.model, reading.response_id) == ("gpt-4o-mini-2024-07-18", "chatcmpl-C8vC1")
    assert reading.finish_reasons == ("stop",)


def test_an_answer_without_usage_is_estimated() -> None:
    answer = {"id": "x", "model": "m", "choices": [{"message": {"content": "Fog and bells.", "tool_calls": None}}]}
    assert estimated(metered(CHAT, json.dumps(answer).encode())) == Usage(input=100, output=4)


def test_an_answer_cut_short_is_estimated() -> None:
    for at in (30, 200, 420, 600):
        reading = metered(CHAT, samples.OPENAI_ANSWER[:at], complete=False)
        assert estimated(reading).input == 100
        assert (reading.model is not None) == (at > 150)
    azure = b'{"choices":[{"message":{"content":"Low ti'
    assert estimated(metered(CHAT, azure, complete=False)).output > 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":[{"id":"gpt-4o"}]}',
        b'{"error":{"message":"no","code":"bad"}}',
        b"<html>Bad gateway</html>",
        b"[]",
        b"",
        b'"text"',
    ],
)
def test_what_is_no_chat_completion_has_no_usage(body: bytes) -> None:
    assert metered(CHAT, body).usage is None
