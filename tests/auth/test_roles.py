"""Roles and permissions (O8, A7): one table, denied by default, and the docs have the same one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatehouse.auth.roles import ROLES, Permission, allowed, at_most, granted, permissions

DOCS = Path(__file__).parents[2] / "docs" / "access.md"


def test_the_documented_table_is_the_table() -> None:
    section = DOCS.read_text().split("## Roles")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    roles = rows[0][2:]
    assert roles == list(ROLES)
    documented = {
        row[0].strip("`"): {role for role, mark in zip(roles, row[2:], strict=True) if mark} for row in rows[2:]
    }
    assert documented == {str(one): {role for role in ROLES if one in ROLES[role]} for one in Permission}
    assert [row[0] for row in rows[2:]] == [f"`{permission}`" for permission in Permission], "in the same order"
    assert all([row[1] for row in rows[2:]]), "each says what it opens"


def test_o8() -> None:
    """The roles of O8, and the permissions it names; A7: a member sees own keys and traces only."""
    assert {"owner", "admin", "developer", "member", "viewer"} < set(ROLES)
    named = {Permission.PROXY_WRITE, Permission.ANALYTICS_READ, Permission.KEYS_MANAGE}
    assert {role: ROLES[role] & named for role in ROLES} == {
        "owner": named,
        "admin": named,
        "developer": named - {Permission.KEYS_MANAGE},
        "member": {Permission.PROXY_WRITE},
        "viewer": {Permission.ANALYTICS_READ},
        "auditor": {Permission.ANALYTICS_READ},
    }
    assert not [one for one in ROLES["member"] if one.endswith(":read") and one != Permission.PROJECTS_READ]


def test_who_only_reads_changes_nothing() -> None:
    for role in ("viewer", "auditor"):
        assert not [permission for permission in ROLES[role] if re.search("manage|write", permission)]


@pytest.mark.parametrize("role", [None, "", "Owner", "owner ", "root", "*"])
def test_an_unknown_role_may_nothing(role: str | None) -> None:
    assert permissions(role) == frozenset()
    assert not any([allowed(role, permission) for permission in Permission])
    assert granted(role, list(Permission)) == frozenset()


def test_nobody_hands_on_more_than_they_have() -> None:
    for creator in ROLES:
        for wanted in ROLES:
            assert at_most(creator, wanted) is (ROLES[wanted] <= ROLES[creator])
        assert at_most(creator, None)
        assert not at_most(creator, "root")
    assert not at_most(None, "member") and at_most(None, None) and not at_most("root", "member")
    assert not at_most("admin", "owner") and not at_most("developer", "auditor") and not at_most("member", "viewer")
    assert at_most("admin", "auditor")


def test_a_token_is_worth_what_its_subject_still_may() -> None:
    asked = ["keys:manage", "analytics:read", "made:up", ""]
    assert granted("admin", asked) == {Permission.KEYS_MANAGE, Permission.ANALYTICS_READ}
    assert granted("viewer", asked) == {Permission.ANALYTICS_READ}
    assert granted(None, asked) == granted("owner", []) == frozenset()


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ROLES["member"] = ROLES["owner"]  # type: ignore[index]
