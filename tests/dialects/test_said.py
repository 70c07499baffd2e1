"""What answers say, whole and streamed, in every dialect: both ways give the same.

Sources: the fakes' own (`tests/fakes`), whose answers follow the installed SDKs' types.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.said import Said, ToolCall, said
from tests.fakes import anthropic_api, gemini_api, openai_api, openai_text

JSON, STREAM = "application/json", "text/event-stream; charset=utf-8"
CHAT = {"model": "gpt-4o", "messages": []}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def events(*payloads: object) -> bytes:
    return b"".join(b"data: %b\n\n" % encoded(payload) for payload in payloads) + b"data: [DONE]\n\n"


def test_chat() -> None:
    whole = said("openai", "chat", encoded(openai_api.chat_completion(CHAT)), JSON)
    streamed = said("openai", "chat", events(*openai_api.chat_chunks(CHAT, with_usage=True)), STREAM)
    assert whole == streamed == Said(openai_api.TEXT, "", ())


def test_chat_tools_reasoning_and_choices() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"b": 1, "a": [2]}'}}
    choices = [
        {"index": 0, "message": {"content": "one", "reasoning_content": "why", "tool_calls": [call]}},
        {"index": 1, "message": {"content": [{"type": "text", "text": "two"}], "refusal": "no"}},
    ]
    assert said("openai", "chat", encoded({"choices": choices}), JSON) == Said(
        "one\n\ntwo\n\nno", "why", (ToolCall("look", '{"a":[2],"b":1}'),)
    )
    pieces = [
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "d", "function": {"name": "ask", "arguments": "{half"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in pieces]
    assert said("openai", "chat", events(*chunks), STREAM) == Said(
        "", "", (ToolCall("look", '{"a":1}'), ToolCall("ask", "{half"))
    )


def test_legacy_completions() -> None:
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi"}
    whole = said("openai", "completions", encoded(openai_text.completion(asked)), JSON)
    chunks = events(*openai_text.completion_chunks(asked, with_usage=False))
    streamed = said("openai", "completions", chunks, STREAM)
    assert whole is not None
    assert streamed is not None
    assert whole.text.strip() == streamed.text == openai_text.TEXT


def test_responses() -> None:
    asked = {"model": "gpt-5", "input": "Hi"}
    whole = said("openai", "responses", encoded(openai_text.response(asked)), JSON)
    sent = openai_text.response_events(asked)
    assert whole == said("openai", "responses", events(*sent), STREAM)
    assert whole is not None
    assert whole.text == openai_text.TEXT


def test_responses_whose_last_event_repeats_nothing() -> None:
    """As servers answer `store: false`: the items come once, in events of their own."""
    items: list[dict[str, Any]] = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}], "encrypted_content": "x"},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c"},
        {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin"},
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "message", "content": [{"type": "output_text", "text": "Done."}]},
    ]
    payloads: list[dict[str, Any]] = [
        {"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(items)
    ]
    expected = Said(
        "Done.",
        "Think.",
        (
            ToolCall("shell", '{"command":["ls"]}'),
            ToolCall("apply_patch", '{"input":"*** Begin"}'),
            ToolCall("web_search_call", '{"action":{"query":"q","type":"search"}}'),
        ),
    )
    for output in ([], items):
        end = {"type": "response.completed", "response": {"output": output}}
        assert said("openai", "responses", events(*payloads, end), STREAM) == expected


@pytest.mark.parametrize(
    "more", [{}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"tools": [{"name": "look"}]}]
)
def test_messages(more: dict[str, Any]) -> None:
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [], **more}
    streamed = said("anthropic", "messages", b"".join(anthropic_api.stream(asked)), STREAM)
    whole = said("anthropic", "messages", encoded(anthropic_api._message(asked)), JSON)
    assert streamed == whole
    assert whole is not None
    assert whole.reasoning == (anthropic_api.THOUGHT if "thinking" in more else "")
    assert bool(whole.tool_calls) == ("tools" in more)


def test_gemini() -> None:
    """Events, an array, or one document."""
    chunks = gemini_api.chunks("gemini-2.5-flash", {"contents": []})
    call = {"functionCall": {"name": "look", "args": {"b": 1, "a": 2}}}
    chunks.append({"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": True}, call, call]}}]})
    expected = Said(gemini_api.TEXT, "Hm.", (ToolCall("look", '{"a":2,"b":1}'),) * 2)
    assert said("google", "stream_generate_content", events(*chunks), STREAM) == expected
    assert said("google", "stream_generate_content", encoded(chunks), JSON) == expected
    assert said("google", "generate_content", encoded(chunks[-1]), JSON) == Said("", "Hm.", expected.tool_calls)


@pytest.mark.parametrize("endpoint", ["embeddings", "other", "files"])
def test_what_says_nothing(endpoint: str) -> None:
    assert said("openai", endpoint, b'{"choices":[{"message":{"content":"x"}}]}', JSON) is None
    assert said("openai", "chat", b'{"error":{"message":"no"}}', JSON) is None


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("choices index delta message content tool_calls function type item output parts".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(ODD, st.sampled_from([JSON, STREAM, ""]), st.sampled_from(["chat", "responses", "messages", "generate_content"]))
def test_nothing_raises(value: Any, media: str, endpoint: str) -> None:
    dialect = {"messages": "anthropic", "generate_content": "google"}.get(endpoint, "openai")
    body = events(value) if media == STREAM else encoded(value)
    for cut in (body, body[: len(body) // 2], b"\xff" + body):
        said(dialect, endpoint, cut, media)
