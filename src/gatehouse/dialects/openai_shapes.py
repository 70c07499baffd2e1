"""What OpenAI's chat bodies look like to msgspec: only the members anybody here reads.

Rules: a member is generic where it is decoded twice: strictly as what it should be, else as anything. What is decoded
is a tree, and the garbage collector need not look at it (`gc=False`). Types only; apart from those who use them because
msgspec cannot read the annotations of a compiled module.
Sources: as in `openai_chat` and `openai_tokens`.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from gatehouse.dialects.links_shapes import Elements

# What members are decoded as: as they should be, or as anything.
S = TypeVar("S")
W = TypeVar("W")
R = TypeVar("R")
N = TypeVar("N")
"""A count: `values.Count` where it is decoded strictly, anything where not."""


class Details(msgspec.Struct, Generic[N], gc=False):
    """`prompt_tokens_details` or `completion_tokens_details`."""

    cached_tokens: N | None = None
    cache_write_tokens: N | None = None
    audio_tokens: N | None = None
    image_tokens: N | None = None
    reasoning_tokens: N | None = None


class UsageObject(msgspec.Struct, Generic[N], gc=False):
    """A `usage` object."""

    prompt_tokens: N | None = None
    completion_tokens: N | None = None
    total_tokens: N | None = None
    prompt_tokens_details: Details[N] | None = None
    completion_tokens_details: Details[N] | None = None
    cached_tokens: N | None = None
    prompt_cache_hit_tokens: N | None = None
    cache_read_input_tokens: N | None = None
    reasoning_tokens: N | None = None


class Body(msgspec.Struct, Generic[S, N, R], gc=False):
    model: S | None = None
    stream: Any = None
    stream_options: Any = None
    max_tokens: N | None = None
    max_completion_tokens: N | None = None
    temperature: R | None = None
    top_p: R | None = None
    n: N | None = None
    messages: Elements = None


class Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None


class ToolCall(msgspec.Struct, gc=False):
    id: Any = None
    function: Function | None = None
    custom: Any = None


class Audio(msgspec.Struct, gc=False):
    data: Any = None
    transcript: Any = None


class Message(msgspec.Struct, gc=False):
    """A message, or the part of one that a chunk brings."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None


class Choice(msgspec.Struct, Generic[W, N], gc=False):
    """A choice of a completion, or of a chunk of one; legacy completions have `text` instead of a message."""

    index: N | None = None
    delta: Message | None = None
    message: Message | None = None
    text: Any = None
    finish_reason: W | None = None
    usage: UsageObject[N] | None = None


class XGroq(msgspec.Struct, Generic[N], gc=False):
    usage: UsageObject[N] | None = None


class Answer(msgspec.Struct, Generic[S, W, N], gc=False):
    """A chat completion, or a chunk of one."""

    id: S | None = None
    model: S | None = None
    choices: list[Choice[W, N]] | None = None
    usage: UsageObject[N] | None = None
    x_groq: XGroq[N] | None = None
    error: Any = None


class UsageChunk(msgspec.Struct, gc=False):
    """What of a chunk tells whether it carries usage."""

    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
