"""Who may call what, and with which secret: entries of the snapshot's sections, as a worker needs them.

Rules: ids, digests and sealed secrets only. No name, no e-mail and no plain secret leaves the control plane this way.
Each entry names its tenant; nothing of one tenant refers to another's (I6).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Environment = Literal["live", "test"]

Role = Literal["owner", "admin", "developer", "member", "viewer", "auditor"]
"""A name of `auth.roles`, which says what each may; a test compares."""

CredentialKind = Literal["api_key", "azure_entra", "aws_keys", "aws_role", "google_service_account"]
"""What the secret is: a key that goes into a header as it is; or what a token, or a signature, is made from."""

ALGORITHMS: Final = frozenset("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 Ed25519 EdDSA".split())
"""Asymmetric ones, which an issuer may be allowed to sign with."""


class TenantEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An organization."""

    id: str
    disabled: bool = False


class Binding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider that a project may use with a stored credential. Several of one provider share its calls by weight."""

    provider: str
    credential: str
    """Id of the credential."""
    weight: int = 1


class ProjectEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A project: what gateway keys belong to."""

    id: str
    tenant: str
    uuid: str
    """As in `/api/{uuid}/v1`."""
    environment: str = ""
    """A dimension of reports, such as `prod`."""
    team: str = ""
    """A dimension of reports."""
    own_keys: bool | None = None
    """Whether callers may bring their own provider keys; `None`: while no credential for that provider is bound."""
    bindings: tuple[Binding, ...] = ()
    disabled: bool = False


class KeyEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A gateway key. Revoked ones are not in the snapshot."""

    id: str
    tenant: str
    project: str
    digest: bytes
    """SHA-256 of the key's text, 32 bytes: what a call is looked up by."""
    environment: Environment = "live"
    user: str | None = None
    scopes: tuple[str, ...] = ()
    """Names of `auth.scopes`; empty: none."""
    models: tuple[str, ...] = ()
    """Patterns (`gpt-4o*`) of models it may ask for; empty: any."""
    providers: tuple[str, ...] = ()
    """Names of providers it may reach; empty: any that its project may."""
    addresses: tuple[str, ...] = ()
    """Networks (CIDR) it may be used from; empty: from anywhere."""
    expires: int | None = None
    """Unix seconds."""
    disabled: bool = False
    """It is known and refused: 403, where an unknown one is 401."""
    role: str | None = None
    """On the management API (`auth.roles`); `None`: it opens nothing there."""
    counts_as: str | None = None
    """Id that its limits and counters go by: the first of its rotations; `None`: its own."""


class CredentialEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider's secret, sealed (`auth.vault`): bound to tenant, credential, provider and origin (I3)."""

    id: str
    tenant: str
    provider: str
    origin: str
    """The one origin it may go to, `https://api.openai.com`."""
    kind: CredentialKind
    sealed: bytes
    """For all kinds but `api_key` and `aws_keys`: the token that control fetched last."""
    test: bool = False
    """`…_test_` keys may use it."""
    exclusive: str | None = None
    """Id of the one project whose stored objects (files, batches …) may be listed and read with it."""
    retiring: bool = False
    """It serves no new call."""


class IssuerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose JWTs say who a caller is. `jwks` is fetched and kept fresh by the control plane."""

    id: str
    tenant: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    """Allowed ones, asymmetric."""
    jwks: bytes = b""
    """The key set, JSON, as last fetched."""
    user_claim: str = "sub"
    groups_claim: str = "groups"
    service_claim: str = "azp"
    project: str | None = None
    """The project of callers whose token is their only credential; `None`: a gateway key is needed beside it."""
    scopes: tuple[str, ...] = ()
    """What such callers may do."""
