"""What a call cost: `Pricing` implements `ports.Prices` over a `PriceTable`. Pure but for the default clock.

A model is matched once and remembered; after that a cost is one look-up and integer arithmetic. All sums are exact, and
rounded to whole nano-dollars once per call, half up. What nobody knows the price of is `None`, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from gatehouse.model.prices import Ceiling, Maxima, Period, Price, Rates
from gatehouse.model.snapshot import PriceTable
from gatehouse.model.usage import ToolUses, Usage
from gatehouse.pricing.match import Matcher, dashed_date

REMEMBERED: Final = 4096
"""Models remembered; a caller who invents names makes others be matched again, and nothing more."""
NAME_LIMIT: Final = 256
"""Characters of a model name; a longer one has no price. The longest listed has 61."""
MTOK: Final = 1_000_000
DAY: Final = 86_400

_counts: Final[Callable[[Usage], tuple[int, ...]]] = msgspec.structs.astuple


class _Factors(NamedTuple):
    """Rates of the parts of `Usage`, in its order, with every gap filled, and what is added before dividing by a
    million."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_input: int
    image_output: int
    image_cache_read: int
    audio_cache_read: int
    constant: int


class _Span(NamedTuple):
    """A period, ready to multiply. `factors` are `None` where the price is not known."""

    since: int | None
    window: tuple[int, int] | None
    factors: _Factors | None
    tiers: tuple[tuple[int, _Factors], ...]
    """Descending."""


_NOBODY_KNOWS: Final = Maxima()


class _Quote(NamedTuple):
    id: str
    plain: _Factors | None
    """Set where neither time nor size matters."""
    spans: tuple[_Span, ...]
    """Newest first."""
    price: Price | None = None
    maxima: Maxima = _NOBODY_KNOWS
    ceiling: Ceiling | None = None
    """Set where neither time nor size matters."""


_UNSEEN: Final = _Quote("", None, ())


class Pricing:
    """Costs by one price table. Not thread-safe: one per event loop."""

    __slots__ = ("_listed", "_own", "_quotes", "_table", "version")

    def __init__(self, table: PriceTable) -> None:
        self.version = table.version
        self._table = table
        self._own = {provider: Matcher(prices) for provider, prices in table.own.items()}
        self._listed: dict[str, Matcher] = {}
        self._quotes: dict[tuple[str, str], _Quote | None] = {}

    def cost(self, provider: str, model: str, usage: Usage, at: float | None = None) -> tuple[int, str] | None:
        """Nano-dollars and the id of the price used; `None` if nobody knows the price.

        `provider` as in the route; `model` as answered (Azure: not the deployment); `at`: Unix time of the decision,
        now if not given.
        """
        quote = self._quotes.get((provider, model), _UNSEEN)
        if quote is _UNSEEN:
            quote = self._look_up(provider, model)
        if quote is None:
            return None
        factors = quote.plain
        if factors is None:
            factors = _choose(quote.spans, usage, time.time() if at is None else at)
            if factors is None:
                return None
        amount = factors.constant
        for part, tokens in enumerate(_counts(usage)):
            if tokens:
                amount += tokens * factors[part]
        return amount // MTOK, quote.id

    def lists(self, provider: str, model: str) -> bool:
        """Whether the price of a provider's model is known."""
        quote = self._quotes.get((provider, model), _UNSEEN)
        return (self._look_up(provider, model) if quote is _UNSEEN else quote) is not None

    def tools(self, provider: str, model: str, tools: ToolUses, at: float | None = None) -> tuple[int, tuple[str, ...]]:
        """What the provider's own tools cost, in nano-dollars, and those among them that nobody knows the price of."""
        quote = self._quotes.get((provider, model), _UNSEEN)
        if quote is _UNSEEN:
            quote = self._look_up(provider, model)
        rates = None
        if quote is not None and quote.price is not None:
            rates = _period(quote.price.periods, time.time() if at is None else at).rates
        amount = 0
        unknown: list[str] = []
        for name, rate in (
            ("web_search", None if rates is None else rates.web_search),
            ("file_search", None if rates is None else rates.file_search),
            ("code_execution", None),
            ("image_generation", None),
        ):
            uses: int = getattr(tools, name)
            if uses and rate is None:
                unknown.append(name)
            elif rate is not None:
                amount += uses * rate
        return amount, tuple(unknown)

    def ceiling(self, provider: str, model: str, prompt: int, at: float | None = None) -> Ceiling | None:
        """The dearest that a call with a prompt of at most so many tokens can be; `None` if nobody knows the price.

        Over every size a prompt may turn out to have, at one moment: `cost` with the same `at` is never above it.
        """
        quote = self._quotes.get((provider, model), _UNSEEN)
        if quote is _UNSEEN:
            quote = self._look_up(provider, model)
        if quote is None or quote.price is None:
            return None
        if quote.ceiling is not None:
            return quote.ceiling
        moment = time.time() if at is None else at
        span = _span_at(quote.spans, moment)
        rates = _period(quote.price.periods, moment).rates
        if span.factors is None or rates is None:
            return None
        return _ceiling(span, rates, prompt)

    def maxima(self, provider: str, model: str) -> Maxima:
        """What a model takes and gives at most, as far as the list says."""
        quote = self._quotes.get((provider, model), _UNSEEN)
        if quote is _UNSEEN:
            quote = self._look_up(provider, model)
        return _NOBODY_KNOWS if quote is None else quote.maxima

    def _look_up(self, provider: str, model: str) -> _Quote | None:
        if len(model) > NAME_LIMIT:
            return None
        listed, name = self._table.names.get(provider, provider), model.lower()
        own = self._own.get(listed)
        price = None if own is None else own.find(name)
        known = self._find(listed, name)
        if price is None:
            price = known
        quote = None if price is None else _quote(price, known)
        if len(self._quotes) >= REMEMBERED:
            self._quotes.clear()
        self._quotes[provider, model] = quote
        return quote

    def _find(self, provider: str, name: str) -> Price | None:
        """The listed price of a model."""
        if provider not in self._table.listed:
            return None
        found = self._find_listed(provider, name)
        spelt_out = dashed_date(name)
        return self._find_listed(provider, spelt_out) if found is None and spelt_out != name else found

    def _find_listed(self, provider: str, name: str) -> Price | None:
        for listed in (provider, *self._table.listed[provider].fallbacks):
            found = self._matcher(listed).find(name)
            if found is not None:
                return found
        return None

    def _matcher(self, listed: str) -> Matcher:
        """Built at a provider's first call: up to a millisecond, mostly regular expressions."""
        matcher = self._listed.get(listed)
        if matcher is None:
            matcher = self._listed[listed] = Matcher(self._table.listed[listed].prices)
        return matcher


