"""dialects/openai_responses.py: asks, usage of JSON answers, and what goes on in the background."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import structs

from gatehouse.dialects import openai_responses
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import ToolUses, Usage
from tests.dialects.metering import estimated, metered, provider
from tests.dialects.openai_text_samples import (
    COMPACTED_ANSWER,
    GENERATED,
    RESPONSES_ANSWER,
    RESPONSES_QUEUED,
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


# --- asks ----------------------------------------------------------------------------------------------------------


def test_an_ask_is_read() -> None:
    body = json.dumps(
        {
            "model": "gpt-5-mini",
            "input": [{"role": "user", "content": "hi"}],
            "stream": True,
            "max_output_tokens": 64,
            "temperature": 0,
            "top_p": 0.5,
            "background": True,
            "previous_response_id": "resp_1",
        }
    ).encode()
    asked = Ask(
        operation="chat",
        model="gpt-5-mini",
        stream=True,
        max_output=64,
        temperature=0.0,
        top_p=0.5,
        background=True,
        continues="resp_1",
        input_bytes=len(body),
    )
    assert structs.replace(openai_responses.read(body, None), links=None) == asked
    with pytest.raises(StopIteration) as done:
        next(openai_responses.read_slices(body, None))
    assert structs.replace(done.value.value, links=None) == asked


@pytest.mark.parametrize(
    ("members", "field", "value"),
    [
        ('"input":"hi"', "continues", None),
        ('"previous_response_id":null', "continues", None),
        ('"previous_response_id":7', "continues", None),
        ('"previous_response_id":""', "continues", None),
        ('"conversation":"conv_1"', "continues", "conv_1"),
        ('"conversation":{"id":"conv_1"}', "continues", "conv_1"),
        ('"conversation":{"id":[]}', "continues", None),
        ('"conversation":[]', "continues", None),
        ('"background":"true"', "background", False),
        ('"background":null', "background", False),
        ('"max_output_tokens":10.0', "max_output", 10),
        ('"max_output_tokens":{}', "max_output", None),
        ('"temperature":NaN', "temperature", None),
        ('"stream":1', "stream", False),
        ('"stream_options":{"include_obfuscation":false}', "asks_usage", None),
        ('"user":"\\ud800"', "continues", None),
    ],
)
def test_a_strange_member_harms_no_other(members: str, field: str, value: object) -> None:
    """What can be read is read."""
    ask = openai_responses.read(b'{"model":"m",%b}' % members.encode(), None)
    assert ask.model == "m" and ask.unread is None
    assert getattr(ask, field) == value


def test_what_is_no_object_is_unread() -> None:
    assert openai_responses.read(b"[]", None).unread is not None
    assert openai_responses.read(b'{"prompt":{"id":"pmpt_1"}}', None).model is None


def test_responses_are_not_asked_for_usage() -> None:
    """They report it anyway, and know no `include_usage`."""
    assert for_endpoint(*RESPONSES).option is None


# --- documents -----------------------------------------------------------------------------------------------------


@given(CUTS)
def test_an_answer(cuts: list[int]) -> None:
    reading = metered(RESPONSES, RESPONSES_ANSWER, cuts=cuts)
    assert provider(reading) == Usage(input=93, cache_read=1024, output=26, reasoning=20)
    assert (reading.check, reading.note, reading.finish_reasons) == ("ok", None, ("completed",))
    assert (reading.model, reading.response_id) == ("gpt-5-mini-2025-08-07", "resp_0cd5d6b83100")


def test_the_compaction_of_a_conversation_is_metered_too() -> None:
    """`responses/compact` answers without model and status."""
    reading = metered(RESPONSES, COMPACTED_ANSWER)
    assert provider(reading).total == 1163
    assert (reading.check, reading.response_id) == ("ok", "resp_001")


def test_cache_writes_are_a_part() -> None:
    usage = USAGE | {"input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100}}
    reading = metered(RESPONSES, json.dumps(response("completed", usage=usage)).encode())
    assert provider(reading) == Usage(input=17, cache_read=1000, cache_write=100, output=26, reasoning=20)


def test_what_hosted_tools_used_is_noted() -> None:
    """It is charged beside `usage`, so the cost is not all: the record says so."""
    tools: dict[str, Any] = {"image_gen": {"total_tokens": 0}, "web_search": {"num_requests": 0}}
    quiet = response("completed", usage=USAGE, tool_usage=tools)
    assert metered(RESPONSES, json.dumps(quiet).encode()).note is None
    tools = {"image_gen": {"total_tokens": 1200}, "web_search": {"num_requests": 3}}
    loud = response("completed", usage=USAGE, tool_usage=tools)
    expected = "charged beside usage: tokens of generated images: 1200"
    reading = metered(RESPONSES, json.dumps(loud).encode())
    assert (reading.note, reading.tools) == (expected, ToolUses(web_search=3))
    reading = metered(RESPONSES, event({"type": "response.completed", "response": loud}), SSE)
    assert (provider(reading).total, reading.note) == (1163, expected)
    odds: tuple[Any, ...] = (7, [], {"web_search": 7, "image_gen": []}, {"web_search": {"num_requests": "3"}})
    for odd in odds:
        strange = response("completed", usage=USAGE, tool_usage=odd)
        reading = metered(RESPONSES, json.dumps(strange).encode())
        assert (reading.note, reading.tools) == (None, None)


OUTPUT_ITEMS: list[dict[str, Any]] = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
    {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "x"}},
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"], "results": None},
    {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1", "outputs": []},
    {"type": "code_interpreter_call", "id": "ci_2", "status": "completed", "code": "2", "outputs": []},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"},
]


def test_what_ran_is_counted_and_what_the_next_request_names_is_known() -> None:
    """Source: the SDK's `ResponseFunctionWebSearch` (only searching is charged) and its siblings."""
    whole = response("completed", usage=USAGE, output=OUTPUT_ITEMS)
    used = ToolUses(web_search=1, file_search=1, code_execution=2)
    reading = metered(RESPONSES, json.dumps(whole).encode())
    assert (reading.tools, reading.offers) == (used, ("call_1", str(whole["id"])))
    stream = b"".join(event({"type": "response.output_item.done", "item": item}) for item in OUTPUT_ITEMS)
    bare = response("completed", usage=USAGE)
    reading = metered(RESPONSES, stream + event({"type": "response.completed", "response": bare}), SSE)
    assert (reading.tools, reading.offers) == (used, ("call_1", str(bare["id"])))


