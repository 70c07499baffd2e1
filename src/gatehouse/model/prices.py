"""Prices in the form the hot path multiplies: integer nano-dollars per million tokens."""

from __future__ import annotations

import msgspec


class Rates(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nano-dollars per 1,000,000 tokens for each part of `Usage`. `None`: no rate of its own, see `pricing`."""

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    per_request: int = 0
    """Nano-dollars per call."""


class Tier(msgspec.Struct, frozen=True):
    """Rates that hold for the whole call when its prompt (`Usage.input_total`) is larger than `above` tokens."""

    above: int
    rates: Rates


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the table. `id` is `provider/model` and stands on records."""

    id: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    """Ascending by `above`."""
