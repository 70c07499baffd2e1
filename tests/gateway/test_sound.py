"""What of the directory may go into a snapshot."""

from __future__ import annotations

from hypothesis import given, settings

from gatehouse.gateway.sound import sound
from gatehouse.model.access import Binding, CredentialEntry, IssuerEntry, ProjectEntry, TenantEntry
from gatehouse.model.limits import LimitEntry
from gatehouse.model.snapshot import SECTIONS, Sections
from tests.gateway.entries import any_sections, key, sections


def test_what_fits_together_goes_in_as_it_is() -> None:
    given = sections(100)
    assert sound(given) == (given, [])


def test_entries_of_nobody_or_that_lead_to_another_tenant_stay_out() -> None:
    """I6. Each is named, by ids alone; the rest goes on."""
    given = Sections(
        tenants={"a": TenantEntry("a"), "b": TenantEntry("b")},
        projects={
            "pa": ProjectEntry("pa", "a", "u1", bindings=(Binding("openai", "ca"), Binding("openai", "gone"))),
            "pb": ProjectEntry("pb", "b", "u2", bindings=(Binding("openai", "ca"),)),
            "pc": ProjectEntry("pc", "c", "u3"),
        },
        keys={
            "k1": key(1, id="k1", tenant="a", project="pa"),
            "k2": key(2, id="k2", tenant="b", project="pa"),
            "k3": key(3, id="k3", tenant="a", project="nowhere"),
            "k4": key(4, id="k4", tenant="a", project="pa", digest=b"x"),
            "k5": key(5, id="k6", tenant="a", project="pa"),
        },
        credentials={"ca": CredentialEntry("ca", "a", "openai", "https://x", "api_key", b"s")},
        issuers={
            "i1": IssuerEntry("i1", "a", "https://i", "g", ("RS256",)),
            "i2": IssuerEntry("i2", "b", "https://i", "g", ("RS256",), project="pa"),
        },
        limits={"l1": LimitEntry("l1", "c", "tenant", "c", "requests", "minute", 1)},
        revision=4,
    )
    kept, said = sound(given)
    assert {name: sorted(getattr(kept, name)) for name in SECTIONS} == {
        "tenants": ["a", "b"],
        "projects": ["pa"],
        "keys": ["k1"],
        "credentials": ["ca"],
        "issuers": ["i1"],
        "limits": [],
    }
    assert kept.revision == 4
    assert kept.projects["pa"] == given.projects["pa"], "a binding whose credential is away still says: not without one"
    assert sorted(said) == [
        "issuer i2 is left out: its tenant has no project pa",
        "key k2 is left out: its tenant has no project pa",
        "key k3 is left out: its tenant has no project nowhere",
        "key k4 is left out: its digest has 1 bytes",
        "key k5 is left out: it says it is k6",
        "limit l1 is left out: there is no tenant c",
        "project pb is left out: credential ca is bound to it, and is another tenant's",
        "project pc is left out: there is no tenant c",
    ]


@settings(max_examples=20)
@given(any_sections())
def test_what_is_left_fits_together(given: Sections) -> None:
    """I6."""
    kept, said = sound(given)
    assert sound(kept) == (kept, [])
    left_out = sum(len(getattr(given, name)) - len(getattr(kept, name)) for name in SECTIONS)
    assert len(said) == left_out
    placed = [(entry.tenant, entry.project) for entry in kept.keys.values()]
    placed += [(entry.tenant, entry.project) for entry in kept.issuers.values() if entry.project is not None]
    assert all(kept.projects[project].tenant == tenant for tenant, project in placed)
    assert {tenant for tenant, _ in placed} <= set(kept.tenants)
