"""What a call can use at most: the amounts that are reserved before it is forwarded. Pure.

The dearest candidate × (prompt bound at its dearest input rate + answers × output maximum, thinking included) + the
capped fees of the provider's own tools.

Rules
- A bound is never too low; where nobody can say, `Bound.cost` is `None` and `Bound.unbounded` says why.
- No token is shorter than a byte, so text counts its UTF-8 bytes; a body in JSON has at least as many. What providers
  add around it is less than what JSON does, and `OVERHEAD` on top.
- Images count what their model's published formula gives at most. Whatever else is in the prompt counts as the model's
  whole context window, as does an image of a model without a formula.
- What the provider's tools find is read by the model again: each round is a context window more.
- The output maximum is what the request names (`output_maximum`): pipelines patch one in where it names none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from gatehouse.model.call import Ask, Extent
from gatehouse.model.limits import Bound
from gatehouse.model.prices import Ceiling, Maxima
from gatehouse.model.record import Candidate
from gatehouse.ports import Prices

Cost = Literal["free", "metered", "model", "unbounded"]
"""As in `routing.scopes`."""

DEFAULT_MAX_OUTPUT: Final = 8192
"""Output maximum of a request that names none."""
LEGACY_MAX_OUTPUT: Final = 16
"""The same of text completions: what their API documents as its own default."""
SMALLEST_OUTPUT: Final = 256
"""Least output maximum that is patched in where a small window leaves little room."""
UNKNOWN_WINDOW: Final = 2_097_152
"""Context window of a model nobody lists. No listed model has a larger one but Llama 4 Scout, which is listed by name;
too large reserves too much, too small would let a cap be exceeded."""
SMALL_WINDOW: Final = 32_768
"""From here on the prompt, overestimated by its bytes, is no reason to patch in less than the default."""

OVERHEAD: Final = 1024
"""Tokens a provider may add to a prompt on its own."""
TOOLS_OVERHEAD: Final = 4096
"""More of them where tools are described. Anthropic documents up to 804 for tool use and 735 for a tool of its own."""
AUDIO_CHARS_PER_TOKEN: Final = 80
"""Base64 characters of audio (60 bytes) per token. OpenAI counts 10 tokens a second of WAV or MP3, and no MP3 has less
than 1,000 bytes a second."""
MTOK: Final = 1_000_000

_PROMPT_ONLY: Final = frozenset(("embeddings", "moderations", "cached_contents"))
"""Operations that generate nothing."""
_IMAGES: Final = "image_generation"
_FREE: Final = Bound(tokens=0, cost=0)

_Held = tuple[int, int, int, int, bool, bool, bool, bool, int, int, int, int, int, str | None]
_held: Final[Callable[[Extent], _Held]] = msgspec.structs.astuple
"""All of an extent, in order."""


def output_maximum(ask: Ask, maxima: Maxima, extent: Extent) -> int:
    """The output maximum that holds for a request: what it names, else the default, or the model's own if lower.

    A request for more than a small window has room for would be refused by the provider.
    """
    if ask.max_output:  # 0 is how protocol buffers say nothing
        return ask.max_output
    most = LEGACY_MAX_OUTPUT if ask.operation == "text_completion" else DEFAULT_MAX_OUTPUT
    if maxima.output is not None:
        most = min(most, maxima.output)
    window = maxima.window
    if window is not None and window <= SMALL_WINDOW:
        most = min(most, max(SMALLEST_OUTPUT, window - extent.size))
    return most


def bound(
    ask: Ask, extent: Extent, cost: Cost, candidates: Sequence[Candidate], output: int, prices: Prices, at: float
) -> Bound:
    """The most that a call can use, whichever of its candidates serves it.

    `output`: the output maximum in the body as it goes upstream, tokens of one answer. `at`: Unix time that the call's
    cost will be reckoned for.
    """
    if cost == "free":
        return _FREE
    why = _unbounded(ask, extent, cost)
    held = _held(extent)
    _, _, _, _, dear, _, _, _, answers, prediction, searches, file_searches, _, _ = held
    generates = ask.operation not in _PROMPT_ONLY
    choices = ask.choices
    if choices is not None and choices > answers:
        answers = choices
    answers = max(1, answers)
    tokens = fixed_tokens = price = fixed_price = 0
    for candidate in candidates:
        model = candidate.model or ""
        maxima = prices.maxima(candidate.provider, model)
        prompt = _prompt(held, maxima)
        generated: int | None = 0
        if generates:
            generated = answers * output if cost == "metered" else _of_model(ask, maxima)
        ceiling = prices.ceiling(candidate.provider, model, prompt, at)
        if generated is None:
            generated = 0
            why = why or f"nobody says how much {candidate.model or 'the model'} puts out at most"
        if ceiling is None:
            why = why or f"nobody knows the price of {candidate.model or 'a request without a model'}"
        else:
            fees = _fees(searches, file_searches, ceiling) if searches or file_searches else 0
            if fees is None:
                why = why or f"nobody knows what the tools of {candidate.provider} cost"
                fees = 0
            rate = ceiling.dear if dear else ceiling.text
            # Of a prediction, what the answer does not take up is charged too, whatever its maximum.
            fixed = fees + ceiling.per_request + _up(prompt * rate) + _up(prediction * ceiling.output)
            price = max(price, fixed + _up(generated * ceiling.output))
            fixed_price = max(fixed_price, fixed)
        fixed_tokens = max(fixed_tokens, prompt + prediction)
        tokens = max(tokens, prompt + prediction + generated)
    if not candidates:
        why = why or "there is no candidate"
    if cost != "metered" or not generates:
        return Bound(tokens, price if why is None else None, why)
    growing = price - fixed_price if why is None else 0
    # By position: names are searched for, one by one.
    return Bound(tokens, price if why is None else None, why, output, tokens - fixed_tokens, growing)


def _unbounded(ask: Ask, extent: Extent, cost: Cost) -> str | None:
    if ask.unread is not None:
        return f"the request could not be read: {ask.unread}"
    if extent.unbounded is not None:
        return extent.unbounded
    if ask.background:
        return "the response is generated in the background, after the call is over"
    if cost == "unbounded":
        return f"what it costs is known only afterwards ({ask.operation})"
    return None


def _prompt(held: _Held, maxima: Maxima) -> int:
    """Tokens of the prompt at most, in all rounds."""
    size, inline, images, audio, _, whole, _, tools, _, _, _, _, rounds, _ = held
    tokens = size - inline + audio // AUDIO_CHARS_PER_TOKEN
    window = 0
    if images or whole or rounds:
        window = maxima.window or UNKNOWN_WINDOW
    if images:
        image = maxima.image
        tokens = max(tokens, window) if image is None else tokens + images * image
    if whole:
        tokens = max(tokens, window)
    tokens += OVERHEAD + (TOOLS_OVERHEAD if tools else 0)
    return tokens + rounds * max(tokens, window)


def _of_model(ask: Ask, maxima: Maxima) -> int | None:
    """Tokens that a request generates which cannot say how many: what the model puts out at most."""
    if ask.operation == _IMAGES:
        return None if maxima.drawn is None else max(1, ask.choices or 1) * maxima.drawn
    return maxima.output


def _fees(searches: int, file_searches: int, ceiling: Ceiling) -> int | None:
    """Nano-dollars for the provider's own tools; `None`: nobody knows."""
    fees = 0
    for uses, rate in ((searches, ceiling.web_search), (file_searches, ceiling.file_search)):
        if uses:
            if rate is None:
                return None
            fees += uses * rate
    return fees


def _up(amount: int) -> int:
    """Nano-dollars, rounded up."""
    return -(-amount // MTOK)
