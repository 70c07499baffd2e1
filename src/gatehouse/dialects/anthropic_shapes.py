"""What Anthropic's message bodies and events look like to msgspec: only the members anybody here reads.

Rules: types only; apart from those who use them because msgspec cannot read the annotations of a compiled module.
Members may be anything: a provider's slip must not cost the rest. Sources: as in `anthropic_messages`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gatehouse.dialects.links_shapes import Elements


class Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    messages: Elements = None


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Any = None
    ephemeral_1h_input_tokens: Any = None


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Any = None


class ServerToolUse(msgspec.Struct, gc=False):
    web_search_requests: Any = None
    web_fetch_requests: Any = None


class UsageObject(msgspec.Struct):
    """A `usage` object, of a message or of a delta."""

    input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation: CacheCreation | None = None
    output_tokens: Any = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerToolUse | None = None


class Block(msgspec.Struct):
    """A content block, or what a delta adds to one."""

    text: Any = None
    thinking: Any = None
    partial_json: Any = None
    name: Any = None
    input: Any = None
    data: Any = None
    stop_reason: Any = None
    id: Any = None


class Error(msgspec.Struct):
    type: Any = None


class Message(msgspec.Struct):
    """A message."""

    id: Any = None
    model: Any = None
    type: Any = None
    content: list[Block] | None = None
    stop_reason: Any = None
    usage: UsageObject | None = None
    error: Error | None = None


class Delta(msgspec.Struct):
    """`content_block_delta`: most events of a stream."""

    delta: Block | None = None


class Event(msgspec.Struct):
    """Any other event."""

    type: Any = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Block | None = None
    usage: UsageObject | None = None
    error: Error | None = None
