"""What the bodies and events of OpenAI's responses look like to msgspec: only the members anybody here reads.

Rules: a member is generic where it is decoded twice: strictly as what it should be, else as anything. Types only; apart
from those who use them because msgspec cannot read the annotations of a compiled module. What is needed only for an
estimate (`output`) or only now and then (`response`, `item`) stays raw until then.
Sources: as in `openai_responses`.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from gatehouse.dialects.links_shapes import Elements
from gatehouse.dialects.openai_shapes import Details, UsageObject

S = TypeVar("S")
W = TypeVar("W")
N = TypeVar("N")

ABSENT: Final = msgspec.Raw(b"null")


class Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_output_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    background: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    input: Elements = None


class ResponseUsage(UsageObject[N], Generic[N]):
    """A `usage` object: the one of chat completions by other names."""

    prompt_tokens: N | None = msgspec.field(default=None, name="input_tokens")
    completion_tokens: N | None = msgspec.field(default=None, name="output_tokens")
    prompt_tokens_details: Details[N] | None = msgspec.field(default=None, name="input_tokens_details")
    completion_tokens_details: Details[N] | None = msgspec.field(default=None, name="output_tokens_details")


class Incomplete(msgspec.Struct, Generic[W], gc=False):
    reason: W | None = None


class Response(msgspec.Struct, Generic[S, W, N]):
    """A response, by itself or inside an event."""

    id: S | None = None
    model: S | None = None
    status: W | None = None
    incomplete_details: Incomplete[W] | None = None
    usage: ResponseUsage[N] | None = None
    tool_usage: Any = None
    output: msgspec.Raw = ABSENT
    error: Any = None


class Item(msgspec.Struct):
    """An item of the output, whatever its kind: what the model may have written in it."""

    name: Any = None
    arguments: Any = None
    input: Any = None
    code: Any = None
    action: Any = None
    actions: Any = None
    operation: Any = None
    queries: Any = None
    content: Any = None
    summary: Any = None
    encrypted_content: Any = None


class Kind(msgspec.Struct, gc=False):
    """An item of the output: which call of which tool it is."""

    type: Any = None
    call_id: Any = None
    action: Any = None


class Event(msgspec.Struct):
    """An event of a stream. `code`: of an `error`, which some put into `error` instead."""

    type: Any = None
    delta: Any = None
    response: msgspec.Raw = ABSENT
    item: msgspec.Raw = ABSENT
    code: Any = None
    error: Any = None
