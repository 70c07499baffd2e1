"""Responses, legacy completions and moderations as OpenAI sends them, byte for byte in form; the words are ours.

Forms from: `openai.types.responses`, `openai.types.completion` and `moderation_create_response`; OpenAI's reference of
streaming events; public captures of 2025–2026 for the order of members, `obfuscation` and what a response echoes.
`test_samples.py` holds each of them to the SDK's own types.
"""

from __future__ import annotations

import json
from typing import Any


def event(payload: dict[str, Any]) -> bytes:
    """One event of a responses stream: its name and its data."""
    data = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return f"event: {payload['type']}\ndata: {data}\n\n".encode()


def response(status: str, **members: Any) -> dict[str, Any]:
    """A response as it stands, with what OpenAI echoes around what counts."""
    return {
        "id": "resp_0cd5d6b83100",
        "object": "response",
        "created_at": 1757000600,
        "status": status,
        "background": False,
        "billing": {"payer": "developer"},
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "gpt-5-mini-2025-08-07",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": "medium", "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    } | members


USAGE: dict[str, Any] = {
    "input_tokens": 1117,
    "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
    "output_tokens": 46,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1163,
}
"""1117 tokens in, 1024 of them cached; 46 out, 20 of them reasoning."""

_REASONING = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Which lamp?"}]}
_TEXT = {"type": "output_text", "annotations": [], "logprobs": [], "text": "The lamp turns at dusk."}
_MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "content": [_TEXT], "role": "assistant"}
_CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "arguments": '{"q":"tide"}',
    "call_id": "call_r7Xk",
    "name": "look_up",
}
_ITEMS = (_REASONING, _MESSAGE, _CALL)
_WHERE = {"item_id": "msg_1", "output_index": 1}
_PART = _WHERE | {"content_index": 0}

RESPONSES_PAYLOADS: tuple[dict[str, Any], ...] = (
    {"type": "response.created", "response": response("in_progress")},
    {"type": "response.in_progress", "response": response("in_progress")},
    {"type": "response.output_item.added", "output_index": 0, "item": _REASONING | {"summary": []}},
    {
        "type": "response.reasoning_summary_part.added",
        "item_id": "rs_1",
        "output_index": 0,
        "summary_index": 0,
        "part": {"type": "summary_text", "text": ""},
    },
    *(
        {
            "type": "response.reasoning_summary_text.delta",
            "item_id": "rs_1",
            "output_index": 0,
            "summary_index": 0,
            "delta": delta,
            "obfuscation": "Wq3",
        }
        for delta in ("Which", " lamp?")
    ),
    {
        "type": "response.reasoning_summary_text.done",
        "item_id": "rs_1",
        "output_index": 0,
        "summary_index": 0,
        "text": "Which lamp?",
    },
    {
        "type": "response.reasoning_summary_part.done",
        "item_id": "rs_1",
        "output_index": 0,
        "summary_index": 0,
        "part": {"type": "summary_text", "text": "Which lamp?"},
    },
    {"type": "response.output_item.done", "output_index": 0, "item": _REASONING},
    {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": _MESSAGE | {"status": "in_progress", "content": []},
    },
    {"type": "response.content_part.added", **_PART, "part": _TEXT | {"text": ""}},
    *(
        {"type": "response.output_text.delta", **_PART, "delta": delta, "logprobs": [], "obfuscation": "k0"}
        for delta in ("The", " lamp", " turns", " at dusk.")
    ),
    {"type": "response.output_text.done", **_PART, "text": "The lamp turns at dusk.", "logprobs": []},
    {"type": "response.content_part.done", **_PART, "part": _TEXT},
    {"type": "response.output_item.done", "output_index": 1, "item": _MESSAGE},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": _CALL | {"status": "in_progress", "arguments": ""},
    },
    *(
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "fc_1",
            "output_index": 2,
            "delta": delta,
            "obfuscation": "",
        }
        for delta in ('{"q":', '"tide"}')
    ),
    {
        "type": "response.function_call_arguments.done",
        "item_id": "fc_1",
        "output_index": 2,
        "arguments": '{"q":"tide"}',
    },
    {"type": "response.output_item.done", "output_index": 2, "item": _CALL},
    {"type": "response.completed", "response": response("completed", output=list(_ITEMS), usage=USAGE)},
)
GENERATED = len("Which lamp?") + len("The lamp turns at dusk.") + len('look_up{"q":"tide"}')
"""Bytes of what the stream generates."""

RESPONSES_STREAM = b"".join(
    event({"type": payload["type"], "sequence_number": number} | payload)
    for number, payload in enumerate(RESPONSES_PAYLOADS)
)

RESPONSES_ANSWER = json.dumps(response("completed", output=list(_ITEMS), usage=USAGE), indent=2).encode()
RESPONSES_QUEUED = json.dumps(response("queued", background=True), indent=2).encode()
RESPONSES_ERROR = event(
    {"type": "error", "code": "server_error", "message": "secret words", "param": None, "sequence_number": 9}
)
RESPONSES_FAILED = event(
    {
        "type": "response.failed",
        "sequence_number": 9,
        "response": response("failed", error={"code": "rate_limit_exceeded", "message": "secret words"}),
    }
)
COMPACTED_ANSWER = json.dumps(
    {
        "id": "resp_001",
        "object": "response.compaction",
        "created_at": 1757000700,
        "output": [{"id": "cmp_001", "type": "compaction", "encrypted_content": "gAAAAABpM0Yj"}],
        "usage": USAGE,
    }
).encode()

_HEAD = (
    b'data: {"id":"cmpl-C8vBq2mR","object":"text_completion","created":1757000000,'
    b'"model":"gpt-3.5-turbo-instruct:20230824-v2",'
)
COMPLETIONS_STREAM_ASKED = b"".join(
    (
        *(
            _HEAD + b'"choices":[{"text":"%b","index":0,"logprobs":null,"finish_reason":null}],"usage":null}\n\n' % text
            for text in (b"The", b" lamp", b' says \\"usage\\":null.')
        ),
        _HEAD + b'"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"usage":null}\n\n',
        _HEAD + b'"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}\n\n',
        b"data: [DONE]\n\n",
    )
)
COMPLETIONS_STREAM_PLAIN = b"".join(
    block + b"\n\n"
    for block in COMPLETIONS_STREAM_ASKED.replace(b',"usage":null', b"").split(b"\n\n")
    if block and b'"choices":[],' not in block
)
"""The same answer without the option."""

COMPLETIONS_ANSWER = (
    b'{\n  "id": "cmpl-C8vC1",\n  "object": "text_completion",\n  "created": 1757000200,\n'
    b'  "model": "gpt-3.5-turbo-instruct:20230824-v2",\n  "choices": [\n'
    b'    {\n      "text": "\\n\\nThe lamp turns.",\n      "index": 0,\n      "logprobs": null,\n'
    b'      "finish_reason": "length"\n    },\n'
    b'    {\n      "text": "At dusk.",\n      "index": 1,\n      "logprobs": null,\n'
    b'      "finish_reason": "stop"\n    }\n  ],\n'
    b'  "usage": {\n    "prompt_tokens": 5,\n    "completion_tokens": 11,\n    "total_tokens": 16\n  }\n}\n'
)

_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
MODERATIONS_ANSWER = json.dumps(
    {
        "id": "modr-970d409ef3be",
        "model": "omni-moderation-latest",
        "results": [
            {
                "flagged": False,
                "categories": dict.fromkeys(_CATEGORIES, False),
                "category_scores": dict.fromkeys(_CATEGORIES, 0.0001),
                "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
            }
        ],
    },
    indent=2,
).encode()
