"""What a conversation says of the call it goes on from: each request of a loop is known by the one after it (O13, D6).

Shapes as the SDKs write them: openai-python's and LangChain's dumps of messages (content before role), anthropic-python
and Claude Code (a `cache_control` that wanders), google-genai (parts before role), the items of OpenAI's responses.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gatehouse.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from gatehouse.model.call import Ask, Links

Read = Callable[[bytes, str | None], Ask]
Body = dict[str, Any]

CALL = {"id": "call_abc123", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
SYSTEM = {"role": "system", "content": "You are terse. " * 40}
USER = {"role": "user", "content": 'What is the weather? Say {"role":"assistant"} if unsure.'}


def chat(*messages: Body) -> Body:
    return {"model": "gpt-4o-mini", "messages": list(messages), "temperature": 0.5}


def asked(read: Read, body: Body, compact: bool = True) -> Links:
    data = json.dumps(body, separators=(",", ":") if compact else None).encode()
    ask = read(data, None)
    assert ask.unread is None
    assert ask.model == body["model"]
    assert ask.links is not None
    return ask.links


def goes_on(read: Read, first: Body, second: Body) -> None:
    """The second request knows the first, by its conversation, however the client writes JSON."""
    for compact in (True, False):
        before, after = asked(read, first, compact), asked(read, second, compact)
        assert after.before is not None
        assert after.before == before.whole
        assert after.whole != before.whole


ANSWERS: list[Body] = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    # What openai-python dumps of an answer's message.
    {"content": None, "refusal": None, "role": "assistant", "annotations": [], "tool_calls": [CALL]},
    {"content": "Let me look.", "tool_calls": [CALL], "role": "assistant"},
]
RESULTS: list[Body] = [
    {"role": "tool", "tool_call_id": "call_abc123", "content": "sunny " * 3000},
    {"tool_call_id": "call_abc123", "role": "tool", "name": "weather", "content": "sunny"},
    # LangChain.
    {"content": "sunny " * 3000, "role": "tool", "tool_call_id": "call_abc123"},
    {"content": "sunny", "name": "weather", "tool_call_id": "call_abc123", "role": "tool"},
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("result", RESULTS)
def test_chat_tool_loop(answer: Body, result: Body) -> None:
    first, second = chat(SYSTEM, USER), chat(SYSTEM, USER, answer, result)
    third = chat(
        SYSTEM, USER, answer, result, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "?"}
    )
    assert asked(openai_chat.read, first).before is None
    goes_on(openai_chat.read, first, second)
    goes_on(openai_chat.read, second, third)
    assert asked(openai_chat.read, second).ids == ("call_abc123",)
    assert asked(openai_chat.read, third).ids == ()


def test_results_are_named_in_order_and_a_few_are_enough() -> None:
    calls = [{**CALL, "id": f"call_{number}"} for number in range(5)]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in calls]
    second = chat(USER, {"role": "assistant", "tool_calls": calls}, *results)
    assert asked(openai_chat.read, second).ids == ("call_0", "call_1", "call_2")
    goes_on(openai_chat.read, chat(USER), second)


def test_conversations_that_differ_have_other_keys() -> None:
    wholes = {
        asked(openai_chat.read, chat(*messages)).whole
        for messages in (
            (USER,),
            (SYSTEM, USER),
            (USER, USER),
            ({"role": "user", "content": "x" * 5000 + "Summarise."},),
            ({"role": "user", "content": "y" * 5000 + "Summarise."},),
            ({"role": "user", "content": "x" * 5001 + "Summarise."},),
        )
    }
    assert len(wholes) == 6


def test_an_answer_that_the_caller_began_is_no_answer() -> None:
    """Anthropic's prefill."""
    first = {"model": "claude", "max_tokens": 9, "messages": [USER]}
    prefilled = {**first, "messages": [USER, {"role": "assistant", "content": "{"}]}
    second = {**first, "messages": [USER, {"role": "assistant", "content": "{}"}, {"role": "user", "content": "why?"}]}
    assert asked(anthropic_messages.read, prefilled).before is None
    goes_on(anthropic_messages.read, prefilled, second)


def test_claude_code_moves_its_cache_control() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}

    def user(text: str, **more: Any) -> Body:
        return {
            "role": "user",
            "content": [{"type": "text", "text": "<system-reminder>" + text}, {"type": "text", "text": text, **more}],
        }

    def result(**more: Any) -> Body:
        return {
            "role": "user",
            "content": [{"tool_use_id": "toolu_01", "type": "tool_result", "content": "files " * 200, **more}],
        }

    use = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "toolu_01", "name": "ls", "input": {"role": "assistant"}}],
    }
    base: Body = {"model": "claude-sonnet-4-5", "max_tokens": 32_000, "stream": True}
    first = {**base, "messages": [user("long " * 300, **cached)]}
    second = {**base, "messages": [user("long " * 300), use, result(**cached)]}
    third = {**base, "messages": [user("long " * 300), use, result(), use, result(**cached)]}
    goes_on(anthropic_messages.read, first, second)
    goes_on(anthropic_messages.read, second, third)
    assert asked(anthropic_messages.read, second).ids == ("toolu_01",)


