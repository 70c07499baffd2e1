"""A data directory with accounts: one tenant, its keys, of which one is used, a credential, an issuer, limits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from joserfc import jws
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.auth.keys import new_key
from gatehouse.auth.secrets import ApiKey
from gatehouse.auth.vault import Vault, binding_of
from gatehouse.config import masterkeys
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.model.access import CredentialEntry
from gatehouse.model.limits import Measure, ScopeKind, Window
from gatehouse.store import engine, times
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import (
    Event,
    NewBinding,
    NewCredential,
    NewIssuer,
    NewKey,
    NewLimit,
    NewProject,
    NewTenant,
    NewUser,
)
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.operator import OperatorStore

T = TypeVar("T")

KEYS = 10_000
PLENTY = 1 << 50
"""More than any run uses, so that no limit refuses: of 429s nothing is measured."""

_ISSUER, _AUDIENCE = "https://id.bench", "gateway"
_SCOPES = ("chat",)


@dataclass(frozen=True)
class Accounts:
    """What a caller sends."""

    id: str
    """Of the key."""
    key: str
    identity: str
    """A JWT of the issuer."""


def populate(data: Path, origin: str) -> Accounts:
    """Write the directory. `origin`: where the stored credential goes."""
    return asyncio.run(_with_directory(DataDir(data), lambda writing: _write(DataDir(data), writing, origin)))


def limit(data: Path, accounts: Accounts) -> None:
    """Ten limits, of which none is ever in the way."""
    asyncio.run(_with_directory(DataDir(data), lambda writing: _limit(writing, accounts.id)))


async def _with_directory(data: DataDir, act: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    await asyncio.to_thread(data.create)
    url = access.located(engine.locate(data.root, None))
    await access.prepare(url)
    writing = access.writer(url)
    try:
        return await act(writing)
    finally:
        await writing.dispose()


async def _write(data: DataDir, writing: AsyncEngine, origin: str) -> Accounts:
    tenant = project = ids.DEFAULT
    owner = NewUser(ids.new("user"), "owner@bench.example", "owner")
    told = [_event("tenant.create", tenant), _event("project.create", project), _event("user.create", owner.id)]
    await OperatorStore(writing).set_up(
        NewTenant(tenant, tenant), NewProject(project, str(ids.uuid7()), project), owner, told
    )
    vault = Vault(await asyncio.to_thread(masterkeys.read, Secrets(), data, {}, create=True))
    signer = ECKey.generate_key("P-256")
    used = new_key("live")
    async with Directory(writing, tenant).together() as directory:
        name = ids.new("credential")
        entry = CredentialEntry(name, tenant, "openai", origin, "api_key", b"")
        sealed = vault.seal(binding_of(entry), ApiKey("sk-bench"))
        credential = NewCredential(name, "bench", "openai", origin, "api_key", sealed, "ench")
        await directory.create_credential(credential, _event("credential.create", name))
        await directory.bind(project, NewBinding("openai", name), _event("project.enable", project))
        first = ids.new("key")
        for number in range(KEYS):
            made = new_key("live") if number else used
            key = NewKey(first if not number else ids.new("key"), made.digest, made.last4, project, scopes=_SCOPES)
            await directory.create_key(key, _event("key.create", key.id))
        issuer = NewIssuer(ids.new("issuer"), _ISSUER, _AUDIENCE, ("ES256",))
        await directory.create_issuer(issuer, _event("issuer.create", issuer.id))
        public = {"keys": [{**signer.as_dict(private=False), "kid": "bench"}]}
        await directory.put_jwks(issuer.id, json.dumps(public).encode())
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "user-1", "exp": int(time.time()) + 86_400}
    head = {"alg": "ES256", "kid": "bench"}
    token = jws.serialize_compact(head, json.dumps(claims).encode(), signer, algorithms=["ES256"])
    return Accounts(first, used.text, token)


async def _limit(writing: AsyncEngine, key: str) -> None:
    tenant = project = ids.DEFAULT
    async with Directory(writing, tenant).together() as directory:
        for scope, scope_id, measure, window in _limits(tenant, project, key):
            entry = NewLimit(ids.new("limit"), scope, scope_id, measure, window, PLENTY)
            await directory.create_limit(entry, _event("limit.create", entry.id))


def _limits(tenant: str, project: str, key: str) -> tuple[tuple[ScopeKind, str, Measure, Window], ...]:
    return (
        ("key", key, "requests", "minute"), ("key", key, "requests", "day"), ("key", key, "tokens", "minute"),
        ("key", key, "spend", "month"), ("key", key, "concurrency", "now"), ("project", project, "requests", "hour"),
        ("project", project, "spend", "day"), ("tenant", tenant, "tokens", "day"), ("tenant", tenant, "spend", "month"),
        ("tenant", tenant, "concurrency", "now"),
    )  # fmt: skip


def _event(action: str, target: str) -> Event:
    return Event(ids.new("event"), times.now(), "operator", action, action.partition(".")[0], target)
