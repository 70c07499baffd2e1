"""What a call reserves is never less than what it can cost (I4): `limits.bound` against `pricing.cost`."""

from __future__ import annotations

import random
import time
import timeit
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.config.settings import ModelPrice, Prices
from gatehouse.limits.bound import (
    DEFAULT_MAX_OUTPUT,
    OVERHEAD,
    SMALLEST_OUTPUT,
    TOOLS_OVERHEAD,
    UNKNOWN_WINDOW,
    bound,
    output_maximum,
)
from gatehouse.model.call import Ask, Extent
from gatehouse.model.limits import Bound
from gatehouse.model.prices import Maxima, Period, Price, ProviderPrices, Rates, Tier
from gatehouse.model.record import Candidate
from gatehouse.model.snapshot import PriceTable
from gatehouse.model.usage import ToolUses, Usage
from gatehouse.pricing.cost import Pricing
from gatehouse.pricing.table import table

LISTED: Final = table(Prices())
AT: Final = 1_795_262_400.0
CHAT: Final = Ask(operation="chat", model="m", max_output=100)
SMALL: Final = Maxima(window=1000)


def one(rates: Rates | None, *tiers: Tier, maxima: Maxima = SMALL) -> Pricing:
    price = Price(id="p/m", periods=(Period(rates=rates, tiers=tiers),), names=("m",), maxima=maxima)
    return Pricing(PriceTable(version="1", own={}, listed={"p": ProviderPrices(prices=(price,))}, names={}))


def of(
    prices: Pricing, extent: Extent, ask: Ask = CHAT, output: int = 100, cost: str = "metered", model: str = "m"
) -> Bound:
    return bound(ask, extent, cost, (Candidate("p", "o", model),), output, prices, AT)  # type: ignore[arg-type]


SIMPLE: Final = one(Rates(input=1_000_000_000, output=4_000_000_000))
"""One micro-dollar a prompt token, four a generated one."""


def test_text_counts_its_bytes_and_the_output_maximum_by_its_answers() -> None:
    prompt = 500 + OVERHEAD
    assert of(SIMPLE, Extent(500)) == Bound(
        tokens=prompt + 100,
        cost=prompt * 1000 + 100 * 4000,
        max_output=100,
        output_tokens=100,
        output_cost=100 * 4000,
    )
    three = of(SIMPLE, Extent(500), msgspec.structs.replace(CHAT, choices=3))
    assert (three.tokens, three.output_tokens, three.output_cost) == (prompt + 300, 300, 300 * 4000)
    assert of(SIMPLE, Extent(500, answers=4)).output_tokens == 400
    predicted = of(SIMPLE, Extent(500, prediction=70))
    assert predicted.output_tokens == of(SIMPLE, Extent(500)).output_tokens, "a prediction does not shrink with it"
    assert predicted.tokens == of(SIMPLE, Extent(500)).tokens + 70
    assert of(SIMPLE, Extent(500, tools=True)).tokens == prompt + TOOLS_OVERHEAD + 100


def test_images_by_formula_audio_by_length_and_the_rest_as_the_window() -> None:
    maxima = Maxima(window=100_000, image=1445)
    prices = one(Rates(input=10**9, image_input=3 * 10**9), maxima=maxima)
    two = of(prices, Extent(5000, inline=4000, images=2, dear=True), output=0)
    assert two.tokens == 1000 + 2 * 1445 + OVERHEAD
    assert two.cost == two.tokens * 3000
    assert of(prices, Extent(9000, inline=8000, audio=8000), output=0).tokens == 1000 + 100 + OVERHEAD
    assert of(prices, Extent(5000, window=True), output=0).tokens == 100_000 + OVERHEAD
    assert of(prices, Extent(500_000, window=True), output=0).tokens == 500_000 + OVERHEAD
    nameless = one(Rates(input=10**9), maxima=Maxima())
    assert of(nameless, Extent(5000, inline=4000, images=1), output=0).tokens == UNKNOWN_WINDOW + OVERHEAD


