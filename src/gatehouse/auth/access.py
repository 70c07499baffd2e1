"""Who a caller is to the gateway, and what it may reach: one snapshot's keys, projects and credentials, ready to use.

Rules
- A key is looked up by the SHA-256 of its text, and nothing about it is believed that the snapshot does not say.
- Everything of a grant is its tenant's own: a project, binding or credential of another tenant is never found (I6).
- What a call may do is decided from three things: the key's scopes and lists, the project's bindings, and the endpoint
  table (`routing.scopes`). Whatever none of them allows is refused, with a sentence that says what to do.
- Made from entries when first needed: of 100,000 keys few are in use.
- Pure but for the turn of credentials that share a project's calls by weight.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gatehouse import errors
from gatehouse.auth.identity import Identities, Identity
from gatehouse.auth.injection import Injection
from gatehouse.auth.keys import digest, whole
from gatehouse.auth.positions import Positions, found
from gatehouse.auth.scopes import covers
from gatehouse.config.addresses import networks, parsed, within
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Headers
from gatehouse.model.access import CredentialEntry, IssuerEntry, KeyEntry, ProjectEntry, TenantEntry
from gatehouse.model.call import Principal

Opened = Callable[[CredentialEntry], Injection | None]
"""A credential ready for requests; `None` where it cannot be used (its secret does not open, its token is missing)."""

_USER_ID: Final = re.compile("usr_[0-9a-z]{26}")
"""Of the directory's users (`store.directory.ids`)."""
_REMEMBERED: Final = 1024
"""Addresses of one grant."""


class Stored:
    """A credential that serves a project's calls."""

    __slots__ = ("exclusive", "id", "injection", "left", "origin", "shared", "test", "weight")

    def __init__(self, entry: CredentialEntry, injection: Injection, weight: int, *, shared: bool) -> None:
        self.id = entry.id
        self.injection = injection
        self.origin = entry.origin
        self.weight = weight
        self.test = entry.test
        self.exclusive = entry.exclusive
        self.shared = shared
        """Several projects use it: none of them may list or read what the provider keeps for the others."""
        self.left = 0
        """Its turn comes when this is the largest (smooth weighted round-robin)."""


class Project:
    """A project's bindings, by provider."""

    __slots__ = ("bound", "entry")

    def __init__(self, entry: ProjectEntry, bound: dict[str, tuple[Stored, ...]]) -> None:
        self.entry = entry
        self.bound = bound
        """Also what cannot be used now, as no credential at all: nobody's own key may take its place."""


class Grant:
    """What one caller may do. `principal` is whom its calls are recorded for."""

    __slots__ = (
        "_addresses", "_models", "_networks", "expires", "key", "principal", "project", "providers", "scopes", "test",
    )  # fmt: skip

    def __init__(
        self,
        principal: Principal,
        project: Project,
        key: KeyEntry | None,
        scopes: tuple[str, ...],
        identity: Identity | None = None,
    ) -> None:
        self.principal = principal
        self.project = project
        self.key = key
        self.scopes = frozenset(scopes)
        self.test = key is not None and key.environment == "test"
        ends = [identity.expires] if identity is not None else []
        if key is not None and key.expires is not None:
            ends.append(key.expires)
        self.expires: float = min(ends, default=0)
        """Unix seconds; 0: never."""
        self.providers = frozenset(key.providers) if key is not None and key.providers else None
        patterns = key.models if key is not None else ()
        self._models = [re.compile(fnmatch.translate(pattern)) for pattern in patterns]
        self._networks = networks(key.addresses if key is not None else ())
        self._addresses: dict[str, bool] = {}

    @property
    def everywhere(self) -> bool:
        """Whether it may be used from any address."""
        return not self._networks

    def check(self, now: float, address: str) -> None:
        """What holds at this moment, from this address (empty: nobody knows it). Raises `GatehouseError`."""
        if self.expires and now >= self.expires:
            raise GatehouseError(errors.UNAUTHORIZED, "this gateway key, or the identity token beside it, has expired")
        if self._networks and not self._from(address):
            raise GatehouseError(errors.FORBIDDEN, "this gateway key may not be used from this address")

    def check_provider(self, provider: str) -> None:
        """Raises `GatehouseError` (403)."""
        if self.providers is not None and provider not in self.providers:
            raise GatehouseError(errors.FORBIDDEN, f"this gateway key may not reach provider {provider}")

    def check_scope(self, scope: str) -> None:
        """Raises `GatehouseError` (403 SCOPE_DENIED)."""
        if not covers(self.scopes, scope):
            raise GatehouseError(errors.SCOPE_DENIED, f"this gateway key lacks the scope `{scope}`")

    def may_model(self, model: str) -> bool:
        """Whether it may ask for this model, by the provider's word for it."""
        return not self._models or any([pattern.fullmatch(model) for pattern in self._models])

    @property
    def any_model(self) -> bool:
        """Whether it may ask for every model."""
        return not self._models

    def usable(self, provider: str) -> bool:
        """Whether it may reach a provider with a stored credential."""
        return (self.providers is None or provider in self.providers) and bool(self.project.bound.get(provider))

    def may_bring(self, provider: str) -> bool:
        """Whether its holder may use a provider key of its own."""
        allowed = self.project.entry.own_keys
        return not self.test and (provider not in self.project.bound if allowed is None else allowed)

    def stored(self, provider: str, origin: str | None) -> tuple[Stored, ...]:
        """The credentials for a provider, at this origin (`None`: at any). A test key has only those marked so."""
        return tuple(
            each
            for each in self.project.bound.get(provider, ())
            if (origin is None or each.origin == origin) and (each.test or not self.test)
        )

    def _from(self, address: str) -> bool:
        known = self._addresses.get(address)
        if known is None:
            known = within(parsed(address), self._networks)
            if len(self._addresses) < _REMEMBERED:
                self._addresses[address] = known
        return known


