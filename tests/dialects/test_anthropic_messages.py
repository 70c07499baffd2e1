"""dialects/anthropic_messages.py: asks; cached tokens counted once; what a cut stream still tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects import anthropic_messages
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import ToolUses, Usage
from tests.dialects import samples
from tests.dialects.metering import estimated, first_token_at, metered, provider
from tests.dialects.samples import CUTS, SSE

MESSAGES: tuple[Dialect, str] = ("anthropic", "messages")
STREAM = samples.ANTHROPIC_STREAM


def event(name: str, payload: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | payload)}\n\n".encode()


def test_an_ask_is_read() -> None:
    body = b'{"model":"claude-sonnet-4-5","max_tokens":1024,"temperature":1,"top_p":0.9,"stream":true,"messages":[]}'
    assert anthropic_messages.read(body, None) == Ask(
        "chat", "claude-sonnet-4-5", True, 1024, 1.0, 0.9, input_bytes=len(body)
    )
    assert anthropic_messages.read(b"[]", None).unread is not None


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_split_of_a_stream_gives_the_same_reading(end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    whole = metered(MESSAGES, stream, SSE)
    assert provider(whole).total == 2414
    for at in range(0, len(stream), 3):
        assert metered(MESSAGES, stream, SSE, cuts=[at]) == whole
    assert metered(MESSAGES, stream, SSE, cuts=list(range(len(stream)))) == whole


def test_a_stream_with_cache_and_thinking() -> None:
    """`input_tokens` excludes the cache; five-minute and one-hour writes are apart; thinking is inside output."""
    reading = metered(MESSAGES, STREAM, SSE)
    assert provider(reading) == Usage(
        input=25, cache_read=2000, cache_write=100, cache_write_1h=200, output=59, reasoning=30
    )
    assert (reading.check, reading.note) == ("ok", None)
    assert (reading.model, reading.response_id) == ("claude-sonnet-4-5-20250929", "msg_01LightHouse")
    assert reading.finish_reasons == ("tool_use",)


def test_a_stream_without_event_names_reads_the_same() -> None:
    unnamed = b"".join(line + b"\n" for line in STREAM.split(b"\n") if not line.startswith(b"event:"))
    assert metered(MESSAGES, unnamed, SSE) == metered(MESSAGES, STREAM, SSE)


@pytest.mark.parametrize("complete", [True, False])
def test_a_stream_cut_anywhere_keeps_the_known_side_i10(complete: bool) -> None:
    for at in range(0, len(STREAM) + 1, 5):
        seen, half = STREAM[:at].rpartition(b"\n\n")[::2]
        reading = metered(MESSAGES, STREAM[:at], SSE, complete=complete)
        if b"event: message_delta" in seen:
            assert provider(reading).total == 2414
        elif b"message_start" in seen:
            usage = estimated(reading)
            assert (usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h) == (25, 2000, 100, 200)
            assert usage.output >= 1
            if b"look_up" in seen:
                assert usage.output >= 8
        elif not half:
            assert reading.usage == (None if complete else Usage(input=100))
        assert reading.note is None


def test_what_ran_is_counted_and_what_the_next_request_names_is_known() -> None:
    """Sources: `anthropic.types.ServerToolUsage`, `ToolUseBlock`, `ServerToolUseBlock`."""
    used = {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}
    usage = {"input_tokens": 9, "output_tokens": 9} | used
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
    ]
    message = {"id": "m", "type": "message", "model": "c", "content": blocks, "stop_reason": "tool_use", "usage": usage}
    reading = metered(MESSAGES, json.dumps(message).encode())
    assert (reading.tools, reading.offers) == (ToolUses(web_search=2, web_fetch=1), ("toolu_1", "toolu_2"))
    start = {"message": {"id": "m", "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}}}
    stream = event("message_start", start)
    stream += b"".join(event("content_block_start", {"index": 0, "content_block": block}) for block in blocks)
    stream += event("message_delta", {"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9} | used})
    streamed = metered(MESSAGES, stream + event("message_stop", {}), SSE)
    assert (streamed.tools, streamed.offers) == (reading.tools, reading.offers)


def test_server_tools_raise_the_input_side_later() -> None:
    """`message_delta` is cumulative: the larger counts hold, also where it leaves some out."""
    start = {"message": {"id": "m", "model": "c", "usage": {"input_tokens": 10, "output_tokens": 1}}}
    delta = {
        "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 900, "cache_read_input_tokens": 50, "output_tokens": 7},
    }
    reading = metered(MESSAGES, event("message_start", start) + event("message_delta", delta), SSE)
    assert provider(reading) == Usage(input=900, cache_read=50, output=7)
    only_output = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    reading = metered(MESSAGES, event("message_start", start) + event("message_delta", only_output), SSE)
    assert provider(reading) == Usage(input=10, output=7)


@pytest.mark.parametrize(
    ("creation", "created", "parts", "check"),
    [
        ({"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 30}, 100, (70, 30), "ok"),
        (None, 100, (100, 0), "unchecked"),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, 0, (0, 0), "ok"),
        ({"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 30}, 160, (130, 30), "unchecked"),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 30}, 50, (0, 50), "unchecked"),
        ({"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 60}, 100, (70, 60), "mismatch"),
        ({"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 30}, None, (70, 30), "unchecked"),
    ],
)
def test_cache_writes_by_lifetime(
    creation: dict[str, int] | None, created: int | None, parts: tuple[int, int], check: str
) -> None:
    usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": created,
        "cache_creation": creation,
        "output_tokens": 2,
    }
    reading = metered(MESSAGES, json.dumps({"content": [], "usage": usage}).encode())
    assert provider(reading) == Usage(input=5, cache_write=parts[0], cache_write_1h=parts[1], output=2)
    assert reading.check == check


@given(CUTS)
def test_an_answer(cuts: list[int]) -> None:
    reading = metered(MESSAGES, samples.ANTHROPIC_ANSWER, cuts=cuts)
    assert provider(reading) == Usage(input=14, output=12)
    assert (reading.check, reading.note) == ("ok", None)
    assert (reading.model, reading.response_id) == ("claude-sonnet-4-5-20250929", "msg_01Harbour")
    assert reading.finish_reasons == ("end_turn",)


def test_an_answer_cut_short_or_without_usage_is_estimated() -> None:
    cut = metered(MESSAGES, samples.ANTHROPIC_ANSWER[:200], complete=False)
    assert estimated(cut).output > 0 and cut.model is not None
    answer = {"type": "message", "content": [{"type": "text", "text": "Fog and bells."}], "stop_reason": "end_turn"}
    assert estimated(metered(MESSAGES, json.dumps(answer).encode())) == Usage(input=100, output=4)


@pytest.mark.parametrize("body", [b'{"data":[],"has_more":false}', b'{"type":"error","error":{"type":"x"}}', b"<p>"])
def test_what_is_no_message_has_no_usage(body: bytes) -> None:
    assert metered(MESSAGES, body).usage is None


def test_an_error_event_is_noted() -> None:
    reading = metered(MESSAGES, samples.ANTHROPIC_ERROR_EVENT, SSE)
    assert reading.usage is None
    assert reading.note == "provider's error in the answer: overloaded_error"
    begun = STREAM[: STREAM.index(b"event: content_block_stop")]
    late = metered(MESSAGES, begun + samples.ANTHROPIC_ERROR_EVENT, SSE)
    assert estimated(late).cache_read == 2000
    assert late.note == "provider's error in the answer: overloaded_error"


def test_the_first_token_is_thinking_text_or_a_tools_name() -> None:
    at = first_token_at(MESSAGES, STREAM, SSE, Ask("chat", stream=True))
    assert at == STREAM.index(b"\n\n", STREAM.index(b"Which lamp?")) + 2
    tool = event("content_block_start", {"content_block": {"type": "tool_use", "name": "look_up", "input": {}}})
    assert first_token_at(MESSAGES, tool, SSE, Ask("chat")) == len(tool)
    empty = event("content_block_start", {"content_block": {"type": "text", "text": ""}}) + event("ping", {})
    assert first_token_at(MESSAGES, empty, SSE, Ask("chat")) is None


def test_strange_events_are_counted_and_the_rest_is_metered() -> None:
    strange = (
        b"event: content_block_delta\ndata: {oops\n\n"
        + event("content_block_delta", {"delta": []})
        + event("message_delta", {"delta": 7, "usage": {"output_tokens": "many"}})
        + event("unheard_of", {"usage": None})
    )
    reading = metered(MESSAGES, strange + STREAM, SSE)
    assert provider(reading).total == 2414
    assert reading.note == "unreadable pieces: 1"


@given(
    st.binary(max_size=150)
    | st.lists(
        st.sampled_from([b"event: message_delta\n", b"data: {}", b'data: {"usage":{}}', b"\n\n", b"data: 1\n"])
    ).map(b"".join),
    CUTS,
)
def test_no_stream_raises(stream: bytes, cuts: list[int]) -> None:
    assert metered(MESSAGES, stream, SSE, cuts=cuts) == metered(MESSAGES, stream, SSE)