def test_tools_of_the_provider_cost_their_fees_and_a_prompt_each_round() -> None:
    prices = one(Rates(input=10**9, web_search=10_000_000, file_search=2_500_000), maxima=Maxima(window=50_000))
    searching = of(prices, Extent(1000, searches=3, file_searches=2, rounds=5), output=0)
    assert searching.tokens == 1000 + OVERHEAD + 5 * 50_000
    assert searching.cost == searching.tokens * 1000 + 3 * 10_000_000 + 2 * 2_500_000
    free = one(Rates(input=10**9))
    assert of(free, Extent(1, searches=1, rounds=1)).cost is None
    assert "tools of p" in str(of(free, Extent(1, searches=1, rounds=1)).unbounded)


def test_the_dearest_candidate_counts_and_a_clamp_stays_a_bound() -> None:
    """`clamp` scales `output_cost`: at every lower maximum the rest must still cover each candidate."""
    big_prompt, big_output = Rates(input=9 * 10**9, output=10**9), Rates(input=10**9, output=40 * 10**9)
    listed = {
        name: ProviderPrices(prices=(Price(id=f"{name}/m", periods=(Period(rates=rates),), names=("m",)),))
        for name, rates in (("a", big_prompt), ("b", big_output))
    }
    prices = Pricing(PriceTable(version="1", own={}, listed=listed, names={}))

    def both(output: int) -> Bound:
        return bound(
            CHAT, Extent(100), "metered", (Candidate("a", "o", "m"), Candidate("b", "o", "m")), output, prices, AT
        )

    full = both(1000)
    assert full.cost is not None
    for lower in (0, 1, 10, 300, 999, 1000):
        clamped = both(lower)
        assert clamped.cost is not None
        assert full.cost - full.output_cost + full.output_cost * lower // 1000 >= clamped.cost
        assert full.tokens - full.output_tokens + full.output_tokens * lower // 1000 >= clamped.tokens


@pytest.mark.parametrize(
    ("ask", "extent", "cost", "why"),
    [
        (CHAT, Extent(1), "unbounded", "known only afterwards (chat)"),
        (Ask(operation="chat", model="m", background=True), Extent(1), "metered", "in the background"),
        (Ask(operation="chat", model="m", unread="no JSON"), Extent(1), "metered", "could not be read: no JSON"),
        (CHAT, Extent(1, unbounded="a tool"), "metered", "a tool"),
        (CHAT, Extent(1), "model", "nobody says how much m puts out"),
        (Ask(operation="image_generation", model="m"), Extent(1), "model", "nobody says how much m puts out"),
    ],
)
def test_what_nobody_can_bound_says_why(ask: Ask, extent: Extent, cost: str, why: str) -> None:
    found = of(SIMPLE, extent, ask, cost=cost)
    assert found.cost is None
    assert why in str(found.unbounded)
    assert found.output_cost == 0


def test_an_unknown_price_is_unbounded_and_its_tokens_are_not() -> None:
    found = of(SIMPLE, Extent(10), model="nobody-lists-this")
    assert (found.cost, found.tokens) == (None, 10 + OVERHEAD + 100)
    assert found.unbounded == "nobody knows the price of nobody-lists-this"
    assert of(one(None), Extent(10)).unbounded == "nobody knows the price of m"
    assert bound(CHAT, Extent(1), "metered", (), 1, SIMPLE, AT).unbounded == "there is no candidate"


def test_what_generates_nothing_and_what_is_free() -> None:
    assert of(SIMPLE, Extent(10), Ask(operation="embeddings", model="m")) == Bound(
        10 + OVERHEAD, (10 + OVERHEAD) * 1000
    )
    assert of(SIMPLE, Extent(10), cost="free") == Bound(0, 0)


def test_images_that_are_drawn() -> None:
    prices = one(Rates(input=0, output=10**9, image_output=40 * 10**9), maxima=Maxima(drawn=6540))
    drawing = of(prices, Extent(10), Ask(operation="image_generation", model="m", choices=2), cost="model")
    assert drawing.tokens == 10 + OVERHEAD + 2 * 6540
    assert drawing.cost == 2 * 6540 * 40_000
    assert drawing.max_output == 0