class Access:
    """The keys, projects and credentials of one snapshot."""

    def __init__(
        self,
        tenants: Mapping[str, TenantEntry],
        projects: Mapping[str, ProjectEntry],
        keys: Mapping[str, KeyEntry],
        credentials: Mapping[str, CredentialEntry],
        issuers: Mapping[str, IssuerEntry],
        opened: Opened,
        before: Access | None = None,
    ) -> None:
        """`before`: of the snapshot before, for what it has verified."""
        self._tenants = tenants
        self._projects = projects
        self._credentials = credentials
        self._issuers = issuers
        self._opened = opened
        self._keys = keys
        self._by_digest = {entry.digest: entry for entry in keys.values()}
        self._bound_by: dict[str, set[str]] = {}
        """Projects by credential."""
        for project in projects.values():
            for binding in project.bindings:
                self._bound_by.setdefault(binding.credential, set()).add(project.id)
        known = before._marks if before is not None else {}
        self._marks: dict[bytes, bytes] = {
            entry.sealed: known[entry.sealed] for entry in credentials.values() if entry.sealed in known
        }
        """`Injection.mark` by sealed secret, as far as they were opened."""
        self._sharing: dict[str, dict[bytes, set[str]]] = {}
        """Projects by mark, by origin."""
        self.identities: Identities = Identities(issuers, before.identities if before is not None else None)
        self._made: dict[str, Project] = {}
        self._grants: dict[str, Grant] = {}

    def tenant_of(self, issuer: str) -> str:
        """Whose an issuer is, by its id."""
        return self._issuers[issuer].tenant

    def in_force(self, key: str | None) -> bool:
        """Whether a gateway key, by id, still lets its holder in. `None`: none was needed."""
        entry = None if key is None else self._keys.get(key)
        return key is None or (entry is not None and not entry.disabled)

    def found(self, headers: Headers, path: str, query: str) -> Positions:
        """The credentials of a head. Beside a gateway key only its own tenant's issuers make a JWT one of ours: what
        another tenant configures takes nobody's provider key away."""
        positions = found(headers, path, query, self.identities.issued)
        if not positions.tokens or not positions.gateway:
            return positions
        entry = self._by_digest.get(digest(positions.gateway[0]))
        if entry is None:
            return positions
        return found(headers, path, query, partial(self.identities.issued, tenant=entry.tenant))

    def grant(self, positions: Positions, project_uuid: str | None, now: float) -> Grant:
        """What the caller of a request may do. `project_uuid`: of the path, where it names a project.

        Raises `GatehouseError`: 401 for callers who are unknown, 403 for those who are known and refused.
        """
        text = positions.single()
        if text is None:
            raise _nobody(positions)
        if text in positions.gateway:
            entry = self._by_digest.get(digest(text))
            if entry is None:
                why = "" if whole(text) else "; it is not whole: mistyped, cut short or in quotes"
                raise GatehouseError(errors.UNAUTHORIZED, f"this gateway key is unknown, or was revoked{why}")
            identity = self._beside(positions, entry.tenant, now)
            grant = self._of_key(entry) if identity is None else self._of_pair(entry, identity)
        else:
            grant = self._of_token(self.identities.verify(text, now))
        if project_uuid is not None and project_uuid != grant.project.entry.uuid:
            raise GatehouseError(errors.FORBIDDEN, "this gateway key belongs to another project than the address names")
        return grant

    def _beside(self, positions: Positions, tenant: str, now: float) -> Identity | None:
        return self.identities.verify(positions.identity[0], now, tenant) if positions.identity else None

    def _of_key(self, entry: KeyEntry) -> Grant:
        known = self._grants.get(entry.id)
        if known is not None:
            return known
        project = self._project_of(entry)
        principal = Principal(
            tenant=entry.tenant,
            project=project.entry.id,
            key=entry.id,
            user=entry.user,
            team=project.entry.team or None,
            environment=project.entry.environment or None,
        )
        made = self._grants[entry.id] = Grant(principal, project, entry, entry.scopes)
        return made

    def _of_pair(self, entry: KeyEntry, identity: Identity) -> Grant:
        """A key, and who uses it."""
        base = self._of_key(entry)
        return Grant(_as(base.principal, identity), base.project, entry, entry.scopes, identity)

    def _of_token(self, identity: Identity) -> Grant:
        """A token that is the only credential."""
        issuer = self._issuers[identity.issuer]
        if issuer.project is None:
            raise GatehouseError(
                errors.UNAUTHORIZED, "an identity token of this issuer is no credential alone; send a gateway key, too"
            )
        project = self._project(issuer.project, issuer.tenant)
        principal = Principal(
            tenant=issuer.tenant,
            project=project.entry.id,
            team=project.entry.team or None,
            environment=project.entry.environment or None,
        )
        return Grant(_as(principal, identity), project, None, issuer.scopes, identity)

    def _project_of(self, entry: KeyEntry) -> Project:
        if entry.disabled:
            raise GatehouseError(errors.FORBIDDEN, "this gateway key is disabled, or its user may make no calls")
        return self._project(entry.project, entry.tenant)

    def _project(self, name: str, tenant: str) -> Project:
        entry = self._projects.get(name)
        owner = self._tenants.get(tenant)
        if entry is None or entry.tenant != tenant or owner is None:
            raise GatehouseError(errors.FORBIDDEN, "the project of this credential is gone")
        if entry.disabled or owner.disabled:
            raise GatehouseError(errors.FORBIDDEN, "the project of this credential is disabled")
        known = self._made.get(name)
        if known is None:
            known = self._made[name] = Project(entry, self._bound(entry))
        return known

    def _bound(self, project: ProjectEntry) -> dict[str, tuple[Stored, ...]]:
        found: dict[str, list[Stored]] = {}
        for binding in project.bindings:
            usable = found.setdefault(binding.provider, [])
            entry = self._credentials.get(binding.credential)
            if entry is None or entry.tenant != project.tenant or entry.provider != binding.provider or entry.retiring:
                continue
            injection = self._opened(entry)
            if injection is not None:
                shared = len(self._sharers(entry, injection) | self._bound_by[entry.id]) > 1
                usable.append(Stored(entry, injection, binding.weight, shared=shared))
        return {provider: tuple(usable) for provider, usable in found.items()}

    def _sharers(self, entry: CredentialEntry, injection: Injection) -> set[str]:
        """The projects whose calls go out on the same key to the same origin, whoever stored it, under whatever id.

        The first time for an origin, all that is stored for it is opened: 20 µs each, once while it stays the same.
        """
        by_mark = self._sharing.get(entry.origin)
        if by_mark is None:
            by_mark = self._sharing[entry.origin] = {}
            for each in self._credentials.values():
                if each.origin == entry.origin and each.id in self._bound_by:
                    mark = injection.mark if each.id == entry.id else self._mark(each)
                    if mark is not None:
                        by_mark.setdefault(mark, set()).update(self._bound_by[each.id])
        return by_mark.get(injection.mark, set())

    def _mark(self, entry: CredentialEntry) -> bytes | None:
        known = self._marks.get(entry.sealed)
        if known is None:
            injection = self._opened(entry)
            if injection is None:
                return None
            known = self._marks[entry.sealed] = injection.mark
        return known


