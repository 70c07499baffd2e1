"""OpenAI's `usage` object, and its relatives', taken apart into disjoint parts.

Inside `prompt_tokens` OpenAI counts cached, cache-written and audio tokens; inside `completion_tokens` reasoning and
audio tokens. Relatives differ, and say so only by their totals:

- xAI counts reasoning beside `completion_tokens` (total = prompt + completion + reasoning);
- where cached tokens exceed `prompt_tokens`, or the total includes them, they are counted beside it;
- DeepSeek also says `prompt_cache_hit_tokens`, Moonshot and others `cached_tokens` at the top, Databricks
  `cache_read_input_tokens`; some say `reasoning_tokens` at the top;
- Moonshot's streams put usage into `choices[0].usage`, Groq's into `x_groq.usage` (see `openai_chat`).

Sources: `openai.types.CompletionUsage`, genai-prices' extractors, xAI's "Consumption and rate limits".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.dialects.values import count
from gatehouse.model.usage import Usage, UsageCheck


class Details(msgspec.Struct, gc=False):
    """`prompt_tokens_details` or `completion_tokens_details`."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None
    reasoning_tokens: Any = None


class UsageObject(msgspec.Struct):
    """A `usage` object."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    cached_tokens: Any = None
    prompt_cache_hit_tokens: Any = None
    cache_read_input_tokens: Any = None
    reasoning_tokens: Any = None


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What a usage object comes to. `whole`: both sides were reported."""

    usage: Usage
    check: UsageCheck
    whole: bool


_NO_DETAILS: Final = Details()


def take_apart(reported: UsageObject, *, generates: bool = True) -> Counted | None:
    """Disjoint parts of one usage object; `None` if it reports nothing. `generates`: false for embeddings."""
    prompt, completion, total = (
        count(reported.prompt_tokens),
        count(reported.completion_tokens),
        count(reported.total_tokens),
    )
    if total is not None:
        if prompt is None and (completion is not None or not generates):
            prompt = max(0, total - (completion or 0))
        if completion is None and prompt is not None:
            completion = max(0, total - prompt)
    if prompt is None and completion is None:
        return None
    whole = prompt is not None and (completion is not None or not generates)
    prompt, completion = prompt or 0, completion or 0
    into = reported.prompt_tokens_details or _NO_DETAILS
    out = reported.completion_tokens_details or _NO_DETAILS
    cached = _number(
        into.cached_tokens
        or reported.prompt_cache_hit_tokens
        or reported.cached_tokens
        or reported.cache_read_input_tokens
    )
    written = _number(into.cache_write_tokens)
    if cached + written > prompt or (cached + written and total == prompt + completion + cached + written):
        prompt += cached + written  # counted beside it
    # Audio may be among the cached; those are counted as cached.
    audio_input = _number(into.audio_tokens)
    if audio_input:
        audio_input = min(prompt - cached - written, audio_input)
    reasoning = _number(out.reasoning_tokens or reported.reasoning_tokens)
    if reasoning and (reasoning > completion or total == prompt + completion + reasoning):
        completion += reasoning  # counted beside it
    audio_output = _number(out.audio_tokens)
    if audio_output:
        audio_output = min(completion - reasoning, audio_output)
    usage = Usage(
        input=prompt - cached - written - audio_input,
        cache_read=cached,
        cache_write=written,
        output=completion - reasoning - audio_output,
        reasoning=reasoning,
        audio_input=audio_input,
        audio_output=audio_output,
    )
    if total is None or not whole:
        return Counted(usage, "unchecked", whole)
    return Counted(usage, "ok" if total == prompt + completion else "mismatch", whole)


def _number(value: object) -> int:
    return (count(value) or 0) if value else 0