@pytest.mark.parametrize(
    ("maxima", "size", "expected"),
    [
        (Maxima(), 100, DEFAULT_MAX_OUTPUT),
        (Maxima(output=4096), 100, 4096),
        (Maxima(output=128_000), 100, DEFAULT_MAX_OUTPUT),
        (Maxima(output=8192, window=8192), 1000, 7192),
        (Maxima(window=8192), 100_000, SMALLEST_OUTPUT),
        (Maxima(window=200_000), 199_999, DEFAULT_MAX_OUTPUT),
    ],
)
def test_the_default_output_maximum(maxima: Maxima, size: int, expected: int) -> None:
    """8,192, or the model's own if lower; no more than a small window has room for."""
    assert output_maximum(Ask(operation="chat"), maxima, Extent(size)) == expected
    assert output_maximum(Ask(operation="chat", max_output=0), maxima, Extent(size)) == expected
    assert output_maximum(Ask(operation="chat", max_output=7), maxima, Extent(size)) == 7
    assert output_maximum(Ask(operation="text_completion"), maxima, Extent(size)) == 16


# -- I4: never less than the truth


def _models() -> list[tuple[str, str]]:
    """A name for every listed price."""
    pricing, found = Pricing(LISTED), []
    for provider, listed in LISTED.listed.items():
        for price in listed.prices:
            for name in (*price.names, price.id.partition("/")[2]):
                if pricing.ceiling(provider, name, 1, AT) is not None:
                    found.append((provider, name))
                    break
    return found


MODELS: Final = _models()


def _spread(total: int, parts: int, chance: random.Random) -> list[int]:
    """`total` in so many parts."""
    cuts = sorted(chance.randint(0, total) for _ in range(parts - 1))
    return [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]


def _used(prompt: int, generated: int, *, dear: bool, chance: random.Random) -> Usage:
    """Any usage within a bound; all of one kind as often as a mixture."""
    before = _spread(prompt, 8, chance) if chance.random() < 0.5 else [0] * 8
    if not any(before) or not dear:
        before = [*(_spread(prompt, 4, chance)), 0, 0, 0, 0] if chance.random() < 0.5 else [0] * 8
    if not any(before):
        before[chance.randrange(8 if dear else 4)] = prompt
    after = _spread(generated, 4, chance) if chance.random() < 0.5 else [0] * 4
    if not any(after):
        after[chance.randrange(4)] = generated
    new, read, write, write_1h, heard, seen, reseen, reheard = before
    output, reasoning, spoken, drawn = after
    return Usage(new, read, write, write_1h, output, reasoning, heard, spoken, seen, drawn, reseen, reheard)


@settings(max_examples=150)
@given(
    st.randoms(use_true_random=False),
    st.integers(0, 1_500_000),
    st.integers(0, 300_000),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 3),
    st.floats(1_600_000_000, 1_830_000_000),
)
def test_no_usage_within_it_costs_more_i4(
    chance: random.Random, size: int, output: int, choices: int, dear: bool, searches: int, at: float
) -> None:
    """Twenty listed models an example, at any size (tiers), any time (dated prices, prices by the hour)."""
    pricing = Pricing(LISTED)
    ask = Ask(operation="chat", model="m", choices=choices)
    for provider, model in chance.sample(MODELS, 20):
        extent = Extent(size, dear=dear, window=dear and chance.random() < 0.3, searches=searches, rounds=searches)
        candidate = Candidate(provider, "o", model)
        worst = bound(ask, extent, "metered", (candidate,), output, pricing, at)
        if worst.cost is None:
            without = msgspec.structs.replace(extent, searches=0, rounds=0)
            worst = bound(ask, without, "metered", (candidate,), output, pricing, at)
            extent = without
        if worst.cost is None:
            continue  # a price that is unknown at that time
        prompt = chance.choice(
            (worst.tokens - worst.output_tokens, chance.randint(0, worst.tokens - worst.output_tokens))
        )
        generated = chance.choice((worst.output_tokens, chance.randint(0, worst.output_tokens)))
        usage = _used(prompt, generated, dear=dear, chance=chance)
        assert usage.total <= worst.tokens
        spent = pricing.cost(provider, model, usage, at)
        assert spent is not None
        fees, unknown = pricing.tools(provider, model, ToolUses(web_search=extent.searches), at)
        assert not unknown
        assert spent[0] + fees <= worst.cost, (provider, model, usage)