def test_totals_are_checked() -> None:
    wrong = json.dumps(response("completed", usage=USAGE | {"total_tokens": 7})).encode()
    assert metered(RESPONSES, wrong).check == "mismatch"
    bare = {"input_tokens": 10, "output_tokens": 5}
    reading = metered(RESPONSES, json.dumps({"status": "completed", "usage": bare}).encode())
    assert (provider(reading), reading.check) == (Usage(input=10, output=5), "unchecked")
    odd = {"input_tokens": 10.0, "output_tokens": 5, "total_tokens": 15, "input_tokens_details": None}
    reading = metered(RESPONSES, json.dumps({"status": "completed", "usage": odd}).encode())
    assert (provider(reading), reading.check) == (Usage(input=10, output=5), "ok")


def test_an_answer_without_usage_is_estimated_never_zero_f3() -> None:
    silent = json.loads(RESPONSES_ANSWER) | {"usage": None}
    assert estimated(metered(RESPONSES, json.dumps(silent).encode())) == Usage(input=100, output=OUTPUT)
    zero = silent | {"usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
    assert estimated(metered(RESPONSES, json.dumps(zero).encode())) == Usage(input=100, output=OUTPUT)
    odd = silent | {"output": [7, "text"]}
    assert estimated(metered(RESPONSES, json.dumps(odd).encode())).output == 2
    odd = silent | {"output": {"x": "yz"}}
    assert estimated(metered(RESPONSES, json.dumps(odd).encode())).output > 0


def test_an_answer_cut_short_is_estimated() -> None:
    for at in (30, 120, 700, 1200):
        reading = metered(RESPONSES, RESPONSES_ANSWER[:at], complete=False)
        assert estimated(reading).input == 100
        assert (reading.model is not None) == (at > 500)


@pytest.mark.parametrize("usage_first", [False, True])
def test_an_answer_of_many_megabytes_still_gives_usage_i9(usage_first: bool) -> None:
    image = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0K" * 300_000}
    members = response("completed", output=[image], usage=USAGE)
    if usage_first:
        members = {"usage": members.pop("usage"), **members}
    body = json.dumps(members).encode()
    reading = metered(RESPONSES, body, cuts=list(range(0, len(body), 65_536)))
    assert provider(reading).total == 1163
    assert (reading.check, reading.finish_reasons) == ("ok", ("completed",))


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":[]}',
        b'{"error":{"message":"no","code":"bad"}}',
        b"<html>Bad gateway</html>",
        b"[]",
        b"",
        b'"text"',
    ],
)
def test_what_is_no_response_has_no_usage(body: bytes) -> None:
    reading = metered(RESPONSES, body)
    assert (reading.usage, reading.uncounted) == (None, False)
    assert metered(RESPONSES, RESPONSES_ANSWER, status=500).usage is None


# --- what goes on elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "in_progress"])
@pytest.mark.parametrize("told", [None, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}])
def test_a_background_answer_is_neither_free_nor_estimated(status: str, told: object) -> None:
    body = json.loads(RESPONSES_QUEUED) | {"status": status, "usage": told}
    reading = metered(RESPONSES, json.dumps(body).encode(), ask=Ask("chat", background=True, input_bytes=400))
    assert (reading.usage, reading.source, reading.uncounted) == (None, None, True)
    assert reading.response_id == "resp_0cd5d6b83100" and reading.finish_reasons == ()
    assert reading.note is not None and "background" in reading.note


def test_a_response_that_claims_to_go_on_but_reports_its_usage_is_believed() -> None:
    body = json.dumps(response("in_progress", usage=USAGE)).encode()
    assert provider(metered(RESPONSES, body)).total == 1163


def test_a_background_stream_that_is_left_says_that_more_may_follow() -> None:
    ask = Ask("chat", stream=True, background=True, input_bytes=400)
    queued = event({"type": "response.queued", "response": response("queued", background=True)})
    for cut in (b"", queued, queued + UNFINISHED):
        reading = metered(RESPONSES, cut, SSE, ask=ask, complete=False)
        assert (reading.usage, reading.uncounted) == (None, True), "what follows is no matter of an estimate"
        assert reading.note is not None and "background" in reading.note
    assert reading.response_id is not None, "to be read later"
    whole = metered(RESPONSES, queued + RESPONSES_STREAM, SSE, ask=ask)
    assert provider(whole).total == 1163 and whole.note is None


def test_an_estimate_says_what_it_leaves_out() -> None:
    ask = Ask("chat", stream=True, continues="resp_1", input_bytes=400)
    reading = metered(RESPONSES, UNFINISHED, SSE, ask=ask, complete=False)
    assert reading.note is not None and "earlier conversation" in reading.note
    assert metered(RESPONSES, RESPONSES_STREAM, SSE, ask=ask).note is None
