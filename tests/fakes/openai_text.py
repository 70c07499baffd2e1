"""Payloads of OpenAI's responses, legacy completions and moderations, as `openai_api` serves them.

Sources: the types of the installed `openai` SDK (`types/responses/*`, `types/completion*.py`,
`types/moderation_create_response.py`); public 2025–2026 captures of api.openai.com for what a response echoes and for
the order of a stream's events. Responses report usage in their last event, asked or not; completions only if asked.
"""

from __future__ import annotations

from typing import Any

TEXT = "Hello! How can I help you today?"
PIECES = ("Hello", "!", " How", " can", " I", " help", " you", " today", "?")
INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS = 1117, 1024, 74, 64
PROMPT_TOKENS, COMPLETION_TOKENS = 5, 9
CREATED = 1_769_092_764
RESPONSE_ID = "resp_68c0a1f0d2a48190"

_RESOLVED = {"gpt-5-mini": "gpt-5-mini-2025-08-07", "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct:20230824-v2"}
_PART = {"type": "output_text", "annotations": [], "logprobs": []}


def response(asked: dict[str, Any]) -> dict[str, Any]:
    """A whole response; one that was asked for in the background is only queued."""
    if asked.get("background"):
        return _response(asked, "queued")
    return _response(asked, "completed", output=[_message("completed", [_PART | {"text": TEXT}])], usage=_usage())


def response_events(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a streamed response, in order."""
    where = {"item_id": "msg_68c0", "output_index": 0}
    part = where | {"content_index": 0}
    started = _response(asked, "in_progress")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": _message("in_progress", [])},
        {"type": "response.content_part.added", **part, "part": _PART | {"text": ""}},
    ]
    events += [{"type": "response.output_text.delta", **part, "delta": piece, "logprobs": []} for piece in PIECES]
    done = _PART | {"text": TEXT}
    events += [
        {"type": "response.output_text.done", **part, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **part, "part": done},
        {"type": "response.output_item.done", "output_index": 0, "item": _message("completed", [done])},
        {"type": "response.completed", "response": response(asked)},
    ]
    return [
        {"type": event["type"], "sequence_number": number, **event, **_padding(event, number)}
        for number, event in enumerate(events)
    ]


def completion(asked: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"text": f"\n\n{TEXT}", "index": index, "logprobs": None, "finish_reason": "stop"}
        for index in range(asked.get("n") or 1)
    ]
    return _completion(asked) | {"choices": choices, "usage": _completion_usage()}


def completion_chunks(asked: dict[str, Any], *, with_usage: bool) -> list[dict[str, Any]]:
    """The chunks of a streamed completion. With `with_usage` every chunk carries `usage`, and one more closes."""
    nothing: dict[str, Any] = {"usage": None} if with_usage else {}
    texts: list[tuple[str, str | None]] = [*((piece, None) for piece in PIECES), ("", "stop")]
    chunks = [
        _completion(asked)
        | {"choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]}
        | nothing
        for text, finish in texts
    ]
    if with_usage:
        chunks.append(_completion(asked) | {"choices": [], "usage": _completion_usage()})
    return chunks


def moderation(asked: dict[str, Any]) -> dict[str, Any]:
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    names = ("harassment", "hate", "self-harm", "sexual", "violence")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(names, False),
        "category_scores": dict.fromkeys(names, 0.0001),
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    model = asked.get("model", "omni-moderation-latest")
    return {"id": "modr-970d409ef3bef3b70c73d8232df86e7d", "model": model, "results": [result] * len(inputs)}


def _response(asked: dict[str, Any], status: str, **members: Any) -> dict[str, Any]:
    return {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": bool(asked.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "model": _RESOLVED.get(asked["model"], asked["model"]),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": asked.get("previous_response_id"),
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    } | members


def _message(status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "msg_68c0", "type": "message", "status": status, "content": content, "role": "assistant"}


def _usage() -> dict[str, Any]:
    return {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS, "cache_write_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }


def _completion(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "cmpl-D0q8CZXN1uEzngZGkU7F",
        "object": "text_completion",
        "created": CREATED,
        "model": _RESOLVED.get(asked["model"], asked["model"]),
    }


def _completion_usage() -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }


def _padding(event: dict[str, Any], number: int) -> dict[str, str]:
    """`obfuscation` evens out the sizes of deltas with random letters; ours are fixed."""
    return {"obfuscation": "ZGFlRK2aBvkJ0wmdEAC"[: 3 + number % 5]} if event["type"].endswith(".delta") else {}
