"""The price table: the list that comes with the release, and the configuration's own prices before it.

`listed.json` is written by `python -m gatehouse.pricing.compile` and committed. A worker never sees where it came from.
"""

from __future__ import annotations

import hashlib
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Final

import msgspec

from gatehouse.config import settings
from gatehouse.model.prices import Period, Price, ProviderPrices, Rates
from gatehouse.model.snapshot import PriceTable

LISTED: Final = Path(__file__).with_name("listed.json")
DIGEST: Final = 12
"""Hex digits of a SHA-256 that stand in a version."""

_EXACT: Final = Context(prec=28, traps=[Inexact, InvalidOperation])
_NANO: Final = Decimal("1e-9")


class Listed(msgspec.Struct, frozen=True):
    """The packaged file."""

    version: str
    """genai-prices' version and the digest of the rest of this file."""
    names: dict[str, str]
    providers: dict[str, ProviderPrices]


def table(prices: settings.Prices) -> PriceTable:
    """All prices a worker needs.

    Raises `decimal.Inexact` or `decimal.InvalidOperation` for amounts that `config.fields.Money` does not allow.
    """
    listed = msgspec.json.decode(LISTED.read_bytes(), type=Listed)
    own: dict[str, tuple[Price, ...]] = {}
    for model in prices.models:
        provider = listed.names.get(model.provider, model.provider)
        own[provider] = (*own.get(provider, ()), _own(model))
    version = f"{listed.version}-{digest(prices.models)}" if prices.models else listed.version
    return PriceTable(version=version, own=own, listed=listed.providers, names=listed.names)


def digest(value: object) -> str:
    """The short digest of a value's canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:DIGEST]


def _own(model: settings.ModelPrice) -> Price:
    rates = Rates(
        input=_nano(model.input),
        cache_read=_optional(model.cache_read),
        cache_write=_optional(model.cache_write),
        cache_write_1h=_optional(model.cache_write_1h),
        output=_nano(model.output),
        reasoning=_optional(model.reasoning),
        audio_input=_optional(model.audio_input),
        audio_output=_optional(model.audio_output),
        image_input=_optional(model.image_input),
        image_output=_optional(model.image_output),
        image_cache_read=_optional(model.image_cache_read),
        audio_cache_read=_optional(model.audio_cache_read),
        per_request=_nano(model.per_request),
        web_search=_per_thousand(model.web_search),
        file_search=_per_thousand(model.file_search),
    )
    name = model.model.lower()
    periods = (Period(rates=rates),)
    identity = f"own:{model.provider}/{model.model}"
    if name.endswith("*"):
        return Price(id=identity, periods=periods, patterns=((f"^{name[:-1]}",),))
    return Price(id=identity, periods=periods, names=(name,))


def _optional(dollars: str | None) -> int | None:
    return None if dollars is None else _nano(dollars)


def _per_thousand(dollars: str | None) -> int | None:
    """Of one, half up."""
    return None if dollars is None else (_nano(dollars) + 500) // 1000


def _nano(dollars: str) -> int:
    """Whole nano-dollars; never rounded."""
    return int(Decimal(dollars).quantize(_NANO, context=_EXACT).scaleb(9))
