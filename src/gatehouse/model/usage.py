"""Tokens of one call, in disjoint parts, and what an answer said about itself."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

UsageSource = Literal["provider", "estimated"]
UsageCheck = Literal["ok", "mismatch", "unchecked"]

MOST_TOKENS: Final = 10**13
MOST_COST: Final = 10**14
"""Nano-dollars. No call uses as much as either: what is claimed beyond counts as these, so that sums fit 64 bits."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Token counts. The parts are disjoint: each token is counted in exactly one field, so they may be summed.

    Providers nest them differently (OpenAI counts cached tokens inside `prompt_tokens`, Anthropic beside
    `input_tokens`, Gemini's thoughts beside `candidatesTokenCount`): a dialect's meter takes them apart.
    """

    input: int = 0
    """Prompt tokens neither read from nor written to a cache, without audio, and without images where the provider
    counts those apart."""
    cache_read: int = 0
    cache_write: int = 0
    """Written with the provider's default lifetime (Anthropic: 5 minutes)."""
    cache_write_1h: int = 0
    output: int = 0
    """Generated tokens that are neither reasoning nor audio nor images."""
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    image_cache_read: int = 0
    """Images among what was read from a cache, where the provider counts them apart."""
    audio_cache_read: int = 0
    """Likewise audio."""

    @property
    def input_total(self) -> int:
        """Everything on the prompt side, cached included (OpenTelemetry's `gen_ai.usage.input_tokens`)."""
        uncached = self.input + self.audio_input + self.image_input
        read = self.cache_read + self.image_cache_read + self.audio_cache_read
        return uncached + read + self.cache_write + self.cache_write_1h

    @property
    def output_total(self) -> int:
        """Everything generated, reasoning included (OpenTelemetry's `gen_ai.usage.output_tokens`)."""
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total(self) -> int:
        return self.input_total + self.output_total


class ToolUses(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How often the provider's own tools ran, as the provider reports it: charged beside the tokens."""

    web_search: int = 0
    web_fetch: int = 0
    file_search: int = 0
    code_execution: int = 0
    image_generation: int = 0


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What metering an answer found out. Everything may be missing: a provider may be silent, an answer cut."""

    model: str | None = None
    """The model that answered, in the provider's words."""
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    """`None`: nothing known and nothing to estimate from (an error answer, a listing)."""
    source: UsageSource | None = None
    check: UsageCheck = "unchecked"
    """`ok`: the parts add up to the provider's own totals. `mismatch`: they do not; the parts are kept as read."""
    note: str | None = None
    """Why metering stopped early, if it did (never fatal to the call), and what `usage` cannot tell."""
    uncounted: bool = False
    """Something was used that nobody counted: without usage the price is unknown, not inapplicable."""
    tools: ToolUses | None = None
    job: str | None = None
    """The provider's id of the batch, file, fine-tuning … that the answer is about."""
    offers: tuple[str, ...] = ()
    """What a later request names if it goes on from this answer: ids in the provider's words, for the record hashed."""
    turns: int | None = None
    """WebSocket: answers on the connection."""
    stored: bool = False
    """All of it is of a response that an earlier call began."""