def test_every_listed_model_at_its_full_bound_i4() -> None:
    """Each kind of token alone fills the bound, and no kind is dearer than what was reserved."""
    pricing, now = Pricing(LISTED), time.time()
    assert len(MODELS) > 1_900
    ask = Ask(operation="chat", model="m")
    for provider, model in MODELS:
        for size in (900, 150_000, 600_000):
            plain = bound(ask, Extent(size), "metered", (Candidate(provider, "o", model),), 5_000, pricing, now)
            dear = bound(
                ask, Extent(size, dear=True), "metered", (Candidate(provider, "o", model),), 5_000, pricing, now
            )
            assert plain.cost is not None
            assert dear.cost is not None
            prompt = plain.tokens - plain.output_tokens
            for kind in ("input", "cache_read", "cache_write", "cache_write_1h"):
                for made in ("output", "reasoning", "audio_output", "image_output"):
                    spent = pricing.cost(provider, model, Usage(**{kind: prompt, made: 5_000}), now)
                    assert spent is not None
                    assert spent[0] <= plain.cost
            for kind in ("audio_input", "image_input", "image_cache_read", "audio_cache_read"):
                spent = pricing.cost(provider, model, Usage(**{kind: prompt, "output": 5_000}), now)
                assert spent is not None
                assert spent[0] <= dear.cost


def test_no_listed_window_is_larger_than_that_of_an_unknown_model() -> None:
    larger = {
        price.id
        for listed in LISTED.listed.values()
        for price in listed.prices
        if (price.maxima.window or 0) > UNKNOWN_WINDOW
    }
    assert larger
    assert all("llama4-scout" in each.lower() or "llama-4-scout" in each.lower() for each in larger), larger


def test_prices_of_the_configuration_are_bounds_too_i4() -> None:
    """Their own rate counts, and what the list says of the model's sizes."""
    own = ModelPrice(provider="openai", model="gpt-4o", input="7", output="9", per_request="0.5")
    pricing = Pricing(table(Prices(models=(own,))))
    assert pricing.maxima("openai", "gpt-4o").image == 1445
    worst = bound(CHAT, Extent(0), "metered", (Candidate("openai", "o", "gpt-4o"),), 10, pricing, AT)
    spent = pricing.cost("openai", "gpt-4o", Usage(input=OVERHEAD, output=10), AT)
    assert spent is not None
    assert worst.cost == spent[0] == OVERHEAD * 7000 + 10 * 9000 + 500_000_000


def test_a_tier_that_the_prompt_may_reach_counts_though_a_smaller_prompt_is_cheaper() -> None:
    cheap, dear = Rates(input=10**9, output=10**9), Rates(input=5 * 10**9, output=2 * 10**9)
    prices = one(cheap, Tier(2000, dear))
    below, above = of(prices, Extent(2000 - OVERHEAD)), of(prices, Extent(2001 - OVERHEAD))
    assert below.cost == 2000 * 1000 + 100 * 1000
    assert above.cost == 2001 * 5000 + 100 * 2000
    falling = one(dear, Tier(2000, cheap))
    assert of(falling, Extent(3000)).cost == (3000 + OVERHEAD) * 5000 + 100 * 2000


def test_it_is_quick() -> None:
    pricing = Pricing(LISTED)
    candidates = (Candidate("openai", "o", "gpt-4o"),)
    seconds = min(
        timeit.repeat(lambda: bound(CHAT, Extent(900), "metered", candidates, 100, pricing, AT), number=1_000, repeat=3)
    )
    assert seconds / 1_000 < 100e-6
