"""What a worker needs to serve, as one frozen value with a version: the only way back from the control plane."""

from __future__ import annotations

import msgspec

from gatehouse.model.call import Dialect, Origin
from gatehouse.model.prices import Price, ProviderPrices


class ProviderEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider, ready to route to."""

    name: str
    prefix: str
    """Our path prefix, `/openai`."""
    dialect: Dialect
    origin: Origin
    base_path: str = ""
    """Path of `base_url`, no trailing slash: `/openai` for Groq."""
    version: str = "/v1"
    """The path segment the provider expects after `base_path` (`""` where it has none)."""
    unversioned: tuple[str, ...] = ()
    """First path segments that the provider serves without its version."""
    host_template: str | None = None
    """Azure: `{resource}.openai.azure.com`; `origin.host` is then meaningless."""
    ca_file: str | None = None
    private: bool = False
    """Whether addresses that are not public may be connected to."""
    ask_usage: bool = True
    propagates: bool = False
    """Whether it takes part in the caller's trace (W3C trace context)."""
    price_provider: str | None = None
    """Name in the price table, where it differs."""


class PriceTable(msgspec.Struct, frozen=True):
    """All prices, compiled. `version` stands on each record: the same version, the same prices."""

    version: str
    own: dict[str, tuple[Price, ...]]
    """Prices from the configuration by provider, the first match first. They go before listed ones."""
    listed: dict[str, ProviderPrices]
    names: dict[str, str]
    """Provider names of ours that the list spells otherwise: `xai` → `x-ai`."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a worker decides by, besides its own settings."""

    version: int
    providers: dict[str, ProviderEntry]
    prices: PriceTable
