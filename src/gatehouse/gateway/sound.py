"""What of the directory may go into a snapshot: entries of nobody's, or that lead to another tenant's, stay out (I6).

Rules: pure. Left out, not refused as a whole: one bad row must not keep a revocation from being published. What a bad
entry would have allowed is denied, and control says so in its log. A binding of a credential that is not there stays:
without it the project would count as one that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gatehouse.model.access import ProjectEntry
from gatehouse.model.snapshot import Sections

DIGEST_BYTES: Final = 32


def sound(sections: Sections) -> tuple[Sections, list[str]]:
    """The sections without what is wrong in itself, and a sentence for each entry left out."""
    sieve = _Sieve(sections)
    projects = sieve.kept("project", sections.projects, sieve.project)
    sieve.projects = projects
    return (
        Sections(
            tenants=sections.tenants,
            projects=projects,
            keys=sieve.kept("key", sections.keys, sieve.key),
            credentials=sieve.kept("credential", sections.credentials, sieve.owned),
            issuers=sieve.kept("issuer", sections.issuers, sieve.placed),
            limits=sieve.kept("limit", sections.limits, sieve.owned),
            revision=sections.revision,
        ),
        sieve.said,
    )


class _Sieve:
    """Each test says why an entry cannot stay, or nothing."""

    def __init__(self, sections: Sections) -> None:
        self.said: list[str] = []
        self.projects: Mapping[str, ProjectEntry] = {}
        self._tenants = sections.tenants
        self._credentials = sections.credentials

    def kept(self, kind: str, entries: Mapping[str, Any], test: Callable[[Any], str | None]) -> dict[str, Any]:
        found = {}
        for identity, entry in entries.items():
            wrong = test(entry) if entry.id == identity else f"it says it is {entry.id}"
            if wrong is None:
                found[identity] = entry
            else:
                self.said.append(f"{kind} {identity} is left out: {wrong}")
        return found

    def owned(self, entry: Any) -> str | None:
        return None if entry.tenant in self._tenants else f"there is no tenant {entry.tenant}"

    def project(self, entry: ProjectEntry) -> str | None:
        for binding in entry.bindings:
            credential = self._credentials.get(binding.credential)
            if credential is not None and credential.tenant != entry.tenant:
                return f"credential {binding.credential} is bound to it, and is another tenant's"
        return self.owned(entry)

    def placed(self, entry: Any) -> str | None:
        if entry.project is not None:
            project = self.projects.get(entry.project)
            if project is None or project.tenant != entry.tenant:
                return f"its tenant has no project {entry.project}"
        return self.owned(entry)

    def key(self, entry: Any) -> str | None:
        if len(entry.digest) != DIGEST_BYTES:
            return f"its digest has {len(entry.digest)} bytes"
        return self.placed(entry)
