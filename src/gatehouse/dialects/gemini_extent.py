"""How large requests for Gemini's generateContent, and for its embeddings and caches, may become.

Rules: those of `extent`. Inline images count by formula; inline audio by its bytes, which no format undercuts (32
tokens a second); everything else inline, and what is named by URI, as what nobody can tell. Tools that the provider
runs have no maximum.
Sources: `google.genai.types` (`Part`, `Blob`, `FunctionResponse`, `Tool`, `GenerateContentConfig`), Google's pages on
tokens and on media resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse.dialects.extent import Tally, present, reader, standard
from gatehouse.dialects.extent_shapes import ABSENT, Blob, Content, GeminiPart, Generate
from gatehouse.model.call import Extent

NAMES: Final = frozenset(
    "tools systeminstruction system_instruction cachedcontent cached_content continuationtoken "
    "continuation_token servicetier service_tier".split()
)

_decode: Final = msgspec.json.Decoder(Generate).decode

_CALLERS: Final = frozenset(("functionDeclarations", "function_declarations", "computerUse", "computer_use"))
"""Tools that the caller runs."""
_TIERS: Final = frozenset((b"null", b'"unspecified"', b'"standard"', b'"flex"'))
_STATELESS: Final = frozenset(
    "googleSearch google_search googleSearchRetrieval google_search_retrieval googleMaps google_maps urlContext "
    "url_context codeExecution code_execution enterpriseWebSearch enterprise_web_search mcpServers mcp_servers".split()
)
"""The provider's own that work on nothing it keeps."""


def _take(body: bytes, tally: Tally) -> None:
    asked = _decode(body)
    contents = asked.contents
    for content in (contents,) if isinstance(contents, Content) else contents or ():
        _take_content(content, tally)
    for instruction in (asked.system_instruction, asked.system_instruction_snake):
        if instruction is not None:
            _take_content(instruction, tally)
    for named in (
        asked.cached_content,
        asked.cached_content_snake,
        asked.continuation_token,
        asked.continuation_token_snake,
    ):
        if present(named):
            tally.add_unknown(stored=True)
    if not (standard(asked.service_tier, _TIERS) and standard(asked.service_tier_snake, _TIERS)):
        tally.refuse("`serviceTier` asks for more than the standard service, at a price of its own")
    tools = asked.tools
    for tool in (tools,) if isinstance(tools, dict) else tools or ():
        tally.tools = True
        for name in tool:
            if name not in _CALLERS:
                tally.stored = tally.stored or name not in _STATELESS
                tally.refuse(f"the tool `{name[:64]}` runs at the provider, without a maximum")


def _take_content(content: Content, tally: Tally) -> None:
    parts = content.parts
    for part in (parts,) if isinstance(parts, GeminiPart) else parts or ():
        for blob in (part.inline_data, part.inline_data_snake):
            if blob is not None:
                _take_blob(blob, tally)
        if present(part.file_data) or present(part.file_data_snake):
            tally.add_unknown(stored=True)
        for response in (part.function_response, part.function_response_snake):
            if response is not None and present(response.parts):
                tally.add_unknown()


def _take_blob(blob: Blob, tally: Tally) -> None:
    kind = blob.mime_type or blob.mime_type_snake or ""
    if kind.startswith("image/") and blob.data is not ABSENT:
        tally.add_image(blob.data)
    elif kind.startswith("audio/"):
        tally.dear = True
    elif not kind.startswith("text/"):
        tally.add_unknown()


def _take_embedding(body: bytes, tally: Tally) -> None:
    """Embeddings of text count by its bytes; what else they embed is not read."""
    if b"ile_data" in body or b"ileData" in body or b"nlineData" in body or b"nline_data" in body or b"\\u00" in body:
        tally.refuse("what it embeds is not text")


def _take_cache(body: bytes, tally: Tally) -> None:
    """Nothing is generated, and tools are only kept."""
    _take(body, tally)
    tally.unbounded = None


generate_extent: Final[Callable[[bytes], Extent]] = reader(_take)
"""(body) → how large a request to generate content may become."""
embedding_extent: Final[Callable[[bytes], Extent]] = reader(_take_embedding)
"""The same of a request for embeddings."""
cache_extent: Final[Callable[[bytes], Extent]] = reader(_take_cache)
"""The same of a request for a cache."""
