"""Prices in the form the hot path multiplies: integer nano-dollars per million tokens.

How names match and which period holds is `pricing`'s business; what the lists mean, and where they come from, is in
`docs/prices.md`.
"""

from __future__ import annotations

import msgspec


class Rates(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Nano-dollars per 1,000,000 tokens for each part of `Usage`. `None`: no rate of its own; the part costs what the
    larger part it belongs to costs (cached, written, audio and image prompt tokens as `input`, 1-hour writes as
    `cache_write`, cached images and audio as `cache_read`, reasoning, audio and image answers as `output`). Where
    `cache_read` has none either, cached audio costs as `audio_input`. Without `input` or `output`, that side costs
    nothing.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    image_cache_read: int | None = None
    audio_cache_read: int | None = None
    per_request: int = 0
    """Nano-dollars per call."""
    web_search: int | None = None
    """Nano-dollars per search of the provider's own tool; `None`: not known. Likewise what follows."""
    file_search: int | None = None


class Tier(msgspec.Struct, frozen=True, gc=False):
    """Rates that hold for the whole call when its prompt (`Usage.input_total`) is larger than `above` tokens."""

    above: int
    rates: Rates


class Period(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Rates and when they hold: from a date on, in a daily window, or (neither) always."""

    rates: Rates | None = None
    """`None`: the price is not known in anything `Usage` counts, so the cost is unknown."""
    tiers: tuple[Tier, ...] = ()
    """Ascending by `above`."""
    since: int | None = None
    """Unix time in seconds."""
    window: tuple[int, int] | None = None
    """Seconds of the UTC day, from (included) and to (excluded); past midnight where the second is smaller."""


class Maxima(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The most that a model takes and gives, in tokens. `None`: nobody says."""

    window: int | None = None
    """Prompt and output together."""
    output: int | None = None
    """Of one answer, thinking included."""
    image: int | None = None
    """What one image in the prompt comes to."""
    drawn: int | None = None
    """What one image that it draws comes to."""


class Ceiling(msgspec.Struct, frozen=True, gc=False):
    """The dearest that tokens of a prompt of some size can be. Nano-dollars per 1,000,000 tokens."""

    text: int
    """Of a prompt without images and audio, written to a cache or not."""
    dear: int
    """Of any prompt."""
    output: int
    per_request: int
    """Nano-dollars, as what follows."""
    web_search: int | None
    file_search: int | None


class Price(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One entry of the table: the models it is for, and what they cost when."""

    id: str
    """`provider/model` of the list, `own:provider/model` from the configuration. Stands on records."""
    periods: tuple[Period, ...]
    """The last one that holds counts; the first one where none does."""
    names: tuple[str, ...] = ()
    """Model names, lower case."""
    patterns: tuple[tuple[str, ...], ...] = ()
    """Alternatives, each a conjunction of tests on the lower-case name: a sign (`^` starts with, `$` ends with,
    `~` contains, `=` equals, `/` regular expression found) and the text."""
    maxima: Maxima = Maxima()


class ProviderPrices(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The listed prices of one provider. The first entry that matches a model counts."""

    prices: tuple[Price, ...]
    fallbacks: tuple[str, ...] = ()
    """Providers whose models this one serves too, asked in order when no entry of its own matches."""
