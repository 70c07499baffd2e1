"""What is put into the directory: new things, changes of them, filters, and the events that tell of it.

Rules: ids are made by whoever creates (`ids.new`), since secrets are sealed for the id they belong to, and the event
names it. What a change leaves `UNSET` stays. Times are integer microseconds since the epoch. Secrets come sealed, keys
and tokens as digests, passwords hashed; no `repr` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.auth.sessions import Standing
from gatehouse.model.access import CredentialKind, Environment
from gatehouse.model.guarded import Guarded
from gatehouse.model.limits import DEFAULT_SHARE, AtCap, Measure, OnUnknown, ScopeKind, WhenDown, Window

ActorKind = Literal["user", "key", "token", "operator", "system"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change, or a log-in, as the journal will have it. Ids, numbers and flags: no name, no secret."""

    id: str
    at: int
    """Microseconds since the epoch."""
    actor_kind: ActorKind
    """`operator`: whoever may read the data directory."""
    action: str
    """`key.create`, `auth.login` …"""
    target_kind: str
    target: str
    actor: str | None = None
    details: Mapping[str, Any] = {}


class Outgoing(msgspec.Struct, frozen=True):
    """An event that is not in the journal yet."""

    tenant: str
    event: Event


class NewTenant(msgspec.Struct, frozen=True):
    id: str
    name: str


class TenantChange(msgspec.Struct, frozen=True):
    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewUser(Guarded, frozen=True):
    id: str
    email: str
    role: str
    name: str | None = None
    password_hash: str | None = None
    issuer: str | None = None
    subject: str | None = None
    """With `issuer`, or neither."""


class UserChange(Guarded, frozen=True):
    email: str | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    role: str | UnsetType = UNSET
    password_hash: str | None | UnsetType = UNSET
    """Ends the user's sessions."""
    issuer: str | None | UnsetType = UNSET
    subject: str | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    """Ends the user's sessions; the user's keys are refused meanwhile."""


class NewProject(msgspec.Struct, frozen=True):
    id: str
    uuid: str
    """UUIDv7 (`ids.uuid7`)."""
    name: str
    type: str = ""
    environment: str = ""
    team: str = ""
    own_keys: bool | None = None


class ProjectChange(msgspec.Struct, frozen=True):
    name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    environment: str | UnsetType = UNSET
    team: str | UnsetType = UNSET
    own_keys: bool | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewBinding(msgspec.Struct, frozen=True):
    provider: str
    credential: str
    """Id; of that provider."""
    weight: int | None = None
    """`None`: the credential's."""


class NewCredential(Guarded, frozen=True):
    id: str
    name: str
    provider: str
    origin: str
    kind: CredentialKind
    sealed: bytes
    last4: str
    settings: Mapping[str, Any] = {}
    weight: int = 1
    test: bool = False
    exclusive: str | None = None
    rotate_every_days: int | None = None
    rotate_hook: str | None = None
    rotate_key: bytes | None = None
    """What calls of the hook are signed with, sealed."""


class CredentialChange(Guarded, frozen=True):
    name: str | UnsetType = UNSET
    settings: Mapping[str, Any] | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    test: bool | UnsetType = UNSET
    exclusive: str | None | UnsetType = UNSET
    rotate_every_days: int | None | UnsetType = UNSET
    rotate_hook: str | None | UnsetType = UNSET
    rotate_key: bytes | None | UnsetType = UNSET
    retiring: bool | UnsetType = UNSET
    """It serves no new call, from now on."""
    disabled: bool | UnsetType = UNSET


class NewKey(Guarded, frozen=True):
    id: str
    digest: bytes
    """SHA-256 of the key's text."""
    last4: str
    project: str
    environment: Environment = "live"
    name: str | None = None
    owner: str | None = None
    user: str | None = None
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    role: str | None = None
    expires_at: int | None = None
    created_by: str | None = None


class Successor(Guarded, frozen=True):
    """The key that another is rotated to. All that is not named here it takes over."""

    id: str
    digest: bytes
    last4: str
    created_by: str | None = None


class KeyChange(msgspec.Struct, frozen=True):
    name: str | None | UnsetType = UNSET
    owner: str | None | UnsetType = UNSET
    user: str | None | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    providers: tuple[str, ...] | UnsetType = UNSET
    addresses: tuple[str, ...] | UnsetType = UNSET
    role: str | None | UnsetType = UNSET
    expires_at: int | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewLimit(msgspec.Struct, frozen=True):
    """As `model.limits.LimitEntry`."""

    id: str
    scope: ScopeKind
    scope_id: str
    """Of a key that was rotated: any of its rotations."""
    measure: Measure
    window: Window
    cap: int
    hard: bool = True
    at_cap: AtCap = "reject"
    on_unknown: OnUnknown = "bound"
    when_down: WhenDown | None = None
    assumed: int | None = None
    max_reserved_share: int = DEFAULT_SHARE
    """Per cent."""


class LimitChange(msgspec.Struct, frozen=True):
    cap: int | UnsetType = UNSET
    hard: bool | UnsetType = UNSET
    at_cap: AtCap | UnsetType = UNSET
    on_unknown: OnUnknown | UnsetType = UNSET
    when_down: WhenDown | None | UnsetType = UNSET
    assumed: int | None | UnsetType = UNSET
    max_reserved_share: int | UnsetType = UNSET


class NewIssuer(msgspec.Struct, frozen=True):
    """As `model.access.IssuerEntry`. `issuer` and `audience` together are one tenant's."""

    id: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_url: str | None = None
    user_claim: str = "sub"
    groups_claim: str = "groups"
    service_claim: str = "azp"
    project: str | None = None
    scopes: tuple[str, ...] = ()


class IssuerChange(msgspec.Struct, frozen=True):
    algorithms: tuple[str, ...] | UnsetType = UNSET
    jwks_url: str | None | UnsetType = UNSET
    user_claim: str | UnsetType = UNSET
    groups_claim: str | UnsetType = UNSET
    service_claim: str | UnsetType = UNSET
    project: str | None | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewSession(Guarded, frozen=True):
    id: str
    user: str
    standing: Standing
    """As `auth.sessions.begun` says."""


class NewToken(msgspec.Struct, frozen=True):
    id: str
    """The `jti`."""
    user: str
    scopes: tuple[str, ...]
    expires_at: int


class NewWebhook(Guarded, frozen=True):
    url: str
    sealed: bytes


class UserFilter(msgspec.Struct, frozen=True):
    """What is `None` does not filter, here and below."""

    email: str | None = None
    """Whole, in any case."""
    role: str | None = None


class ProjectFilter(msgspec.Struct, frozen=True):
    name: str | None = None
    """Whole, in any case."""
    uuid: str | None = None


class CredentialFilter(msgspec.Struct, frozen=True):
    name: str | None = None
    """Whole, in any case."""
    provider: str | None = None


class KeyFilter(msgspec.Struct, frozen=True):
    project: str | None = None
    user: str | None = None
    name: str | None = None
    """Whole."""
    last4: str | None = None
    revoked: bool | None = False
    """`None`: revoked ones as well."""
    ids: tuple[str, ...] | None = None
    """Any of these."""


class LimitFilter(msgspec.Struct, frozen=True):
    scope: ScopeKind | None = None
    scope_id: str | None = None
    """Of a key: any of its rotations."""
    scope_ids: tuple[str, ...] | None = None
    """Any of these; of keys, what they count as (`views.Key.counts_as`)."""
    measure: Measure | None = None
    window: Window | None = None


class SessionFilter(msgspec.Struct, frozen=True):
    user: str | None = None
