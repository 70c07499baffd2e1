"""What requests look like to msgspec when their worst case is reckoned: all that can make them dearer than their text.

Rules: types only; apart from those who use them because msgspec cannot read the annotations of a compiled module.
Unlike the other `*_shapes`, members are decoded as what they should be: a request that is not is nobody's to bound.
Contents are decoded where they stand, in one pass; what is only measured stays raw.
Sources: as in `openai_extent`, `anthropic_extent` and `gemini_extent`.
"""

from __future__ import annotations

from typing import Final

import msgspec

ABSENT: Final = msgspec.Raw(b"null")
Raw = msgspec.Raw


class Part(msgspec.Struct, gc=False):
    """A part of a message's content, in OpenAI's dialects."""

    type: str = ""
    image_url: Raw = ABSENT
    """Chat: an object with `url`; responses: the URL itself."""
    file_id: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT


class ImageUrl(msgspec.Struct, gc=False):
    url: Raw = ABSENT


class File(msgspec.Struct, gc=False):
    file_id: Raw = ABSENT


Parts = list[Part] | Part | str | None
"""The content of a message: parts, or one of them, or a text."""


class ChatTurn(msgspec.Struct, gc=False):
    """`audio`: an earlier spoken answer, by its id."""

    content: Parts = None
    audio: Raw = ABSENT
    images: Raw = ABSENT


class Tool(msgspec.Struct, gc=False):
    """A tool. `max_uses`: Anthropic's; the others: of tools that OpenAI runs."""

    type: str | None = None
    max_uses: int | None = None
    container: Raw = ABSENT
    input_image_mask: Raw = ABSENT


class Container(msgspec.Struct, gc=False):
    file_ids: Raw = ABSENT


class Chat(msgspec.Struct):
    messages: list[ChatTurn] | None = None
    tools: list[Tool] | None = None
    prediction: Raw = ABSENT
    web_search_options: Raw = ABSENT
    plugins: Raw = ABSENT
    search_parameters: Raw = ABSENT
    data_sources: Raw = ABSENT
    models: Raw = ABSENT
    service_tier: Raw = ABSENT


class Completion(msgspec.Struct):
    prompt: Raw = ABSENT
    n: int | None = None
    best_of: int | None = None


class Speech(msgspec.Struct, gc=False):
    """`voice`: a name, or an object with the id of one that was made."""

    voice: Raw = ABSENT


class ImageEdit(msgspec.Struct, gc=False):
    """Images to be edited, where they come as JSON (docs.zenmux.ai/api/openai/create-image-edit)."""

    images: list[File] | None = None
    mask: File | None = None


class Item(msgspec.Struct, gc=False):
    """An item of the input of a response."""

    type: str | None = None
    content: Parts = None
    output: Parts = None
    encrypted_content: Raw = ABSENT


class Response(msgspec.Struct):
    input: list[Item] | str | None = None
    tools: list[Tool] | None = None
    max_tool_calls: int | None = None
    prompt: Raw = ABSENT
    previous_response_id: Raw = ABSENT
    conversation: Raw = ABSENT
    context_management: Raw = ABSENT
    models: Raw = ABSENT
    service_tier: Raw = ABSENT


class Source(msgspec.Struct):
    """Where an image or a document of Anthropic's comes from."""

    type: str = ""
    data: Raw = ABSENT
    content: list[Block] | str | None = None


class Block(msgspec.Struct):
    """A content block of Anthropic's. `source` of a search result is a text, `content` of some results an object."""

    type: str = ""
    source: Source | str | None = None
    content: list[Block] | str | dict[str, Raw] | None = None


class MessagesTurn(msgspec.Struct):
    content: list[Block] | str | None = None


class Edit(msgspec.Struct, gc=False):
    type: str = ""


class ContextManagement(msgspec.Struct, gc=False):
    edits: list[Edit] | None = None


class Messages(msgspec.Struct):
    messages: list[MessagesTurn] | None = None
    system: list[Block] | str | None = None
    tools: list[Tool] | None = None
    context_management: ContextManagement | None = None
    mcp_servers: Raw = ABSENT
    fallbacks: Raw = ABSENT
    compaction: Raw = ABSENT
    container: Raw = ABSENT
    thread: Raw = ABSENT
    speed: Raw = ABSENT
    inference_geo: Raw = ABSENT


class Blob(msgspec.Struct, rename="camel", gc=False):
    mime_type: str | None = None
    data: Raw = ABSENT
    mime_type_snake: str | None = msgspec.field(default=None, name="mime_type")


class FunctionResponse(msgspec.Struct, gc=False):
    parts: Raw = ABSENT


class GeminiPart(msgspec.Struct, rename="camel", gc=False):
    inline_data: Blob | None = None
    inline_data_snake: Blob | None = msgspec.field(default=None, name="inline_data")
    file_data: Raw = ABSENT
    file_data_snake: Raw = msgspec.field(default=ABSENT, name="file_data")
    function_response: FunctionResponse | None = None
    function_response_snake: FunctionResponse | None = msgspec.field(default=None, name="function_response")


class Content(msgspec.Struct, gc=False):
    parts: list[GeminiPart] | GeminiPart | None = None


class Generate(msgspec.Struct, rename="camel"):
    """Gemini's requests are camelCase or snake_case. A single content may stand without its list."""

    contents: list[Content] | Content | None = None
    system_instruction: Content | None = None
    system_instruction_snake: Content | None = msgspec.field(default=None, name="system_instruction")
    tools: list[dict[str, Raw]] | dict[str, Raw] | None = None
    cached_content: Raw = ABSENT
    cached_content_snake: Raw = msgspec.field(default=ABSENT, name="cached_content")
    continuation_token: Raw = ABSENT
    continuation_token_snake: Raw = msgspec.field(default=ABSENT, name="continuation_token")
    service_tier: Raw = ABSENT
    service_tier_snake: Raw = msgspec.field(default=ABSENT, name="service_tier")