def _choose(spans: tuple[_Span, ...], usage: Usage, at: float) -> _Factors | None:
    """The rates of the newest span that holds, the oldest where none does, at the size of the prompt."""
    chosen = _span_at(spans, at)
    if chosen.tiers:
        size = usage.input_total
        for above, factors in chosen.tiers:
            if size > above:
                return factors
    return chosen.factors


def _span_at(spans: tuple[_Span, ...], at: float) -> _Span:
    for span in spans:
        if _holds(span.since, span.window, at):
            return span
    return spans[-1]


def _ceiling(span: _Span, rates: Rates, prompt: int) -> Ceiling:
    """The dearest of a period's rates up to a prompt's size. `rates`: those of the period, which tools go by."""
    text = dear = output = request = 0
    if span.factors is not None:
        text, dear, output, request = _dearest(span.factors)
    for above, factors in span.tiers:
        if prompt > above:
            more = _dearest(factors)
            text, dear = max(text, more[0]), max(dear, more[1])
            output, request = max(output, more[2]), max(request, more[3])
    return Ceiling(text, dear, output, request, rates.web_search, rates.file_search)


def _dearest(factors: _Factors) -> tuple[int, int, int, int]:
    """Of a prompt of text, of any prompt, of what is generated, and of the call itself."""
    text = max(factors.input, factors.cache_read, factors.cache_write, factors.cache_write_1h)
    media = max(factors.audio_input, factors.image_input, factors.image_cache_read, factors.audio_cache_read)
    output = max(factors.output, factors.reasoning, factors.audio_output, factors.image_output)
    return text, max(text, media), output, factors.constant // MTOK


def _period(periods: tuple[Period, ...], at: float) -> Period:
    """The last one that holds, the first where none does."""
    for period in reversed(periods):
        if _holds(period.since, period.window, at):
            return period
    return periods[0]


def _holds(since: int | None, window: tuple[int, int] | None, at: float) -> bool:
    return at >= since if since is not None else window is None or _within(window, at % DAY)


def _within(window: tuple[int, int], second: float) -> bool:
    start, end = window
    return start <= second < end if start <= end else second >= start or second < end


def _quote(price: Price, known: Price | None) -> _Quote:
    """`known`: what the list has of the model, whoever set its price."""
    spans = tuple(_span(period) for period in reversed(price.periods))
    plain = spans[0].factors if len(spans) == 1 and not spans[0].tiers else None
    rates = price.periods[0].rates
    ceiling = None if plain is None or rates is None else _ceiling(spans[0], rates, 0)
    return _Quote(price.id, plain, spans, price, _NOBODY_KNOWS if known is None else known.maxima, ceiling)


def _span(period: Period) -> _Span:
    tiers = tuple((tier.above, _factors(tier.rates)) for tier in reversed(period.tiers))
    factors = None if period.rates is None else _factors(period.rates)
    return _Span(period.since, period.window, factors, tiers)


def _factors(rates: Rates) -> _Factors:
    uncached = rates.input or 0
    output = rates.output or 0
    read, write = _or(rates.cache_read, uncached), _or(rates.cache_write, uncached)
    heard = _or(rates.audio_input, uncached)
    return _Factors(
        input=uncached,
        cache_read=read,
        cache_write=write,
        cache_write_1h=_or(rates.cache_write_1h, write),
        output=output,
        reasoning=_or(rates.reasoning, output),
        audio_input=heard,
        audio_output=_or(rates.audio_output, output),
        image_input=_or(rates.image_input, uncached),
        image_output=_or(rates.image_output, output),
        image_cache_read=_or(rates.image_cache_read, read),
        audio_cache_read=_or(rates.audio_cache_read, _or(rates.cache_read, heard)),
        constant=rates.per_request * MTOK + MTOK // 2,
    )


def _or(rate: int | None, else_as: int) -> int:
    return else_as if rate is None else rate
