"""How large requests for Anthropic's messages may become.

Rules: those of `extent`. Tools that the caller runs cost their text and the instructions that come with them; searching
and fetching are bounded by `max_uses`, all else that runs at the provider by nothing. Documents count as what nobody
can tell unless they are text: each page is read as text and as an image.
Sources: `anthropic.types` (`tool_union_param`, `…_block_param`, `beta.message_create_params`), Anthropic's pages on
PDF support, the web search and web fetch tools, server-side fallback, compaction, fast mode and data residency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse.dialects.extent import Tally, begins, present, reader, standard
from gatehouse.dialects.extent_shapes import Block, Messages, Source, Tool
from gatehouse.model.call import Extent

NAMES: Final = frozenset(
    "system tools context_management mcp_servers fallbacks compaction container thread speed inference_geo".split()
)

_decode: Final = msgspec.json.Decoder(Messages).decode

_TEXTS: Final = frozenset("text tool_use thinking redacted_thinking server_tool_use tool_reference".split())
_SPEEDS: Final = frozenset((b"null", b'"standard"'))
_PLACES: Final = frozenset((b"null", b'"global"'))
_CALLERS: Final = ("bash_20", "text_editor_20", "computer_20", "memory_20")
"""What the types of tools that the caller runs begin with."""


def _take(body: bytes, tally: Tally) -> None:
    messages = _decode(body)
    _take_content(messages.system, tally)
    for turn in messages.messages or ():
        _take_content(turn.content, tally)
    for tool in messages.tools or ():
        tally.tools = True
        _take_tool(tool, tally)
    management = messages.context_management
    if present(messages.compaction) or (
        management is not None and any(not edit.type.startswith("clear_") for edit in management.edits or ())
    ):
        tally.refuse("the provider may sum up the conversation, at a cost of its own")
    if present(messages.mcp_servers) and not begins(messages.mcp_servers, b"[]"):
        tally.refuse("`mcp_servers` run at the provider, without a maximum")
    if present(messages.fallbacks) and not begins(messages.fallbacks, b"[]"):
        tally.refuse("`fallbacks` names further models")
    if present(messages.container):
        tally.stored = True
        tally.refuse("`container` is charged by time")
    if not standard(messages.speed, _SPEEDS):
        tally.refuse("`speed` asks for a faster answer, at a price of its own")
    if not standard(messages.inference_geo, _PLACES):
        tally.refuse("`inference_geo` names a region, at a price of its own")
    if present(messages.thread):
        tally.add_unknown(stored=True)


def _take_content(content: list[Block] | str | dict[str, msgspec.Raw] | None, tally: Tally) -> None:
    """Blocks, or a text; results of the provider's own tools may be an object."""
    if isinstance(content, dict):
        tally.add_unknown()
    elif isinstance(content, list):
        for block in content:
            if block.type not in _TEXTS:
                _take_block(block, tally)


def _take_block(block: Block, tally: Tally) -> None:
    source = block.source
    if block.type in ("tool_result", "search_result"):
        _take_content(block.content, tally)
    elif block.type in ("image", "document") and isinstance(source, Source):
        _take_source(block.type, source, tally)
    else:
        tally.add_unknown(stored=block.type == "container_upload")


def _take_source(kind: str, source: Source, tally: Tally) -> None:
    if source.type == "base64" and kind == "image":
        tally.add_image(source.data)
    elif source.type == "content" and kind == "document":
        _take_content(source.content, tally)
    elif source.type != "text" or kind != "document":
        tally.add_unknown(stored=source.type == "file")


def _take_tool(tool: Tool, tally: Tally) -> None:
    kind = tool.type or "custom"
    if kind == "custom" or kind.startswith(_CALLERS):
        return
    searches = kind.startswith("web_search_")
    if not searches and not kind.startswith("web_fetch_"):
        tally.refuse(f"the tool `{kind[:64]}` runs at the provider, without a maximum")
    elif tool.max_uses is None:
        tally.refuse(f"the tool `{kind[:64]}` runs at the provider, without a maximum: `max_uses` would be one")
    else:
        most = max(0, tool.max_uses)
        tally.rounds += most
        tally.searches += most if searches else 0


messages_extent: Final[Callable[[bytes], Extent]] = reader(_take)
"""(body) → how large a request for a message may become."""
