"""Sections as the directory would give them: a few by name, many by number, any by hypothesis."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

from gatehouse.config.settings import Settings
from gatehouse.gateway.snapshot import build
from gatehouse.model.access import Binding, CredentialEntry, IssuerEntry, KeyEntry, ProjectEntry, TenantEntry
from gatehouse.model.limits import LimitEntry
from gatehouse.model.snapshot import SECTIONS, Sections, Snapshot

TENANT = "ten_1"
PROJECT = "prj_1"
SETTINGS = Settings()
PLAIN = build(SETTINGS)
"""The configuration alone."""


def key(number: int, **changes: Any) -> KeyEntry:
    """A key like those that callers have."""
    identity = f"key_{number:020}"
    entry = KeyEntry(
        id=identity,
        tenant=TENANT,
        project=PROJECT,
        digest=hashlib.sha256(identity.encode()).digest(),
        user=f"usr_{number % 500:020}",
        scopes=("chat", "embeddings", "models"),
        models=("gpt-4o*",) if number % 3 == 0 else (),
    )
    return msgspec.structs.replace(entry, **changes)


def sections(keys: int, revision: int = 1, first: int = 0) -> Sections:
    """One tenant, one project, so many keys, and a limit for each tenth of them."""
    numbers = range(first, first + keys)
    made = [key(number) for number in numbers]
    limits = [
        LimitEntry(f"lim_{number:020}", TENANT, "key", made[number - first].id, "requests", "minute", 60)
        for number in numbers
        if number % 10 == 0
    ]
    return Sections(
        tenants={TENANT: TenantEntry(TENANT)},
        projects={PROJECT: ProjectEntry(PROJECT, TENANT, "0192f0c0-0000-7000-8000-000000000001")},
        keys={entry.id: entry for entry in made},
        limits={entry.id: entry for entry in limits},
        revision=revision,
    )


def without(given: Sections, *keys: str) -> Sections:
    """As if these had been revoked."""
    left = {identity: entry for identity, entry in given.keys.items() if identity not in keys}
    return msgspec.structs.replace(given, keys=left, revision=given.revision + 1)


_ids = st.sampled_from([f"x{number}" for number in range(8)])
_words = st.text("ab/*", max_size=3)
_entry: dict[str, Callable[[str], st.SearchStrategy[Any]]] = {
    "tenants": lambda i: st.builds(TenantEntry, id=st.just(i), disabled=st.booleans()),
    "projects": lambda i: st.builds(
        ProjectEntry,
        id=st.just(i),
        tenant=_ids,
        uuid=_words,
        own_keys=st.sampled_from([None, True, False]),
        bindings=st.lists(st.builds(Binding, _words, _ids), max_size=2).map(tuple),
    ),
    "keys": lambda i: st.builds(
        KeyEntry,
        id=st.just(i),
        tenant=_ids,
        project=_ids,
        digest=st.binary(min_size=32, max_size=32),
        scopes=st.lists(_words, max_size=2).map(tuple),
        expires=st.none() | st.integers(0, 2**40),
        disabled=st.booleans(),
    ),
    "credentials": lambda i: st.builds(
        CredentialEntry,
        id=st.just(i),
        tenant=_ids,
        provider=_words,
        origin=_words,
        kind=st.sampled_from(["api_key", "aws_keys"]),
        sealed=st.binary(max_size=4),
    ),
    "issuers": lambda i: st.builds(
        IssuerEntry,
        id=st.just(i),
        tenant=_ids,
        issuer=_words,
        audience=_words,
        algorithms=st.just(("RS256",)),
        jwks=st.binary(max_size=4),
        project=st.none() | _ids,
    ),
    "limits": lambda i: st.builds(
        LimitEntry,
        id=st.just(i),
        tenant=_ids,
        scope=st.sampled_from(["key", "tenant"]),
        scope_id=_ids,
        measure=st.just("requests"),
        window=st.just("minute"),
        cap=st.integers(0, 2**62),
    ),
}


@st.composite
def any_sections(draw: st.DrawFn) -> Sections:
    """Sections that need not fit together."""
    found: dict[str, Any] = {}
    for name in SECTIONS:
        found[name] = {identity: draw(_entry[name](identity)) for identity in draw(st.sets(_ids, max_size=5))}
    return Sections(**found, revision=draw(st.integers(0, 9)))


@st.composite
def any_snapshots(draw: st.DrawFn, version: int) -> Snapshot:
    """A snapshot of that version, some providers missing."""
    made = draw(any_sections())
    providers = dict(PLAIN.providers)
    for name in draw(st.sets(st.sampled_from(sorted(providers)), max_size=2)):
        del providers[name]
    prices = msgspec.structs.replace(PLAIN.prices, version=draw(st.sampled_from(["1", "2"])), listed={})
    return Snapshot(version, providers, prices, **{name: getattr(made, name) for name in SECTIONS})
