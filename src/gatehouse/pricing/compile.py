"""Writes `listed.json` from the installed genai-prices: `python -m gatehouse.pricing.compile`. For packaging only.

The only module that imports genai-prices. Rules: the same input gives the same bytes; a rate becomes an integer of
nano-dollars, half up; whatever `Usage` cannot tell apart is never guessed but compiled to a period without rates, which
means unknown (`docs/prices.md` names the cases). What a model takes and gives at most is our own data, `maxima.json`;
windows are the list's where it knows a larger one, or ours has none: too small would be too cheap.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final

import genai_prices
import msgspec
from genai_prices import types
from genai_prices.data import providers as listed_providers

from gatehouse.model.prices import Maxima, Period, Price, ProviderPrices, Rates, Tier
from gatehouse.pricing.match import Matcher
from gatehouse.pricing.table import LISTED, Listed, digest

RATES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "cache_image_read_mtok": "image_cache_read",
    "cache_audio_read_mtok": "audio_cache_read",
    "requests_kcount": "per_request",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
}
"""genai-prices' unit of a rate → our field.

A rate in any other unit (hours, pages, characters, video tokens, citations) makes the price unknown.
"""

TOOLS: Final = frozenset({"web_searches_kcount", "storage_searches_kcount"})
"""Charged beside the tokens: no price of a call by themselves."""

BY_PROMPT: Final = ("google", "gemini-2")
"""Grounded with web searches, these are charged by the prompt, and what is counted are the searches in it."""

FREE: Final = frozenset(
    {
        ("github-copilot", "gpt-3.5-turbo"),
        ("github-copilot", "gpt-4.1"),
        ("github-copilot", "gpt-4o"),
        ("github-copilot", "gpt-4o-mini"),
        ("google", "gemma-3"),
        ("google", "gemma-3n"),
        ("google", "gemma-4-26b-a4b-it"),
        ("google", "gemma-4-31b-it"),
        ("openai", "moderation"),
    }
)
"""Entries without any rate that the list itself calls free or part of a subscription; those named `…:free` are too.

Other entries without a rate are models nobody priced: unknown.
"""

ALIASES: Final = {
    "bedrock": "aws",
    "bedrock-mantle": "aws",
    "moonshot": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
}
"""Names in routes that the list spells otherwise."""

SIMULATED: Final = ProviderPrices(
    prices=(Price(id="simulated/*", periods=(Period(rates=Rates(input=0, output=0)),), patterns=(("^",),)),)
)
"""The built-in provider costs nothing, and says so."""

MAXIMA: Final = Path(__file__).with_name("maxima.json")


class Row(Maxima, frozen=True, forbid_unknown_fields=True):
    """A row of `maxima.json`: `names` are tests as in `Price.patterns`, on a model's own name in lower case."""

    names: tuple[str, ...] = ()


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. The first row that matches counts."""

    sources: tuple[str, ...]
    models: tuple[Row, ...]


class Known:
    """What models take and give at most."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._matcher = Matcher(
            [
                Price(id=str(place), periods=(), patterns=tuple((name,) for name in row.names))
                for place, row in enumerate(rows)
            ]
        )

    def place(self, model: str) -> int | None:
        """Which row a model of the list belongs to. What stands before its own name (`openai/`, `eu.`) is its maker."""
        name = model.lower().rpartition("/")[2]
        found = self._matcher.find(name)
        return None if found is None else int(found.id)

    def maxima(self, model: str, window: int | None) -> Maxima:
        """`window`: what the list knows."""
        place = self.place(model)
        if place is None:
            return Maxima(window=window)
        row = self._rows[place]
        return Maxima(
            window=max(filter(None, (row.window, window)), default=None),
            output=row.output,
            image=row.image,
            drawn=row.drawn,
        )


def compile_listed() -> bytes:
    """The file's content: JSON, one price a line."""
    known = Known(given().models)
    ordered = sorted(listed_providers, key=lambda each: each.id)
    providers = {provider.id: _provider(provider, known) for provider in ordered}
    providers["simulated"] = SIMULATED
    names = ALIASES | {each.replace("_", "-"): each for each in providers if "_" in each}
    version = f"{genai_prices.__version__}-{digest((names, providers))}"
    return _render(Listed(version=version, names=dict(sorted(names.items())), providers=providers))


def given() -> Given:
    """Our own data."""
    return msgspec.json.decode(MAXIMA.read_bytes(), type=Given)


def _render(listed: Listed) -> bytes:
    def encode(value: object) -> str:
        return msgspec.json.encode(value).decode()

    blocks = []
    for name, provider in listed.providers.items():
        lines = ",\n".join(map(encode, provider.prices))
        fallbacks = f',"fallbacks":{encode(provider.fallbacks)}' if provider.fallbacks else ""
        blocks.append(f'{encode(name)}:{{"prices":[\n{lines}]{fallbacks}}}')
    head = f'"version":{encode(listed.version)},\n"names":{encode(listed.names)}'
    body = ",\n".join(blocks)
    return f'{{{head},\n"providers":{{\n{body}}}}}\n'.encode()


