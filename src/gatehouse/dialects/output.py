"""The output maximum of a request: the member each dialect names it by, and setting it.

Only for calls under a limit of tokens or spend: a caller who names none gets one, and `clamp` lowers one.

Rules: sans-I/O; only that member changes, every other byte stays (I1); what already names less is left alone. Where
nobody knows which member a provider reads (names repeated, in other capitals, or twice in different spellings) there is
no answer, and the call is the caller's to repair.
Sources: `openai.types.chat.completion_create_params` (`max_tokens` is deprecated there, and reasoning models refuse it,
while most compatible servers know nothing else), `openai.types.responses`, `anthropic.types.message_create_params`,
`google.genai.types.GenerateContentConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

import msgspec

from gatehouse.dialects.nesting import QUOTE, spaces
from gatehouse.dialects.positions import Names, Span, doubt, locate, locate_slices, names
from gatehouse.dialects.values import UNREADABLE, count
from gatehouse.model.call import Dialect

GEMINI: Final = "generationConfig.maxOutputTokens"

_FIELDS: Final[dict[tuple[Dialect, str], frozenset[str]]] = {
    ("openai", "chat"): frozenset(("max_completion_tokens", "max_tokens")),
    ("openai", "completions"): frozenset(("max_tokens",)),
    ("openai", "responses"): frozenset(("max_output_tokens",)),
    ("anthropic", "messages"): frozenset(("max_tokens",)),
    ("google", "generate_content"): frozenset(("generationConfig", "generation_config")),
    ("google", "stream_generate_content"): frozenset(("generationConfig", "generation_config")),
}
_GEMINI_INNER: Final = names("maxOutputTokens", "max_output_tokens")
_GENERATE: Final = names(
    *"model contents tools generationConfig generation_config systemInstruction system_instruction cachedContent "
    "cached_content continuationToken continuation_token serviceTier service_tier".split()
)
_MATTERS: Final[dict[tuple[Dialect, str], Names]] = {
    ("openai", "chat"): names(
        *"model models messages tools n stream max_tokens max_completion_tokens prediction web_search_options "
        "plugins search_parameters data_sources service_tier".split()
    ),
    ("openai", "completions"): names(*"model prompt n best_of stream max_tokens".split()),
    ("openai", "responses"): names(
        *"model models input tools max_output_tokens max_tool_calls prompt previous_response_id conversation "
        "background stream context_management service_tier".split()
    ),
    ("anthropic", "messages"): names(
        *"model messages system tools max_tokens stream context_management mcp_servers fallbacks compaction container "
        "thread speed inference_geo".split()
    ),
    ("google", "generate_content"): _GENERATE,
    ("google", "stream_generate_content"): _GENERATE,
}
_OPENAI_MODELS: Final = re.compile(r"(?:o\d|gpt-[5-9])")
"""Reasoning models, wherever they are served under their own names: those refuse `max_tokens`."""
_WITH_COMPLETION: Final = frozenset(("openai", "azure"))
"""Providers whose chat knows `max_completion_tokens` for every model."""

_CLOSE: Final = ord("}")

_decode: Final = msgspec.json.Decoder().decode


def output_field(dialect: Dialect, endpoint: str, provider: str, model: str | None) -> str | None:
    """The member to name an output maximum by; `None` where requests to the endpoint have none."""
    fields = _FIELDS.get((dialect, endpoint))
    if fields is None:
        return None
    if dialect == "google":
        return GEMINI
    if len(fields) == 1:
        (field,) = fields
        return field
    newer = provider in _WITH_COMPLETION or (model is not None and _OPENAI_MODELS.match(model))
    return "max_completion_tokens" if newer else "max_tokens"


def with_output(body: bytes, dialect: Dialect, endpoint: str, field: str, most: int) -> bytes | None:
    """The body with an output maximum of `most` at most: itself where it names that or less. `None`: nobody knows what
    the provider will read of it (`ambiguity` says why), here or in any other member that limits depend on.

    `field`: as `output_field` says, for a body that names none. For bodies that `locate` is for; else
    `with_output_slices`.
    """
    return _set(body, dialect, endpoint, locate(body, _MATTERS[dialect, endpoint]), field, most)


def with_output_slices(
    body: bytes, dialect: Dialect, endpoint: str, field: str, most: int
) -> Generator[None, None, bytes | None]:
    """The same for a body of any size; yields between slices."""
    spans = yield from locate_slices(body, _MATTERS[dialect, endpoint])
    return _set(body, dialect, endpoint, spans, field, most)


def ambiguity(body: bytes, dialect: Dialect, endpoint: str) -> Generator[None, None, str | None]:
    """Why nobody knows what the provider will read of what limits depend on; yields between slices of a large body."""
    wanted = _MATTERS.get((dialect, endpoint))
    if wanted is None:
        return None
    why = yield from doubt(body, wanted)
    if why is None and dialect == "google":
        why = _gemini_doubt(body)
    return why


def _set(
    body: bytes, dialect: Dialect, endpoint: str, found: dict[str, Span] | None, field: str, most: int
) -> bytes | None:
    if found is None:
        return None
    spans = {name: found[name] for name in _FIELDS[dialect, endpoint] if name in found}
    if dialect == "google":
        return _set_gemini(body, spans, most)
    return _set_flat(body, spans, field, most)


def _gemini_doubt(body: bytes) -> str | None:
    spans = locate(body, _GENERATE) or {}
    if len(spans.keys() & _FIELDS["google", "generate_content"]) > 1:
        return "the body has both `generationConfig` and `generation_config`"
    if _set_gemini(body, {name: span for name, span in spans.items() if name.startswith("generation")}, 0) is None:
        return "the body's `generationConfig` is no object that names an output maximum once at most"
    return None


def _set_flat(body: bytes, spans: dict[str, Span], field: str, most: int) -> bytes | None:
    """Every member of `spans` names `most` or less afterwards; `field` is added where there is none."""
    if not spans:
        return _insert(body, b'"%b":%d' % (field.encode(), most))
    for start, end in sorted(spans.values(), reverse=True):
        named = _number(body[start:end])
        if not named or named > most:  # 0 is how protocol buffers say nothing
            body = b"".join((body[:start], b"%d" % most, memoryview(body)[end:]))
    return body


def _set_gemini(body: bytes, spans: dict[str, Span], most: int) -> bytes | None:
    if not spans:
        return _insert(body, b'"generationConfig":{"maxOutputTokens":%d}' % most)
    if len(spans) > 1:
        return None
    ((start, end),) = spans.values()
    config = body[start:end]
    if config == b"null":
        changed: bytes | None = b'{"maxOutputTokens":%d}' % most
    else:
        inner = locate(config, _GEMINI_INNER) if config.startswith(b"{") else None
        if inner is None or len(inner) > 1:
            return None
        changed = _set_flat(config, inner, "maxOutputTokens", most)
    if changed is None:
        return None
    return body if changed == config else b"".join((body[:start], changed, memoryview(body)[end:]))


def _insert(body: bytes, member: bytes) -> bytes:
    """A member at the beginning of an object."""
    brace = body.index(b"{") + 1
    comma = b"," if body[brace] == QUOTE or body[spaces(body, brace)] != _CLOSE else b""
    return b"".join((body[:brace], member, comma, memoryview(body)[brace:]))


def _number(value: bytes) -> int | None:
    try:
        return count(_decode(value))
    except UNREADABLE:
        return None
