"""dialects/openai_responses.py: streams of every kind of event, whole, cut and strange."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects.metering import estimated, first_token_at, metered, provider
from tests.dialects.openai_text_samples import (
    GENERATED,
    RESPONSES_ERROR,
    RESPONSES_FAILED,
    RESPONSES_PAYLOADS,
    RESPONSES_STREAM,
    USAGE,
    event,
    response,
)
from tests.dialects.samples import CUTS, SSE

RESPONSES: tuple[Dialect, str] = ("openai", "responses")
ASK = Ask("chat", input_bytes=400, stream=True)
OUTPUT = -(-GENERATED // 4)
"""Estimated tokens of what the stream generates."""
UNFINISHED = RESPONSES_STREAM[: RESPONSES_STREAM.index(b"event: response.completed")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("stream", [RESPONSES_STREAM, UNFINISHED, UNFINISHED + RESPONSES_FAILED])
def test_any_split_of_a_stream_gives_the_same_reading(stream: bytes, end: bytes) -> None:
    stream = stream.replace(b"\n", end)
    whole = metered(RESPONSES, stream, SSE)
    for at in range(0, len(stream), 23):
        assert metered(RESPONSES, stream, SSE, cuts=[at]) == whole
    assert metered(RESPONSES, stream, SSE, cuts=list(range(len(stream)))) == whole


@given(CUTS)
def test_a_stream_with_usage(cuts: list[int]) -> None:
    reading = metered(RESPONSES, RESPONSES_STREAM, SSE, cuts=cuts)
    assert provider(reading) == Usage(input=93, cache_read=1024, output=26, reasoning=20)
    assert (reading.check, reading.note) == ("ok", None)
    assert (reading.model, reading.response_id) == ("gpt-5-mini-2025-08-07", "resp_0cd5d6b83100")
    assert reading.finish_reasons == ("completed",)


def test_events_are_known_by_their_data_or_by_their_name() -> None:
    """Some providers leave out one or the other."""
    whole = metered(RESPONSES, RESPONSES_STREAM, SSE)
    nameless = b"\n\n".join(block.partition(b"\n")[2] for block in RESPONSES_STREAM.split(b"\n\n"))
    assert metered(RESPONSES, nameless, SSE) == whole
    typeless = b"".join(
        f"event: {payload['type']}\ndata: {json.dumps(payload | {'type': None})}\n\n".encode()
        for payload in RESPONSES_PAYLOADS
    )
    assert metered(RESPONSES, typeless, SSE) == whole
    assert estimated(metered(RESPONSES, typeless[: typeless.rindex(b"event: ")], SSE)).output == OUTPUT


def test_what_is_streamed_counts_once() -> None:
    """Deltas, and not again what repeats them: `….done`, parts, items."""
    usage = estimated(metered(RESPONSES, UNFINISHED, SSE, complete=False))
    assert usage == Usage(input=100, output=OUTPUT)
    deltas_only = b"".join(
        event(payload) for payload in RESPONSES_PAYLOADS if ".delta" in payload["type"] or "added" in payload["type"]
    )
    assert estimated(metered(RESPONSES, deltas_only, SSE, complete=False)) == usage
    items_only = b"".join(event(payload) for payload in RESPONSES_PAYLOADS if "item.done" in payload["type"])
    assert estimated(metered(RESPONSES, items_only, SSE, complete=False)) == usage
    at_once = b"".join(
        event(payload) + event(payload | {"type": "response.output_item.done"})
        for payload in (
            done | {"type": "response.output_item.added"}
            for done in RESPONSES_PAYLOADS
            if done["type"] == "response.output_item.done"
        )
    )
    assert estimated(metered(RESPONSES, at_once, SSE, complete=False)) == usage


def test_items_that_run_side_by_side_count_once() -> None:
    def delta(index: int, text: str) -> bytes:
        return event({"type": "response.function_call_arguments.delta", "output_index": index, "delta": text})

    def done(index: int, text: str) -> bytes:
        return event(
            {
                "type": "response.output_item.done",
                "output_index": index,
                "item": {"type": "function_call", "arguments": text},
            }
        )

    stream = delta(0, "a" * 8) + delta(1, "b" * 40) + delta(0, "a" * 8) + done(0, "a" * 16) + done(1, "b" * 40)
    assert estimated(metered(RESPONSES, stream, SSE, complete=False)).output == 14


DELTAS: list[tuple[str, object, int]] = [
    ("response.output_text.delta", "Fog bell", 2),
    ("response.refusal.delta", "Fog bell", 2),
    ("response.reasoning_text.delta", "Fog bell", 2),
    ("response.reasoning_summary_text.delta", "Fog bell", 2),
    ("response.function_call_arguments.delta", '{"q":12}', 2),
    ("response.mcp_call_arguments.delta", '{"q":12}', 2),
    ("response.custom_tool_call_input.delta", "Fog bell", 2),
    ("response.code_interpreter_call_code.delta", "x = 1+12", 2),
    ("response.shell_call_command.delta", "ls -l /x", 2),
    ("response.audio.transcript.delta", "Fog bell", 2),
    ("response.audio.delta", "UklGRiQAAABXQVZF", 1),
    ("response.shell_call_output_content.delta", {"stdout": "what a tool says"}, 0),
]


@pytest.mark.parametrize(("kind", "delta", "tokens"), DELTAS)
def test_every_kind_of_delta(kind: str, delta: object, tokens: int) -> None:
    """I10: what came before a cut is estimated; a tool's own words are not generated."""
    stream = event({"type": "response.created", "response": response("in_progress")})
    told = len(stream)
    stream += event({"type": kind, "delta": delta})
    assert estimated(metered(RESPONSES, stream, SSE, complete=False)) == Usage(input=100, output=tokens)
    assert first_token_at(RESPONSES, stream, SSE, ASK) == (len(stream) if tokens else None)
    assert told < len(stream)