def test_responses_without_a_previous_response() -> None:
    def body(*items: Body, **more: Any) -> Body:
        return {"model": "gpt-5", "input": list(items), **more}

    said: Body = {"role": "user", "content": "hi"}
    reasoning: Body = {"id": "rs_1", "summary": [], "type": "reasoning", "encrypted_content": "x" * 2000}
    call: Body = {"arguments": "{}", "call_id": "call_9", "name": "f", "type": "function_call", "id": "fc_1"}
    output: Body = {"type": "function_call_output", "call_id": "call_9", "output": "1" * 50_000}
    message: Body = {
        "id": "msg_1",
        "content": [{"annotations": [], "text": "one", "type": "output_text"}],
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }
    first, second = body(said), body(said, reasoning, call, output)
    third = body(said, reasoning, call, output, message, {**said, "content": "and then?"})
    goes_on(openai_responses.read, first, second)
    goes_on(openai_responses.read, second, third)
    assert asked(openai_responses.read, second).ids == ("call_9",)


def test_responses_that_name_what_they_go_on_from() -> None:
    result = {"call_id": "call_9", "type": "function_call_output", "output": "1"}
    named = asked(openai_responses.read, {"model": "m", "input": [result], "previous_response_id": "resp_1"})
    assert named == Links(ids=("resp_1", "call_9"))
    held = asked(openai_responses.read, {"model": "m", "input": "hi", "conversation": {"id": "conv_1"}})
    assert held == Links(ids=("conv_1",), names=("conv_1",))


def test_gemini_contents() -> None:
    said: Body = {"parts": [{"text": "hi"}], "role": "user"}
    call: Body = {"parts": [{"functionCall": {"id": "fn-1", "name": "f", "args": {"role": "model"}}}], "role": "model"}
    result: Body = {"parts": [{"functionResponse": {"id": "fn-1", "name": "f", "response": {"a": 1}}}], "role": "user"}
    first: Body = {"model": "gemini", "contents": [said]}
    second: Body = {"model": "gemini", "contents": [said, call, result]}
    goes_on(gemini.read, first, second)
    assert asked(gemini.read, second).ids == ("fn-1",)


@pytest.mark.parametrize("odd", ["null", "7", '"text"', "{}", "[]", "[1,null,[[]]]", '{"a":[{}]}', '[{"role":7}]'])
def test_what_is_no_conversation_harms_nothing(odd: str) -> None:
    for read, name in (
        (openai_chat.read, "messages"),
        (anthropic_messages.read, "messages"),
        (openai_responses.read, "input"),
        (gemini.read, "contents"),
    ):
        ask = read(f'{{"model":"m","{name}":{odd},"temperature":0.5}}'.encode(), None)
        assert ask.unread is None
        assert ask.model == "m"
        assert ask.links is None or ask.links.before is None


def test_large_bodies_cost_little() -> None:
    """An agent's 200 KB: what is added to reading it stays far below reading it once more (180 µs by SHA-256)."""
    messages: list[Body] = [SYSTEM]
    for number in range(50):
        messages += [
            {"role": "user", "content": "word " * 400},
            {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": f"call_{number}"}]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": "x" * 2000},
        ]
    body = json.dumps(chat(*messages)).encode()
    assert len(body) > 200_000

    class Without(msgspec.Struct):
        model: str

    plain = msgspec.json.Decoder(Without).decode

    def took(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    # In turns, so that a slow moment of the machine is one of both.
    pairs = [(took(lambda: openai_chat.read(body, None)), took(lambda: plain(body))) for _ in range(400)]
    assert min(with_links for with_links, _ in pairs) - min(without for _, without in pairs) < 60e-6


@pytest.mark.parametrize("odd", ["[1" + ",1" * 600_000 + "]", "[{}" + ",{}" * 400_000 + "]", None])
def test_a_crowded_body_does_not_swell(odd: str | None) -> None:
    """I9: a million values in a body would take forty times its bytes, and the loop for as long (I8)."""
    odd = odd or "{" + ",".join(f'"{number}":1' for number in range(300_000)) + "}"
    for read, name in ((openai_chat.read, "messages"), (openai_responses.read, "input"), (gemini.read, "contents")):
        body = f'{{"model":"m","stream":true,"{name}":{odd}}}'.encode()
        tracemalloc.start()
        try:
            ask = read(body, None)
            assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
        finally:
            tracemalloc.stop()
        assert (ask.model, ask.unread, ask.links) == ("m", None, None)


@pytest.mark.parametrize("name", ["role", "type", "tool_call_id", "call_id"])
def test_members_of_any_shape_cost_little(name: str) -> None:
    """I8: whose an element is shows in its members, and those may be anything: nothing is made of them."""
    element = f'{{"content":"x","{name}":[' + ",".join(["[]"] * 10_000) + "]}"
    for read, list_name in ((openai_chat.read, "messages"), (openai_responses.read, "input")):
        body = f'{{"model":"m","{list_name}":[' + ",".join([element] * 8) + "]}"
        tracemalloc.start()
        try:
            read(body.encode(), None)
            assert tracemalloc.get_traced_memory()[1] < 256 * 1024
        finally:
            tracemalloc.stop()
