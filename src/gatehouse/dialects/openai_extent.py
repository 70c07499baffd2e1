"""How large requests in OpenAI's dialects may become: chat and text completions, responses.

Rules: those of `extent`. Tools that the caller runs cost nothing beside their text; those the provider runs are
bounded where the request bounds them (responses: `max_tool_calls`, for searches) and else nobody can say. What a
compatible provider adds (`models`, `plugins`, `search_parameters`, `data_sources`) makes a request unbounded too.
Sources: `openai.types.chat` (content parts, `completion_create_params`), `openai.types.responses` (`tool_param`,
`response_input_item_param`, `response_create_params`), `openai.types.completion_create_params`; OpenRouter's reference
(`models`, `plugins`), xAI's (`search_parameters`), Azure's (`data_sources`); OpenAI's guides on predictions and on
service tiers, and Groq's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse.dialects.extent import Tally, begins, length, present, reader, standard
from gatehouse.dialects.extent_shapes import (
    Chat,
    Completion,
    Container,
    File,
    ImageEdit,
    ImageUrl,
    Item,
    Part,
    Parts,
    Response,
    Speech,
    Tool,
)
from gatehouse.model.call import Extent

CHAT_NAMES: Final = frozenset(
    "tools prediction web_search_options plugins search_parameters data_sources models service_tier".split()
)
RESPONSE_NAMES: Final = frozenset(
    "tools max_tool_calls prompt previous_response_id conversation context_management models service_tier".split()
)

_decode_chat: Final = msgspec.json.Decoder(Chat).decode
_decode_completion: Final = msgspec.json.Decoder(Completion).decode
_decode_response: Final = msgspec.json.Decoder(Response).decode
_decode_url: Final = msgspec.json.Decoder(ImageUrl).decode
_decode_file: Final = msgspec.json.Decoder(File).decode
_decode_container: Final = msgspec.json.Decoder(Container).decode
_decode_speech: Final = msgspec.json.Decoder(Speech).decode
_decode_edit: Final = msgspec.json.Decoder(ImageEdit).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_TEXTS: Final = frozenset(
    ("text", "refusal", "thinking", "input_text", "output_text", "summary_text", "reasoning_text")
)
_PLAIN_ITEMS: Final = frozenset(
    "message function_call function_call_output custom_tool_call custom_tool_call_output local_shell_call "
    "local_shell_call_output apply_patch_call apply_patch_call_output computer_call computer_call_output "
    "mcp_approval_request mcp_approval_response".split()
)
"""Items of an input that are all there: what they hold is text, or parts."""
_CALLERS: Final = frozenset("function custom namespace local_shell apply_patch computer computer_use_preview".split())
"""Tools that the caller runs."""
_STATELESS: Final = ("web_search", "mcp", "tool_search")
"""Beginnings of the provider's own tools that work on nothing it keeps."""
_TIERS: Final = frozenset((b"null", b'"auto"', b'"default"', b'"flex"', b'"on_demand"'))
"""Charged by the list or less: OpenAI's, and Groq's word for its own. `auto` is what holds without any."""
_TIER: Final = b"service_tier"
_BACKSLASH: Final = b"\\"
"""A single byte is found ten times as fast."""
_ESCAPE: Final = b"\\u"
_MESSAGES: Final = (b'"messages":', b'"messages": ')
_SPACE: Final = ord(" ")
_BEGINS_ELEMENT: Final = (ord("["), ord(","))
_HARMLESS: Final = (
    b'"stream_options":', b'"stream_options": ', b'"response_format":', b'"response_format": ',
    b'"metadata":', b'"metadata": ', b'"logit_bias":', b'"logit_bias": ',
)  # fmt: skip
"""What else may stand before an opening brace in a plain body."""
_INLINE_IMAGE: Final = b'"data:image/'


def _take_chat(body: bytes, tally: Tally) -> None:
    chat = _decode_chat(body)
    for turn in chat.messages or ():
        _take_content(turn.content, tally)
        if present(turn.audio):
            tally.add_unknown(stored=True)
        if present(turn.images):
            tally.add_unknown()
    for tool in chat.tools or ():
        tally.tools = True
        if tool.type not in _CALLERS:
            tally.refuse(_runs(tool))
    for name, raw in (
        ("web_search_options", chat.web_search_options),
        ("plugins", chat.plugins),
        ("search_parameters", chat.search_parameters),
        ("data_sources", chat.data_sources),
    ):
        if present(raw):
            tally.refuse(f"`{name}` lets the provider run tools of its own, without a maximum")
    if present(chat.models):
        tally.refuse("`models` names further models")
    _take_tier(chat.service_tier, tally)
    if present(chat.prediction):
        tally.prediction = length(chat.prediction)


def _take_tier(tier: msgspec.Raw, tally: Tally) -> None:
    if not standard(tier, _TIERS):
        tally.refuse("`service_tier` asks for more than the standard service, at a price of its own")


