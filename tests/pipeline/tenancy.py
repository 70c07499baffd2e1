"""A tenant with a project, keys and credentials, as the sections of a snapshot, and what opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gatehouse.auth.keys import NewKey, new_key
from gatehouse.auth.secrets import ApiKey, Secret
from gatehouse.auth.vault import Vault, binding_of
from gatehouse.config import masterkeys
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.gateway.unsealing import Unsealer
from gatehouse.model.access import (
    Binding,
    CredentialEntry,
    Environment,
    IssuerEntry,
    KeyEntry,
    ProjectEntry,
    TenantEntry,
)
from gatehouse.model.snapshot import Sections

UUID = "0192f0c1-2345-7000-8000-00000000abcd"
EVERYTHING = ("chat", "embeddings", "images", "audio", "moderations", "files", "batches", "models", "realtime")


class Tenancy:
    """Grows entry by entry; `sections` is what it holds now. Ids of other tenants than `ten_a` are other ones."""

    def __init__(self, folder: Path, tenant: str = "ten_a") -> None:
        self.data = DataDir(folder)
        self.data.create()
        self._vault = Vault(masterkeys.read(Secrets(), self.data, {}, create=True))
        self.tenant = tenant
        self.own = tenant.removeprefix("ten_")
        self.sections = Sections(tenants={tenant: TenantEntry(tenant)})
        self.project()

    def unsealer(self) -> Unsealer:
        return Unsealer(Secrets(), self.data, {})

    def project(self, name: str | None = None, **changed: Any) -> ProjectEntry:
        name = name or f"prj_{self.own}"
        entry = ProjectEntry(name, self.tenant, UUID, team="research", environment="prod")
        entry = msgspec.structs.replace(entry, **changed)
        self.sections = msgspec.structs.replace(self.sections, projects={**self.sections.projects, name: entry})
        return entry

    def key(self, environment: Environment = "live", **changed: Any) -> NewKey:
        made = new_key(environment)
        name = self._named("key", len(self.sections.keys))
        project = f"prj_{self.own}"
        entry = KeyEntry(name, self.tenant, project, made.digest, environment, scopes=EVERYTHING)
        entry = msgspec.structs.replace(entry, **changed)
        self.sections = msgspec.structs.replace(self.sections, keys={**self.sections.keys, entry.id: entry})
        return made

    def credential(
        self, provider: str, origin: str, secret: str | Secret, *, weight: int = 1, **changed: Any
    ) -> CredentialEntry:
        """Stored, and bound to the project. A text is an API key."""
        name = self._named("crd", len(self.sections.credentials))
        entry = CredentialEntry(name, self.tenant, provider, origin, "api_key", b"")
        sealed = self._vault.seal(binding_of(entry), ApiKey(secret) if isinstance(secret, str) else secret)
        entry = msgspec.structs.replace(entry, sealed=sealed, **changed)
        project = self.sections.projects[f"prj_{self.own}"]
        self.sections = msgspec.structs.replace(self.sections, credentials={**self.sections.credentials, name: entry})
        self.project(bindings=(*project.bindings, Binding(provider, name, weight)), own_keys=project.own_keys)
        return entry

    def issuer(self, entry: IssuerEntry) -> None:
        self.sections = msgspec.structs.replace(self.sections, issuers={**self.sections.issuers, entry.id: entry})

    def _named(self, kind: str, number: int) -> str:
        return f"{kind}_{number}" if self.own == "a" else f"{kind}_{self.own}{number}"


def together(*tenancies: Tenancy) -> Sections:
    """Several tenants in one snapshot."""
    sections = [each.sections for each in tenancies]
    return Sections(
        tenants={name: entry for each in sections for name, entry in each.tenants.items()},
        projects={name: entry for each in sections for name, entry in each.projects.items()},
        keys={name: entry for each in sections for name, entry in each.keys.items()},
        credentials={name: entry for each in sections for name, entry in each.credentials.items()},
    )
