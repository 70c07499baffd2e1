"""How large OpenAI's requests may become. Forms: `openai.types.chat`, `openai.types.responses`, made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.extent import UNREAD
from gatehouse.dialects.openai_extent import (
    _chat_extent,
    chat_extent,
    completion_extent,
    image_edit_extent,
    response_extent,
    speech_extent,
)
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Extent
from tests.dialects.test_positions import drained

DATA = "data:image/png;base64," + "iVBORw0KGgo" * 40
IMAGE = {"type": "image_url", "image_url": {"url": DATA, "detail": "high"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chat(*content: Any, **more: Any) -> Extent:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": each} for each in content], **more})
    found = chat_extent(body.encode())
    assert found.size == len(body)
    return found


def response(given: Any = "hi", **more: Any) -> Extent:
    return response_extent(json.dumps({"model": "m", "input": given, **more}).encode())


def test_text_is_its_bytes() -> None:
    parts = [{"type": "text", "text": 'say "image_url"'}, {"type": "refusal", "refusal": "no"}]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": parts}]}
    size = len(json.dumps(body))
    assert chat("hi", parts) == Extent(len(json.dumps({"model": "m", "messages": [
        {"role": "user", "content": "hi"}, {"role": "user", "content": parts}]})))  # fmt: skip
    assert chat_extent(json.dumps(body).encode()) == Extent(size)
    assert chat_extent(b'{"model":"m","messages":[{"role":"assistant","content":null}]}') == Extent(62)


COMPACT = (",", ":")
MEMBERS: dict[str, Any] = {
    "stream_options": {"include_usage": True},
    "response_format": {"type": "json_object"},
    "metadata": {"tools": "x"},
    "tools": [{"type": "mcp"}],
    "web_search_options": {},
    "prediction": {"type": "content", "content": "x"},
    "models": ["a"],
    "stop": ["a"],
    "service_tier": "priority",
    "temperature": 0.5,
    "user": '"messages":[{',
}
CONTENTS: list[Any] = [
    "hi",
    "",
    None,
    'odd "messages":[{ "content":[{"type":"image_url"}]',
    "{[,{",
    [{"type": "text", "text": "hi"}],
    [{"type": "image_url", "image_url": {"url": "https://x"}}],
    {"type": "image_url", "image_url": {"url": "https://x"}},
]


@given(
    st.lists(st.sampled_from(CONTENTS), max_size=4),
    st.dictionaries(st.sampled_from(sorted(MEMBERS)), st.none(), max_size=4),
    st.booleans(),
    st.permutations(range(6)),
)
def test_what_the_brackets_say_is_what_decoding_says_i4(
    contents: list[Any], more: dict[str, None], spoken: bool, order: list[int]
) -> None:
    """The short cut for plain chats never hides anything."""
    turns = [{"role": "user", "content": content} for content in contents]
    if spoken:
        turns.append({"role": "assistant", "audio": {"id": "audio_1"}})
    members = {"model": "m", "messages": turns} | {name: MEMBERS[name] for name in more}
    rows = [row for _, row in sorted(zip(order, list(members.items())[:6], strict=False))]
    body = json.dumps(dict(rows), separators=COMPACT)
    assert chat_extent(body.encode()) == msgspec.structs.replace(_chat_extent(body.encode()), size=len(body))


def test_inline_images_and_audio_are_counted_apart() -> None:
    found = chat([IMAGE, IMAGE, {"type": "text", "text": "which?"}])
    assert (found.images, found.inline, found.dear, found.window) == (2, 2 * (len(DATA) + 2), True, False)
    heard = chat([{"type": "input_audio", "input_audio": {"data": "A" * 800, "format": "wav"}}])
    assert heard.audio == heard.inline > 800
    assert not heard.window


@pytest.mark.parametrize(
    ("part", "stored"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, False),
        ({"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AA"}}, False),
        ({"type": "file", "file": {"file_id": "file-1"}}, True),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}}, False),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, False),
        ({"type": "something_new"}, False),
        ({"no": "type"}, False),
    ],
)
def test_what_nobody_can_measure_is_the_window(part: dict[str, Any], stored: bool) -> None:
    found = chat([part])
    assert (found.window, found.dear, found.stored, found.images) == (True, True, stored, 0)


def test_an_escaped_name_hides_nothing() -> None:
    found = chat_extent(
        b'{"messages":[{"content":[{"ty\\u0070e":"im\\u0061ge_url","image_\\u0075rl":{"url":"https://x"}}]}]}'
    )
    assert found.window


def test_an_earlier_spoken_answer_is_named_by_id() -> None:
    found = chat_extent(b'{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}')
    assert (found.window, found.stored) == (True, True)


def test_tools_of_the_caller_are_text_and_others_have_no_maximum() -> None:
    assert chat("hi", tools=[FUNCTION, {"type": "custom", "custom": {}}]).unbounded is None
    assert chat("hi", tools=[FUNCTION]).tools
    assert "`browser_search`" in str(chat("hi", tools=[FUNCTION, {"type": "browser_search"}]).unbounded)
    for name in ("web_search_options", "plugins", "search_parameters", "data_sources"):
        assert name in str(chat("hi", **{name: {}}).unbounded)
        assert chat("hi", **{name: None}).unbounded is None
    assert "further models" in str(chat("hi", models=["a", "b"]).unbounded)


def test_a_prediction_may_be_charged_as_output() -> None:
    assert chat("hi", prediction={"type": "content", "content": "x" * 90}).prediction > 90


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"messages":"hi"}', b'{"messages":[{"content":[{"type":1}]}]}', b'{"tools":{}}',
     b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_no_request_is_nobodys_to_bound(body: bytes) -> None:
    found = chat_extent(body)
    assert (found.size, found.window, found.unbounded) == (len(body), True, UNREAD)


@pytest.mark.parametrize(
    ("members", "answers"),
    [
        ({"prompt": "one"}, 1),
        ({"prompt": ["one", "two", "three"]}, 3),
        ({"prompt": [1, 2, 3, 4]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": "one", "n": 2, "best_of": 5}, 5),
        ({"prompt": ["one", "two"], "n": 3}, 6),
        ({}, 1),
    ],
)
def test_completions_generate_for_each_prompt(members: dict[str, Any], answers: int) -> None:
    """`openai.types.completion_create_params`: texts, tokens, or lists of either; `best_of` are all charged."""
    assert completion_extent(json.dumps({"model": "m", **members}).encode()).answers == answers


def test_items_of_a_response_that_are_all_there() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": DATA}],
        },
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": DATA}]},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": DATA}},
    ]
    found = response(items, tools=[{"type": "function", "name": "f"}])
    assert (found.images, found.window, found.stored, found.unbounded) == (3, False, False, None)
    assert found.inline == 3 * (len(DATA) + 2)


@pytest.mark.parametrize(
    ("item", "stored"),
    [
        ({"type": "item_reference", "id": "msg_1"}, True),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}, True),
        ({"type": "compaction", "encrypted_content": "x"}, False),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, False),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}, False),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}, True),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}, True),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]}, False),
    ],
)
def test_items_that_are_not(item: dict[str, Any], stored: bool) -> None:
    found = response([item])
    assert (found.window, found.stored) == (True, stored)


@pytest.mark.parametrize("member", [{"previous_response_id": "resp_1"}, {"conversation": {"id": "conv_1"}}])
def test_an_earlier_conversation_is_the_window(member: dict[str, Any]) -> None:
    found = response(**member)
    assert (found.window, found.stored, found.unbounded) == (True, True, None)


@pytest.mark.parametrize(
    ("tool", "stored"),
    [
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, True),
        ({"type": "code_interpreter", "container": "cntr_1"}, True),
        ({"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}, True),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, False),
        ({"type": "image_generation", "input_image_mask": {"file_id": "file-1"}}, True),
        ({"type": "image_generation"}, False),
        ({"type": "web_search_preview"}, False),
        ({"type": "mcp", "server_url": "https://example.com"}, False),
        ({"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}}, True),
        ({"type": "something_new"}, True),
        ({"type": "function", "name": "f"}, False),
    ],
)
def test_tools_name_what_the_provider_keeps(tool: dict[str, Any], stored: bool) -> None:
    """With a maximum and without one."""
    for most in ({}, {"max_tool_calls": 4}):
        assert response(tools=[tool], **most).stored is stored


def test_what_cannot_be_read_may_name_anything() -> None:
    for body in (b"[]", b'{"input":1}', b'{"input":"x"', b"\xff"):
        assert response_extent(body).stored


@pytest.mark.parametrize(
    ("extent", "ask", "stored"),
    [
        (speech_extent, {"model": "m", "voice": "alloy", "input": "x"}, False),
        (speech_extent, {"model": "m", "voice": {"id": "voice_1"}, "input": "x"}, True),
        (image_edit_extent, {"images": [{"image_url": "https://example.com/a.png"}]}, False),
        (image_edit_extent, {"images": [{"image_url": "data:,"}, {"file_id": "file-1"}]}, True),
        (image_edit_extent, {"images": [], "mask": {"file_id": "file-1"}}, True),
    ],
)
def test_media_made_of_what_the_provider_keeps(
    extent: Callable[[bytes], Extent], ask: dict[str, Any], stored: bool
) -> None:
    """`openai.types.audio.speech_create_params`; images as JSON: ZenMux's reference of OpenAI's "Create image edit"."""
    assert extent(json.dumps(ask).encode()).stored is stored


def test_hosted_tools_are_bounded_by_max_tool_calls_or_not_at_all() -> None:
    search, files = {"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]}
    assert "max_tool_calls" in str(response(tools=[search]).unbounded)
    found = response(tools=[search, files], max_tool_calls=4)
    assert (found.searches, found.file_searches, found.rounds, found.stored, found.unbounded) == (4, 4, 4, True, None)
    for kind in ("code_interpreter", "image_generation", "mcp", "shell", "tool_search", "something_new"):
        assert kind in str(response(tools=[{"type": kind}], max_tool_calls=4).unbounded)
    assert "stored prompt" in str(response(prompt={"id": "pmpt_1"}).unbounded)
    assert "context_management" in str(response(context_management=[{"type": "compaction"}]).unbounded)


@pytest.mark.parametrize("tier", [None, "auto", "default", "flex", "on_demand", "priority", "fast", "new", ["auto"]])
def test_service_beyond_the_list_price_has_no_bound_i4(tier: Any) -> None:
    """`openai.types.responses.response_create_params`: `priority` and `fast` are charged above the list."""
    bounded = tier in (None, "auto", "default", "flex", "on_demand")
    for found in (chat("hi", service_tier=tier), response(service_tier=tier)):
        assert (found.unbounded is None) is bounded
        assert bounded or "`service_tier`" in str(found.unbounded)
    escaped = chat_extent(b'{"messages":[{"content":"hi"}],"service_ti\\u0065r":"priority"}')
    assert "`service_tier`" in str(escaped.unbounded)
    large = json.dumps({"messages": [{"content": "x" * 3_000_000}], "service_tier": tier}).encode()
    assert (drained(for_endpoint("openai", "chat").extent_slices(large)).unbounded is None) is bounded


def test_a_large_body_is_searched_for_what_matters_beside_the_conversation() -> None:
    """In slices; its conversation counts as the window."""
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 3_000_000}], "tools": [{"type": "mcp"}]}).encode()
    endpoint = for_endpoint("openai", "chat")
    found = drained(endpoint.extent_slices(body))
    assert (found.size, found.window, found.tools) == (len(body), True, True)
    assert "`mcp`" in str(found.unbounded)
    plain = drained(endpoint.extent_slices(body.replace(b'"mcp"', b'"function"')))
    assert (plain.window, plain.unbounded) == (True, None)
    assert drained(endpoint.extent_slices(body[:-1])).unbounded == UNREAD
    assert drained(for_endpoint("openai", "embeddings").extent_slices(body)) == Extent(len(body))
