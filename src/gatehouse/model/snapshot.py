"""What a worker needs to serve, as one frozen value with a version: the only way back from the control plane.

Rules: nobody changes a dict of a snapshot once it is made; the next one gets its own. A version names one content, and
only grows (`control.publishing` says how it is counted): 1 is the configuration alone, without any section.
"""

from __future__ import annotations

from typing import Final, Generic, Literal, TypeVar

import msgspec

from gatehouse.model.access import CredentialEntry, IssuerEntry, KeyEntry, ProjectEntry, TenantEntry
from gatehouse.model.call import Dialect, Origin
from gatehouse.model.limits import LimitEntry
from gatehouse.model.prices import Price, ProviderPrices

T = TypeVar("T")

SECTIONS: Final = ("tenants", "projects", "keys", "credentials", "issuers", "limits")
"""Fields of `Sections`, `Snapshot` and `Delta` that are of the directory, each by id."""

ProviderAuth = Literal["bearer", "anthropic", "azure", "google", "bedrock"]
"""How a stored credential goes into a provider's requests, and of which kinds it may be: `auth.injection`."""


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
    """Azure: `{resource}.openai.azure.com`; `origin.host` is then meaningless. With `regions`: of a region's host."""
    regions: Literal["", "prefix", "path"] = ""
    """Whether our path begins with the region that `host_template` takes (Bedrock; `origin.host` is then meaningless),
    or the provider's own path names it (Vertex AI; `origin` is then that of paths that name none)."""
    ca_file: str | None = None
    private: bool = False
    """Whether addresses that are not public may be connected to."""
    ask_usage: bool = True
    propagates: bool = False
    """Whether it takes part in the caller's trace (W3C trace context)."""
    auth: ProviderAuth = "bearer"


class PriceTable(msgspec.Struct, frozen=True):
    """All prices, compiled. `version` stands on each record: the same version, the same prices."""

    version: str
    own: dict[str, tuple[Price, ...]]
    """Prices from the configuration by provider, the first match first. They go before listed ones."""
    listed: dict[str, ProviderPrices]
    names: dict[str, str]
    """Provider names of ours that the list spells otherwise: `xai` → `x-ai`."""


class Sections(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the directory contributes: entries by id."""

    tenants: dict[str, TenantEntry] = {}
    projects: dict[str, ProjectEntry] = {}
    keys: dict[str, KeyEntry] = {}
    credentials: dict[str, CredentialEntry] = {}
    issuers: dict[str, IssuerEntry] = {}
    limits: dict[str, LimitEntry] = {}
    revision: int = 0
    """The directory's own count of its changes."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a worker decides by, besides its own settings."""

    version: int
    providers: dict[str, ProviderEntry]
    prices: PriceTable
    tenants: dict[str, TenantEntry] = {}
    projects: dict[str, ProjectEntry] = {}
    keys: dict[str, KeyEntry] = {}
    credentials: dict[str, CredentialEntry] = {}
    issuers: dict[str, IssuerEntry] = {}
    limits: dict[str, LimitEntry] = {}


class Change(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """What becomes of one section: entries that are new or different, and ids that are gone."""

    put: dict[str, T] = {}
    drop: tuple[str, ...] = ()


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The way from one version to another, or a part of it. `gateway.deltas` makes and applies it."""

    base: int
    """The version it goes on from; 0: from nothing, whatever is held."""
    version: int
    providers: dict[str, ProviderEntry] | None = None
    """All of them, where they differ. Likewise `prices`."""
    prices: PriceTable | None = None
    tenants: Change[TenantEntry] = Change()
    projects: Change[ProjectEntry] = Change()
    keys: Change[KeyEntry] = Change()
    credentials: Change[CredentialEntry] = Change()
    issuers: Change[IssuerEntry] = Change()
    limits: Change[LimitEntry] = Change()
    cut: tuple[str, ...] = ()
    """Keys whose running calls end, unless they are in force."""
