"""The packaged list is what compiling the installed genai-prices gives, and what compiling promises."""

from __future__ import annotations

import genai_prices
import msgspec
from genai_prices import types
from genai_prices.data import providers
from genai_prices.data_snapshot import find_provider_by_id

from gatehouse.pricing.compile import ALIASES, FREE, RATES, Known, compile_listed, given
from gatehouse.pricing.table import LISTED, Listed, digest

PACKAGED = msgspec.json.decode(LISTED.read_bytes(), type=Listed)


def test_the_packaged_list_is_fresh() -> None:
    """If this fails, genai-prices changed: run `python -m gatehouse.pricing.compile` and read the difference."""
    assert LISTED.read_bytes() == compile_listed()


def test_the_version_names_the_source_and_the_content() -> None:
    assert PACKAGED.version == f"{genai_prices.__version__}-{digest((PACKAGED.names, PACKAGED.providers))}"


def test_every_provider_and_model_is_there_in_the_lists_order() -> None:
    """The first match counts, so order is part of the price."""
    for provider in providers:
        packaged = PACKAGED.providers[provider.id]
        assert [price.id for price in packaged.prices] == [f"{provider.id}/{model.id}" for model in provider.models]
        assert packaged.fallbacks == tuple(provider.fallback_model_providers or ())
    assert PACKAGED.providers.keys() == {provider.id for provider in providers} | {"simulated"}


def test_names_of_ours_mean_what_the_list_takes_them_for() -> None:
    listed = list(providers)
    for ours, name in ALIASES.items():
        found = find_provider_by_id(listed, ours)
        assert found is not None
        assert found.id == name
    assert all("_" not in name for name in PACKAGED.names)
    assert all(name in PACKAGED.names.values() for name in PACKAGED.providers if "_" in name)


def test_free_entries_are_those_the_list_calls_free() -> None:
    """A price of 0 is listed as free; an entry that merely has no rate is unknown."""
    said = {}
    for provider in providers:
        for model in provider.models:
            if (provider.id, model.id) in FREE:
                said[provider.id, model.id] = f"{model.name} {model.description} {model.price_comments}".lower()
                assert isinstance(model.prices, types.ModelPrice)
                assert not any(rate is not None for rate in vars(model.prices).values())
    assert said.keys() == FREE
    assert [
        each for each, words in said.items() if "free" not in words and "included in the subscription" not in words
    ] == []


def test_a_known_price_leaves_no_unit_out() -> None:
    """It would be too low without a word."""
    known = {
        price.id
        for provider in PACKAGED.providers.values()
        for price in provider.prices
        if all(period.rates is not None for period in price.periods)
    }
    units = {
        unit
        for provider in providers
        for model in provider.models
        if f"{provider.id}/{model.id}" in known
        for prices in (
            [model.prices] if isinstance(model.prices, types.ModelPrice) else [p.prices for p in model.prices]
        )
        for unit, rate in vars(prices).items()
        if rate is not None
    }
    assert "cache_audio_read_mtok" in units
    assert units <= RATES.keys()


def test_searches_cost_what_the_list_says_of_a_thousand() -> None:
    rates = {
        price.id: price.periods[-1].rates
        for name in ("anthropic", "openai", "google")
        for price in PACKAGED.providers[name].prices
    }
    for identity, web, file in (
        ("anthropic/claude-sonnet-4-5", 10_000_000, None),
        ("google/gemini-3-flash-preview", 14_000_000, None),
        # Charged by the grounded prompt: what is counted are searches.
        ("google/gemini-2.5-flash", None, None),
    ):
        found = rates[identity]
        assert found is not None
        assert (found.web_search, found.file_search) == (web, file), identity
    assert any(each is not None and each.file_search == 2_500_000 for each in rates.values())


def test_anthropic_lists_a_rate_for_one_hour_writes_of_twice_the_input() -> None:
    """So there is nothing to fill in. Source: Anthropic, "Prompt caching", section "Pricing" (1-hour cache write tokens
    are 2 times the base input tokens price). Claude 1 and 2 had no cache.
    """
    for price in PACKAGED.providers["anthropic"].prices:
        for period in price.periods:
            for rates in (period.rates, *(tier.rates for tier in period.tiers)):
                assert rates is not None
                assert rates.input is not None
                if price.id in ("anthropic/claude-2", "anthropic/claude-v1"):
                    assert rates.cache_write is None
                else:
                    assert rates.cache_write_1h == 2 * rates.input


def test_every_row_of_our_own_maxima_is_somebodys() -> None:
    """A row that matches nothing is misspelt, or hidden by one before it."""
    data = given()
    known = Known(data.models)
    used = {known.place(model.id) for provider in providers for model in provider.models}
    assert [row.names for place, row in enumerate(data.models) if place not in used] == []
    assert all("read November 2026" in source or "genai-prices" in source for source in data.sources)


def test_windows_are_never_smaller_than_the_list_says() -> None:
    """Content that nobody can measure counts as the window: too small would be too cheap (I4)."""
    for provider in providers:
        for model, packaged in zip(provider.models, PACKAGED.providers[provider.id].prices, strict=True):
            if model.context_window is not None:
                assert packaged.maxima.window is not None
                assert packaged.maxima.window >= model.context_window
            maxima = packaged.maxima
            if maxima.window is not None and maxima.output is not None:
                assert maxima.output <= maxima.window


def test_what_the_present_models_of_the_makers_put_out() -> None:
    """Each generative model of the three has an output maximum; some known ones are as their pages say."""
    listed = {price.id: price.maxima for name in PACKAGED.providers for price in PACKAGED.providers[name].prices}
    expected = {
        "openai/gpt-4o": (16_384, 128_000),
        "openai/gpt-4o-2024-05-13": (4_096, 128_000),
        "openai/gpt-4.1": (32_768, 1_047_576),
        "openai/o3": (100_000, 200_000),
        "openai/gpt-5": (128_000, 400_000),
        "openai/gpt-6-astra": (128_000, 1_050_000),
        "anthropic/claude-3-haiku": (4_096, 200_000),
        "anthropic/claude-3-5-sonnet": (8_192, 200_000),
        "anthropic/claude-opus-4-1": (32_000, 200_000),
        "anthropic/claude-opus-4-5": (64_000, 200_000),
        "anthropic/claude-opus-4-8": (128_000, 1_000_000),
        "anthropic/claude-haiku-5-5": (128_000, 1_000_000),
        "google/gemini-2.0-flash": (8_192, 1_048_576),
        "google/gemini-2.5-pro": (65_536, 1_048_576),
        "google/gemini-4-argon": (65_536, 1_048_576),
    }
    assert {name: (listed[name].output, listed[name].window) for name in expected} == expected
    none = [
        name
        for name, maxima in listed.items()
        if maxima.output is None and name.startswith(("anthropic/", "openai/gpt-5", "openai/gpt-6", "google/gemini-3"))
    ]
    assert none == []