def test_the_deltas_above_are_all_there_are() -> None:
    """A new kind counts as generated until somebody says that it is not."""
    [union] = (kind for kind in get_args(ResponseStreamEvent) if get_args(kind))
    kinds = {get_args(member.model_fields["type"].annotation)[0] for member in get_args(union)}
    assert {kind for kind in kinds if kind.endswith(".delta")} == {kind for kind, _, _ in DELTAS}


def test_items_nobody_streams_count_when_they_are_done() -> None:
    for item, size in (
        ({"type": "web_search_call", "action": {"type": "search", "query": "x", "sources": [{"url": "y" * 999}]}}, 29),
        ({"type": "computer_call", "action": {"type": "wait"}}, 15),
        ({"type": "image_generation_call", "result": "iVBORw0KGgo" * 99}, 0),
        ({"type": "code_interpreter_call", "code": "1+1", "outputs": [{"logs": "2" * 99}]}, 3),
        ({"type": "mcp_call", "name": "f", "arguments": "{}", "output": "x" * 99}, 3),
        ({"type": "custom_tool_call", "name": "f", "input": "xyz"}, 4),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, 4),
        ({"type": "message", "content": [{"type": "refusal", "refusal": "no"}, {"type": "x", "annotations": [1]}]}, 2),
        ({"type": "from the future", "novelty": {}}, 0),
    ):
        stream = event({"type": "response.output_item.done", "item": item})
        usage = estimated(metered(RESPONSES, stream, SSE, complete=False))
        assert usage.output == -(-size // 4), item


@pytest.mark.parametrize("complete", [True, False])
def test_a_stream_cut_anywhere_keeps_what_came_i10(complete: bool) -> None:
    """The provider's own usage once it has come, else an estimate of what was generated until then."""
    first_delta = RESPONSES_STREAM.index(b"\n\n", RESPONSES_STREAM.index(b'"delta":"Which"'))
    for at in range(0, len(RESPONSES_STREAM) + 1, 11):
        reading = metered(RESPONSES, RESPONSES_STREAM[:at], SSE, complete=complete)
        if at >= len(RESPONSES_STREAM) - 2:
            assert provider(reading).total == 1163
        elif at > RESPONSES_STREAM.index(b"\n\n"):
            usage = estimated(reading)
            assert usage.input == 100 and usage.output <= OUTPUT
            assert (usage.output > 0) == (at >= first_delta)
        assert reading.note is None, "half an event is no surprise"


def test_usage_before_the_end_is_a_lower_bound() -> None:
    early = response("in_progress", usage={"input_tokens": 38, "output_tokens": 1, "total_tokens": 39})
    stream = event({"type": "response.in_progress", "response": early}) + UNFINISHED
    assert estimated(metered(RESPONSES, stream, SSE)) == Usage(input=38, output=OUTPUT)
    zeros = response("in_progress", usage={"input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
    stream = event({"type": "response.created", "response": zeros})
    assert estimated(metered(RESPONSES, stream, SSE)) == Usage(input=100)


def test_the_last_word() -> None:
    """A client that leaves after it has the whole answer."""
    last = {
        "completed": RESPONSES_STREAM,
        "incomplete": UNFINISHED + event({"type": "response.incomplete", "response": response("incomplete")}),
        "failed": UNFINISHED + RESPONSES_FAILED,
        "error": UNFINISHED + RESPONSES_ERROR,
        "done": UNFINISHED + b"data: [DONE]\n\n",
        "unreadable": UNFINISHED + event({"type": "response.completed"}),
    }
    for name, stream in last.items():
        meter = for_endpoint(*RESPONSES).meter(ASK, SSE, 200)
        meter.feed(stream[:-1])
        assert not meter.ended, name
        meter.feed(stream[-1:])
        assert meter.ended, name


@pytest.mark.parametrize(
    ("members", "reasons"),
    [
        ({"status": "completed"}, ("completed",)),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, ("max_output_tokens",)),
        ({"status": "incomplete", "incomplete_details": {"reason": None}}, ("incomplete",)),
        ({"status": "incomplete", "incomplete_details": None}, ("incomplete",)),
        ({"status": "incomplete", "incomplete_details": []}, ("incomplete",)),
        ({"status": "failed"}, ("failed",)),
        ({"status": "cancelled"}, ("cancelled",)),
        ({"status": "in_progress"}, ()),
        ({"status": 7}, ()),
    ],
)
def test_finish_reasons(members: dict[str, Any], reasons: tuple[str, ...]) -> None:
    stands = response("", usage=USAGE) | members
    assert metered(RESPONSES, json.dumps(stands).encode()).finish_reasons == reasons
    assert metered(RESPONSES, event({"type": "response.incomplete", "response": stands}), SSE).finish_reasons == reasons


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RESPONSES_ERROR, "server_error"),
        (RESPONSES_FAILED, "rate_limit_exceeded"),
        (
            event({"type": "error", "error": {"type": "too_many_requests", "code": None, "message": "secret"}}),
            "too_many_requests",
        ),
        (event({"type": "error", "message": "secret", "code": None}), "unnamed"),
        (b'data: {"error":{"message":"secret","code":"overloaded"}}\n\n', "overloaded"),
    ],
)
def test_an_error_inside_a_stream_is_noted_by_its_code_only(failure: bytes, code: str) -> None:
    alone = metered(RESPONSES, failure, SSE)
    assert (alone.usage, alone.note) == (None, f"provider's error in the answer: {code}")
    late = metered(RESPONSES, UNFINISHED + failure, SSE, complete=False)
    assert estimated(late).output == OUTPUT
    assert "secret" not in repr((alone, late))