def pick(stored: tuple[Stored, ...], now: int) -> Stored | None:
    """Whose turn it is; `None` where none may be used any more. `now`: Unix seconds."""
    if len(stored) == 1:
        only = stored[0]
        return only if only.injection.fresh(now) else None
    chosen: Stored | None = None
    total = 0
    for each in stored:
        if each.injection.fresh(now):
            each.left += each.weight
            total += each.weight
            if chosen is None or each.left > chosen.left:
                chosen = each
    if chosen is not None:
        chosen.left -= total
    return chosen


def _as(principal: Principal, identity: Identity) -> Principal:
    return Principal(
        tenant=principal.tenant,
        project=principal.project,
        key=principal.key,
        user=_user(identity) or principal.user,
        team=principal.team,
        environment=principal.environment,
        service=identity.service,
        groups=identity.groups,
        actor=identity.actor,
    )


def _user(identity: Identity) -> str | None:
    """Raises `GatehouseError` (401): on record, in limits, and for whoever looks at their own calls, an id of the
    directory is that user."""
    if identity.user is not None and _USER_ID.fullmatch(identity.user):
        detail = (
            "the identity token names its user like one of Gatehouse's own; have the issuer's user_claim be another"
        )
        raise GatehouseError(errors.UNAUTHORIZED, detail)
    return identity.user


def _nobody(positions: Positions) -> GatehouseError:
    if positions.provider:
        return GatehouseError(
            errors.UNAUTHORIZED,
            "a provider's key alone is not enough here: send a gateway key, as the SDK's key or in X-Gatehouse-Key",
        )
    return GatehouseError(errors.UNAUTHORIZED, "no gateway key; send one where the SDK puts its key")
