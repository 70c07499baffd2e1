"""What is read from the directory: the frozen values that the API encodes and the CLI prints.

Rules: field names are the JSON's and stay stable; times are RFC 3339 UTC with microseconds, so that they compare as
text; `null` is "not set". Nothing here holds a secret, sealed or not, or a digest, but what `operator` hands to the
control plane itself, whose `repr` shows none.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from gatehouse.auth.sessions import Standing
from gatehouse.model.access import CredentialKind, Environment
from gatehouse.model.guarded import Guarded
from gatehouse.model.limits import AtCap, Measure, OnUnknown, ScopeKind, WhenDown, Window
from gatehouse.store.views import Time

Health = Literal["unknown", "healthy", "unhealthy"]
SealedKind = Literal["credential", "token", "hook", "webhook"]
Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A page of a list, newest first. `next_cursor` is `null` at the end."""

    items: list[Item]
    next_cursor: str | None


class Tenant(msgspec.Struct, frozen=True):
    """An organization."""

    id: str
    name: str
    created_at: Time
    disabled: bool


class User(msgspec.Struct, frozen=True):
    """A person in one tenant. Erased: nothing is left of who it was, and the id stays."""

    id: str
    email: str | None
    name: str | None
    role: str
    """A name of `auth.roles`."""
    issuer: str | None
    subject: str | None
    """Whom the sign-on provider knows it as, once linked."""
    has_password: bool
    created_at: Time
    disabled: bool
    erased_at: Time | None


class Binding(msgspec.Struct, frozen=True):
    """A provider that a project may use with a stored credential."""

    provider: str
    credential: str
    weight: int
    """Its share of the provider's calls: the binding's own, else the credential's."""


class Project(msgspec.Struct, frozen=True):
    """What gateway keys belong to."""

    id: str
    uuid: str
    """As in `/api/{uuid}/v1`."""
    name: str
    type: str
    environment: str
    team: str
    own_keys: bool | None
    """Whether callers may bring their own provider keys; `null`: while no credential for that provider is bound."""
    bindings: list[Binding]
    disabled: bool
    created_at: Time


class Credential(msgspec.Struct, frozen=True):
    """A provider's secret, without the secret."""

    id: str
    name: str
    provider: str
    origin: str
    kind: CredentialKind
    last4: str
    settings: dict[str, Any]
    """What belongs to it and is no secret: region, role ARN, directory and client id."""
    weight: int
    """What its bindings weigh that say nothing themselves."""
    test: bool
    """`…_test_` keys may use it."""
    exclusive: str | None
    """The one project whose stored objects may be listed and read with it."""
    rotate_every_days: int | None
    rotate_hook: str | None
    """URL that returns a new secret."""
    health: Health
    health_reason: str | None
    health_at: Time | None
    token_expires_at: Time | None
    """Of the token fetched last, where one has to be fetched."""
    retiring_at: Time | None
    """Since when it serves no new call."""
    rotated_at: Time
    """When its secret was set last."""
    disabled: bool
    created_at: Time


class Key(msgspec.Struct, frozen=True):
    """A gateway key, without the key."""

    id: str
    last4: str
    name: str | None
    owner: str | None
    """A label."""
    user: str | None
    """Whose it is."""
    project: str
    environment: Environment
    scopes: list[str]
    models: list[str]
    providers: list[str]
    addresses: list[str]
    role: str | None
    expires_at: Time | None
    disabled_at: Time | None
    revoked_at: Time | None
    created_at: Time
    created_by: str | None
    """Id of the user who made it, also by a token or key of theirs; `null`: the operator."""
    succeeded_by: str | None
    """The key it was rotated to."""
    retires_at: Time | None
    """From when only its successor is taken."""
    counts_as: str
    """Id of the first of its rotations: what its limits and their counters belong to."""


class Limit(msgspec.Struct, frozen=True):
    """One limit (`model.limits.LimitEntry`)."""

    id: str
    scope: ScopeKind
    scope_id: str
    measure: Measure
    window: Window
    cap: int
    hard: bool
    at_cap: AtCap
    on_unknown: OnUnknown
    when_down: WhenDown | None
    assumed: int | None
    max_reserved_share: int
    created_at: Time


class Issuer(msgspec.Struct, frozen=True):
    """Whose JWTs say who a caller is (`model.access.IssuerEntry`)."""

    id: str
    issuer: str
    audience: str
    algorithms: list[str]
    jwks_url: str | None
    """Where its keys are; `null`: where its discovery document says."""
    user_claim: str
    groups_claim: str
    service_claim: str
    project: str | None
    scopes: list[str]
    keys_at: Time | None
    """When its keys were fetched last."""
    disabled: bool
    created_at: Time


class Session(msgspec.Struct, frozen=True):
    """Somebody logged in with a browser."""

    id: str
    user: str
    created_at: Time
    rotated_at: Time
    """When its token was replaced last."""
    seen_at: Time


class PlatformToken(msgspec.Struct, frozen=True):
    """A platform JWT; its id is the token's `jti`."""

    id: str
    user: str
    scopes: list[str]
    created_at: Time
    expires_at: Time
    revoked_at: Time | None


class Webhook(msgspec.Struct, frozen=True):
    """Where a tenant's events are posted to."""

    url: str
    created_at: Time


class LogIn(Guarded, frozen=True):
    """Who may be logging in, and what the password is held against."""

    tenant: str
    user: str
    role: str
    password_hash: str | None


class Holder(msgspec.Struct, frozen=True):
    """Who stands behind a session, a platform token or a gateway key."""

    tenant: str
    kind: Literal["session", "token", "key"]
    id: str
    user: str | None
    user_role: str | None
    """The user's present role."""
    role: str | None
    """The key's own role on the management API."""
    scopes: tuple[str, ...]
    """Of a token or a key."""
    project: str | None
    created_at: Time
    expires_at: Time | None
    addresses: tuple[str, ...] = ()
    """Networks that a key may be used from; empty: from anywhere."""
    maker_role: str | None = None
    """The present role of whoever made a key; `None`: nobody of the tenant did."""


class Presented(Guarded, frozen=True):
    """A session's token that somebody came with: whether it still serves is for `auth.sessions.judged` to say."""

    holder: Holder
    standing: Standing


class StoredSecret(Guarded, frozen=True):
    """A credential as the control plane needs it: to fetch tokens from, to rotate, to remind of."""

    tenant: str
    id: str
    provider: str
    origin: str
    kind: CredentialKind
    sealed: bytes
    settings: dict[str, Any]
    token_expires_at: Time | None
    rotate_every_days: int | None
    rotate_hook: str | None
    rotate_key: bytes | None
    """What calls of the hook are signed with, sealed."""
    rotated_at: Time
    reminded_at: Time | None
    """When it was last called to mind that the secret is old."""
    health: Health


class Sealed(Guarded, frozen=True):
    """Something sealed under the master key, wherever it stands: for `gatehouse secrets rotate`."""

    tenant: str
    kind: SealedKind
    id: str
    """Of the credential; of the tenant, where it is the webhook's."""
    sealed: bytes


class KeySet(msgspec.Struct, frozen=True):
    """An issuer whose keys the control plane fetches."""

    tenant: str
    id: str
    issuer: str
    jwks_url: str | None
    keys_at: Time | None


class Hook(Guarded, frozen=True):
    """A tenant's webhook, with the secret its posts are signed with."""

    tenant: str
    url: str
    sealed: bytes
    posted: str | None
    """Id of the event that was posted last."""