def test_a_failed_response_with_usage_is_not_estimated() -> None:
    failed = response("failed", usage=USAGE, error={"code": "server_error", "message": "x"})
    reading = metered(RESPONSES, UNFINISHED + event({"type": "response.failed", "response": failed}), SSE)
    assert provider(reading).total == 1163


def test_strange_events_are_counted_and_the_rest_is_metered() -> None:
    strange = (
        b"data: {oops\n\ndata: 7\n\n: x\n\nevent: y\n\n"
        b'event: keepalive\ndata: {"type":"keepalive","sequence_number":3}\n\n'
        b'data: {"type":"response.from_the_future","response":null,"item":{"x":1},"novelty":[]}\n\n'
        b'data: {"type":"response.web_search_call.searching","item_id":"ws_1"}\n\n'
        b'data: {"type":"response.output_item.added","item":7}\n\n'
        b'data: {"type":["response.completed"],"response":{}}\n\n'
    )
    reading = metered(RESPONSES, strange + RESPONSES_STREAM, SSE)
    assert provider(reading).total == 1163
    assert reading.note == "unreadable pieces: 2"
    pair = b"".join(b'data: {"type":"response.x.delta","delta":"\\u%b"}\n\n' % half for half in (b"d83d", b"de00"))
    reading = metered(RESPONSES, pair, SSE)
    assert estimated(reading).output == 1 and reading.note is None


def test_a_last_event_with_images_in_it_gives_its_usage() -> None:
    image = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0K" * 400_000}
    done = event({"type": "response.output_item.done", "item": image})
    last = event({"type": "response.completed", "response": response("completed", output=[image], usage=USAGE)})
    stream = done + last
    reading = metered(RESPONSES, stream, SSE, cuts=list(range(0, len(stream), 65_536)))
    assert (provider(reading).total, reading.note) == (1163, None)


def test_an_event_too_large_to_read_ends_nothing_i9() -> None:
    image = event({"type": "response.image_generation_call.partial_image", "partial_image_b64": "iVBO" * 2_200_000})
    reading = metered(RESPONSES, image + RESPONSES_STREAM, SSE, cuts=list(range(0, len(image), 65_536)))
    assert provider(reading).total == 1163
    assert reading.note == "events too large to read: 1"


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                *(b"data: ", b"{", b"}", b"\n\n", b'"type":', b'"response.completed"', b'"response":{', b'"usage":{'),
                *(b"null", b",", b'"item":', b'"error":{}', b'"status":"completed"', b'"input_tokens":', b"1"),
            ]
        )
    ).map(b"".join),
    CUTS,
)
def test_no_stream_raises(stream: bytes, cuts: list[int]) -> None:
    assert metered(RESPONSES, stream, SSE, cuts=cuts) == metered(RESPONSES, stream, SSE)