def _provider(provider: types.Provider, known: Known) -> ProviderPrices:
    return ProviderPrices(
        prices=tuple(_price(provider.id, model, known) for model in provider.models),
        fallbacks=tuple(provider.fallback_model_providers or ()),
    )


def _price(provider: str, model: types.ModelInfo, known: Known) -> Price:
    names: dict[str, None] = {}
    patterns: list[tuple[str, ...]] = []
    for alternative in _alternatives(model.match):
        if len(alternative) == 1 and alternative[0].startswith("="):
            names[alternative[0][1:]] = None
        else:
            patterns.append(alternative)
    free = model.id.endswith(":free") or (provider, model.id) in FREE
    if isinstance(model.prices, types.ModelPrice):
        periods: tuple[Period, ...] = (_period(model.prices, None, free),)
    else:
        periods = tuple(_period(each.prices, each.constraint, free) for each in model.prices)
    if provider == BY_PROMPT[0] and model.id.startswith(BY_PROMPT[1]):
        periods = tuple(_without_searches(period) for period in periods)
    return Price(
        id=f"{provider}/{model.id}",
        periods=periods,
        names=tuple(names),
        patterns=tuple(patterns),
        maxima=known.maxima(model.id, model.context_window),
    )


def _alternatives(clause: types.MatchLogic) -> list[tuple[str, ...]]:
    """The clause as alternatives of conjunctions of single tests."""
    match clause:
        case types.ClauseEquals():
            return [(f"={clause.equals.lower()}",)]
        case types.ClauseStartsWith():
            return [(f"^{clause.starts_with.lower()}",)]
        case types.ClauseEndsWith():
            return [(f"${clause.ends_with.lower()}",)]
        case types.ClauseContains():
            return [(f"~{clause.contains.lower()}",)]
        case types.ClauseRegex():
            return [(f"/{clause.regex}",)]
        case types.ClauseOr():
            return [alternative for part in clause.or_ for alternative in _alternatives(part)]
        case types.ClauseAnd():
            parts = [_alternatives(part) for part in clause.and_]
            return [tuple(itertools.chain(*combination)) for combination in itertools.product(*parts)]
        case _:
            raise TypeError(f"unknown kind of match clause: {clause!r}")


def _period(
    price: types.ModelPrice,
    constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None,
    free: bool,
) -> Period:
    since: int | None = None
    window: tuple[int, int] | None = None
    match constraint:
        case types.StartDateConstraint():
            since = int(datetime.combine(constraint.start_date, time(), UTC).timestamp())
        case types.TimeOfDateConstraint():
            window = _second_of_day(constraint.start_time), _second_of_day(constraint.end_time)
        case None:
            pass
    listed = {unit: rate for unit, rate in vars(price).items() if rate is not None}
    if not listed:
        return Period(rates=Rates(input=0, output=0) if free else None, since=since, window=window)
    if not listed.keys() - TOOLS or not listed.keys() <= RATES.keys():
        return Period(rates=None, since=since, window=window)
    starts = sorted({tier.start for rate in listed.values() for tier in _tiers(rate)})
    tiers = tuple(Tier(above=start, rates=_rates(listed, start + 1)) for start in starts)
    return Period(rates=_rates(listed, 0), tiers=tiers, since=since, window=window)


def _without_searches(period: Period) -> Period:
    def without(rates: Rates) -> Rates:
        return msgspec.structs.replace(rates, web_search=None)

    return msgspec.structs.replace(
        period,
        rates=None if period.rates is None else without(period.rates),
        tiers=tuple(msgspec.structs.replace(tier, rates=without(tier.rates)) for tier in period.tiers),
    )


def _second_of_day(at: time) -> int:
    if at.utcoffset():
        at = datetime.combine(datetime(1970, 1, 1), at).astimezone(UTC).time()
    if at.microsecond:
        raise ValueError(f"a price window at {at} is not on a whole second")
    return at.hour * 3600 + at.minute * 60 + at.second


def _tiers(rate: Decimal | types.TieredPrices) -> Iterable[types.Tier]:
    return rate.tiers if isinstance(rate, types.TieredPrices) else ()


def _rates(listed: dict[str, Decimal | types.TieredPrices], prompt: int) -> Rates:
    """The rates for a prompt of so many tokens."""
    fields: dict[str, int] = {}
    for unit, rate in listed.items():
        dollars = rate.base if isinstance(rate, types.TieredPrices) else rate
        for tier in _tiers(rate):
            if prompt > tier.start:
                dollars = tier.price
        per = 1000 if unit.endswith("_kcount") else 1
        fields[RATES[unit]] = int((dollars * 10**9 / per).to_integral_value(ROUND_HALF_UP))
    return Rates(**fields)


def main() -> None:
    content = compile_listed()
    LISTED.write_bytes(content)
    sys.stdout.write(f"{LISTED}: {len(content)} bytes from genai-prices {genai_prices.__version__}\n")


if __name__ == "__main__":
    main()