def _is_plain(body: bytes) -> bool:
    """Whether a chat's messages are texts, and there are no tools: told by the brackets alone, in a body with one space
    at most behind its punctuation.

    Its only array is that of the messages; its only objects are the elements of an array, or members that change
    nothing. Brackets in texts only make it look less plain. All else that matters is an array or an object itself, but
    for the tier, whose name stands there, or is escaped.
    """
    if body.find(_BACKSLASH) >= 0 and body.find(_ESCAPE) >= 0 or body.find(_TIER) >= 0:
        return False
    array = body.find(b"[")
    if not body.endswith(_MESSAGES, 0, array) or body.find(b"[", array + 1) >= 0 or body[:1] != b"{":
        return False
    at = body.find(b"{", 1)
    while at > 0:
        before = body[at - 2] if body[at - 1] == _SPACE else body[at - 1]
        if before not in _BEGINS_ELEMENT and not body.endswith(_HARMLESS, 0, at):
            return False
        at = body.find(b"{", at + 1)
    return True


def _take_content(content: Parts, tally: Tally) -> None:
    if isinstance(content, list):
        for part in content:
            _take_part(part, tally)
    elif isinstance(content, Part):
        _take_part(content, tally)


def _take_part(part: Part, tally: Tally) -> None:
    if part.type in _TEXTS:
        return
    if part.type in ("image_url", "input_image", "computer_screenshot") and not present(part.file_id):
        url = _decode_url(part.image_url).url if begins(part.image_url, b"{") else part.image_url
        if begins(url, _INLINE_IMAGE):
            tally.add_image(url)
        else:
            tally.add_unknown()
    elif part.type == "input_audio" and present(part.input_audio):
        tally.add_audio(part.input_audio)
    else:
        named = present(part.file_id) or (present(part.file) and present(_decode_file(part.file).file_id))
        tally.add_unknown(stored=named)


def _take_completion(body: bytes, tally: Tally) -> None:
    completion = _decode_completion(body)
    prompts = 1
    if begins(completion.prompt, b"["):
        # Texts, or lists of tokens; a single list of tokens is one prompt.
        each = _decode_list(completion.prompt)
        prompts = len([prompt for prompt in each if begins(prompt, b'"') or begins(prompt, b"[")]) or 1
    tally.answers = prompts * max(1, completion.n or 1, completion.best_of or 1)


def _take_response(body: bytes, tally: Tally) -> None:
    response = _decode_response(body)
    if isinstance(response.input, list):
        for item in response.input:
            _take_item(item, tally)
    if present(response.previous_response_id) or present(response.conversation):
        tally.add_unknown(stored=True)
    if present(response.prompt):
        tally.stored = True
        tally.refuse("`prompt` names a stored prompt, whose model and tools are not known")
    if present(response.context_management):
        tally.refuse("`context_management` lets the provider sum up the conversation, at a cost of its own")
    if present(response.models):
        tally.refuse("`models` names further models")
    _take_tier(response.service_tier, tally)
    for tool in response.tools or ():
        tally.tools = True
        _take_tool(tool, response.max_tool_calls, tally)


def _take_item(item: Item, tally: Tally) -> None:
    kind = item.type or "message"
    if kind == "reasoning":
        # Without its encrypted content it is an id, and the provider adds what it keeps under it.
        if not present(item.encrypted_content):
            tally.add_unknown(stored=True)
    elif kind not in _PLAIN_ITEMS:
        tally.add_unknown(stored=kind == "item_reference")
    else:
        _take_content(item.content, tally)
        _take_content(item.output, tally)


def _take_tool(tool: Tool, most: int | None, tally: Tally) -> None:
    if tool.type in _CALLERS:
        return
    tally.stored = tally.stored or _names_kept(tool)
    searches = tool.type is not None and tool.type.startswith("web_search")
    if not searches and tool.type != "file_search":
        tally.refuse(_runs(tool))
    elif most is None:
        tally.refuse(f"{_runs(tool)}: `max_tool_calls` would be one")
    else:
        most = max(0, most)
        tally.rounds = most
        if searches:
            tally.searches = most
        else:
            tally.file_searches = most


def _names_kept(tool: Tool) -> bool:
    """Whether a tool that the provider runs may work on what it keeps: a new kind may."""
    if tool.type == "code_interpreter":
        container = tool.container
        return present(container) and not (
            begins(container, b"{") and not present(_decode_container(container).file_ids)
        )
    if tool.type == "image_generation":
        mask = tool.input_image_mask
        return present(mask) and present(_decode_file(mask).file_id)
    return tool.type is None or not tool.type.startswith(_STATELESS)


def _take_speech(body: bytes, tally: Tally) -> None:
    tally.stored = begins(_decode_speech(body).voice, b"{")


def _take_image_edit(body: bytes, tally: Tally) -> None:
    edit = _decode_edit(body)
    named = [image for image in (edit.mask, *(edit.images or ())) if image is not None and present(image.file_id)]
    tally.stored = bool(named)


def _runs(tool: Tool) -> str:
    return f"the tool `{(tool.type or '')[:64]}` runs at the provider, without a maximum"


def chat_extent(body: bytes) -> Extent:
    """How large a chat completion's request may become."""
    return Extent(len(body)) if _is_plain(body) else _chat_extent(body)


_chat_extent: Final[Callable[[bytes], Extent]] = reader(_take_chat)
completion_extent: Final[Callable[[bytes], Extent]] = reader(_take_completion)
"""The same of a text completion."""
response_extent: Final[Callable[[bytes], Extent]] = reader(_take_response)
"""The same of a request for a response."""
speech_extent: Final[Callable[[bytes], Extent]] = reader(_take_speech)
"""What a request for speech names; what it costs, nobody can say."""
image_edit_extent: Final[Callable[[bytes], Extent]] = reader(_take_image_edit)
"""The same of one for an image to be edited."""
