"""OpenAI's `usage` object, and its relatives', taken apart into disjoint parts.

Inside `prompt_tokens` OpenAI counts cached, cache-written and audio tokens; inside `completion_tokens` reasoning and
audio tokens. On either side some relatives count those of images, which are inside, too. Relatives differ, and say so
only by their totals:

- xAI counts reasoning beside `completion_tokens` (total = prompt + completion + reasoning);
- where cached tokens exceed `prompt_tokens`, or the total includes them, they are counted beside it;
- DeepSeek also says `prompt_cache_hit_tokens`, Moonshot and others `cached_tokens` at the top, Databricks
  `cache_read_input_tokens`; some say `reasoning_tokens` at the top;
- Moonshot's streams put usage into `choices[0].usage`, Groq's into `x_groq.usage` (see `openai_chat`).

`take_apart` is for every answer's usage and expects clean counts; `tidied` makes them of anything.

Sources: `openai.types.CompletionUsage`, genai-prices' extractors, xAI's "Consumption and rate limits".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gatehouse.dialects.openai_shapes import Details, UsageObject
from gatehouse.dialects.values import count
from gatehouse.model.usage import Usage, UsageCheck


class Counted:
    """What a usage object comes to. Immutable."""

    __slots__ = ("check", "usage", "whole")

    def __init__(self, usage: Usage, check: UsageCheck, whole: bool) -> None:
        self.usage = usage
        self.check: UsageCheck = check
        self.whole = whole
        """Both sides were reported."""


_NO_DETAILS: Final = Details[Any]()

_Count = int | None
_Details = Details[int] | None
_members: Final[
    Callable[[UsageObject[int]], tuple[_Count, _Count, _Count, _Details, _Details, _Count, _Count, _Count, _Count]]
] = msgspec.structs.astuple
"""All members of a usage object, in order: reading them one by one takes four times as long."""

_details: Final[Callable[[Details[int]], tuple[_Count, _Count, _Count, _Count, _Count]]] = msgspec.structs.astuple
_NONE: Final[tuple[_Count, _Count, _Count, _Count, _Count]] = (None, None, None, None, None)


def tidied(reported: UsageObject[Any] | None) -> UsageObject[int] | None:
    """A usage object whose members may be anything, with clean counts."""
    if reported is None:
        return None
    into = reported.prompt_tokens_details or _NO_DETAILS
    out = reported.completion_tokens_details or _NO_DETAILS
    cached = (
        into.cached_tokens
        or reported.prompt_cache_hit_tokens
        or reported.cached_tokens
        or reported.cache_read_input_tokens
    )
    return UsageObject(
        prompt_tokens=count(reported.prompt_tokens),
        completion_tokens=count(reported.completion_tokens),
        total_tokens=count(reported.total_tokens),
        prompt_tokens_details=Details(
            cached_tokens=count(cached),
            cache_write_tokens=count(into.cache_write_tokens),
            audio_tokens=count(into.audio_tokens),
            image_tokens=count(into.image_tokens),
        ),
        completion_tokens_details=Details(
            audio_tokens=count(out.audio_tokens),
            image_tokens=count(out.image_tokens),
            reasoning_tokens=count(out.reasoning_tokens or reported.reasoning_tokens),
        ),
    )


def take_apart(reported: UsageObject[int], *, generates: bool = True) -> Counted | None:
    """Disjoint parts of one usage object; `None` if it reports nothing. `generates`: false for embeddings."""
    prompt, completion, total, into, out, cached, hit, read, reasoning = _members(reported)
    whole = True
    if prompt is None or completion is None:
        if total is not None:
            if prompt is None and (completion is not None or not generates):
                prompt = max(0, total - (completion or 0))
            if completion is None and prompt is not None:
                completion = max(0, total - prompt)
        if prompt is None and completion is None:
            return None
        whole = prompt is not None and (completion is not None or not generates)
        prompt, completion = prompt or 0, completion or 0
    of_cache, written, audio_in, image_in, _ = _NONE if into is None else _details(into)
    _, _, audio_out, image_out, thought = _NONE if out is None else _details(out)
    cached = of_cache or hit or cached or read or 0
    reasoning = thought or reasoning or 0
    if cached or reasoning or written or audio_in or image_in or audio_out or image_out:
        usage = _parts(reported, prompt, completion, cached, reasoning)
        summed = usage.total
    else:
        usage = Usage(input=prompt, output=completion)
        summed = prompt + completion
    if total is None or not whole:
        return Counted(usage, "unchecked", whole)
    return Counted(usage, "ok" if total == summed else "mismatch", whole)


def _parts(reported: UsageObject[int], prompt: int, completion: int, cached: int, reasoning: int) -> Usage:
    """Both sides, less what their details count apart."""
    total = reported.total_tokens
    into: Details[int] = reported.prompt_tokens_details or _NO_DETAILS
    out: Details[int] = reported.completion_tokens_details or _NO_DETAILS
    written = into.cache_write_tokens or 0
    apart = cached + written
    if apart > prompt or (apart and total == prompt + completion + apart):
        prompt += apart  # counted beside it
    # Audio and images may be among the cached; those are counted as cached.
    audio_input = min(prompt - apart, into.audio_tokens or 0)
    image_input = min(prompt - apart - audio_input, into.image_tokens or 0)
    if reasoning > completion or (reasoning and total == prompt + completion + reasoning):
        completion += reasoning  # counted beside it
    audio_output = min(completion - reasoning, out.audio_tokens or 0)
    image_output = min(completion - reasoning - audio_output, out.image_tokens or 0)
    return Usage(
        input=prompt - apart - audio_input - image_input,
        cache_read=cached,
        cache_write=written,
        output=completion - reasoning - audio_output - image_output,
        reasoning=reasoning,
        audio_input=audio_input,
        audio_output=audio_output,
        image_input=image_input,
        image_output=image_output,
    )
