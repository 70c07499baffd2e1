"""Chat completions of the simulated provider, whole and streamed.

Shapes from openai-py 3.52 (`types/chat/chat_completion.py`, `chat_completion_chunk.py`): with `include_usage` every
chunk carries `usage: null` and one more chunk without choices carries the numbers; without it no chunk has the field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from gatehouse.simulated.request import ChatRequest
from gatehouse.simulated.text import identifier, pieces, prompt_tokens, reply
from gatehouse.simulated.tools import Call, instance, tool_results, wanted_calls

Piece = tuple[float, bytes]
"""Seconds to wait before it, and the bytes."""

FINGERPRINT: Final = "fp_simulated"
_PER_MESSAGE: Final = 4
"""Tokens a message counts as beside its text."""


class Choice(NamedTuple):
    """One generated answer, as the tokens it consists of."""

    tokens: list[str]
    calls: list[tuple[Call, list[str]]]
    finish_reason: str

    def completion_tokens(self) -> int:
        """What this choice counts as; a function's name is one token."""
        return len(self.tokens) + sum(len(arguments) + 1 for _, arguments in self.calls)


class Generated(NamedTuple):
    """A finished generation: what both forms of answer are cut from."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: dict[str, Any]


def generate(request: ChatRequest, body: bytes, created: int) -> Generated:
    """Everything an answer holds. `created`: Unix time to stamp on it."""
    calls = wanted_calls(request)
    choices = [_called(calls, request) if calls else _said(request, index) for index in range(request.n or 1)]
    prompt = sum(prompt_tokens(message.text()) + _PER_MESSAGE for message in request.messages)
    prompt += sum(prompt_tokens(call.function.arguments) for m in request.messages for call in m.tool_calls or ())
    if request.tools:
        prompt += prompt_tokens(msgspec.json.encode(request.tools).decode())
    completion = sum(choice.completion_tokens() for choice in choices)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return Generated(identifier("chatcmpl-", body), created, request.model, choices, usage)


def whole(generated: Generated) -> bytes:
    """The answer as one JSON body."""
    return msgspec.json.encode(
        {
            "id": generated.id,
            "object": "chat.completion",
            "created": generated.created,
            "model": generated.model,
            "choices": [
                {
                    "index": index,
                    "message": {
                        "role": "assistant",
                        "content": "".join(choice.tokens) if not choice.calls else None,
                        "refusal": None,
                        **({"tool_calls": _tool_calls(generated, index)} if choice.calls else {}),
                    },
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(generated.choices)
            ],
            "usage": generated.usage,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }
    )


def streamed(generated: Generated, include_usage: bool, seconds_per_token: float) -> Iterator[Piece]:
    """The answer as server-sent events. The choices of one step come together, a step per token."""
    head: dict[str, Any] = {
        "id": generated.id,
        "object": "chat.completion.chunk",
        "created": generated.created,
        "model": generated.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    tail: dict[str, Any] = {"usage": None} if include_usage else {}
    queues = [_deltas(generated, index) for index in range(len(generated.choices))]
    delay = 0.0
    while queues:
        running = []
        for queue in queues:
            choice = next(queue, None)
            if choice is not None:
                running.append(queue)
                yield delay, _event(head | {"choices": [choice]} | tail)
                delay = 0.0
        queues = running
        delay = seconds_per_token
    if include_usage:
        yield 0.0, _event(head | {"choices": [], "usage": generated.usage})
    yield 0.0, b"data: [DONE]\n\n"


def _deltas(generated: Generated, index: int) -> Iterator[dict[str, Any]]:
    """The `choices` entries of one choice's chunks, in order."""
    choice = generated.choices[index]

    def entry(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    yield entry({"role": "assistant", "content": None if choice.calls else "", "refusal": None})
    for token in choice.tokens:
        yield entry({"content": token})
    for position, (call, (_, arguments)) in enumerate(zip(_tool_calls(generated, index), choice.calls, strict=True)):
        opened = {"index": position, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield entry({"tool_calls": [opened]})
        for token in arguments:
            yield entry({"tool_calls": [{"index": position, "function": {"arguments": token}}]})
    yield entry({}, choice.finish_reason)


def _tool_calls(generated: Generated, index: int) -> list[dict[str, Any]]:
    return [
        {
            "id": identifier("call_", f"{generated.id} {index} {position}".encode()),
            "type": "function",
            "function": {"name": call.name, "arguments": "".join(arguments)},
        }
        for position, (call, arguments) in enumerate(generated.choices[index].calls)
    ]


def _said(request: ChatRequest, index: int) -> Choice:
    text = _text(request, index)
    for stop in request.stops():
        if stop:
            text = text.partition(stop)[0]
    tokens = pieces(text)
    limit = request.output_limit()
    return Choice(tokens[:limit], [], "length" if len(tokens) > limit else "stop")


def _text(request: ChatRequest, index: int) -> str:
    shape = request.response_format
    if shape is not None and shape.type == "json_schema" and shape.json_schema is not None:
        return msgspec.json.encode(instance(shape.json_schema.schema)).decode()
    prompt = next((m.text() for m in reversed(request.messages) if m.role == "user"), "")
    text = tool_results(request) or reply(prompt, index)
    if shape is not None and shape.type == "json_object":
        return msgspec.json.encode({"answer": text}).decode()
    return text


def _called(calls: list[Call], request: ChatRequest) -> Choice:
    """A choice that calls tools, cut at the output limit like any other."""
    left = request.output_limit()
    kept: list[tuple[Call, list[str]]] = []
    for call in calls:
        if left < 1:
            return Choice([], kept, "length")
        tokens = pieces(call.arguments)
        kept.append((call, tokens[: left - 1]))
        left -= len(tokens) + 1
        if left < 0:
            return Choice([], kept, "length")
    return Choice([], kept, "tool_calls")


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
