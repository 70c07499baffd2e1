"""What a worker needs to serve, as one frozen value with a version: the only way back from the control plane."""

from __future__ import annotations

import msgspec

from gatehouse.model.call import Dialect, Origin
from gatehouse.model.prices import Price


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
    host_template: str | None = None
    """Azure: `{resource}.openai.azure.com`; `origin.host` is then meaningless."""
    ca_file: str | None = None
    private: bool = False
    """Whether addresses that are not public may be connected to."""
    ask_usage: bool = True
    price_provider: str | None = None
    """Name in the price table, where it differs."""


class PriceTable(msgspec.Struct, frozen=True):
    """Prices by provider and model, compiled. `version` stands on each record."""

    version: str
    providers: dict[str, dict[str, Price]]
    """provider → model pattern → price; how patterns match is `pricing`'s business."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a worker decides by, besides its own settings."""

    version: int
    providers: dict[str, ProviderEntry]
    prices: PriceTable
