"""Scopes of gateway keys (P5, A2): the docs have the same list, and a key never exceeds its creator."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.auth.roles import ROLES
from gatehouse.auth.scopes import DEFAULT, SCOPES, Scope, at_most, covers, unknown, worth

DOCS = Path(__file__).parents[2] / "docs" / "access.md"
_SOME = st.lists(st.sampled_from(sorted(SCOPES)), unique=True)


def test_the_documented_list_is_the_list() -> None:
    section = DOCS.read_text().split("## Scopes")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    assert [row[0].strip("`") for row in rows[1:]] == list(Scope)
    assert tuple([row[0].strip("`") for row in rows[1:] if row[2]]) == DEFAULT


def test_what_is_no_scope() -> None:
    assert unknown(["chat", "Chat", "provider:openai", "", "*"]) == ("Chat", "provider:openai", "", "*")
    assert unknown(SCOPES) == ()
    assert not covers(["provider:any"], "made:up") and not covers(["*"], "chat") and not covers([], "chat")


def test_only_an_owner_stands_behind_everything() -> None:
    """`provider:any` is an owner-granted scope, for as long as its user and its maker are owners."""
    wide = ("chat", "provider:any")
    assert {role for role in (*ROLES, "", "root") if worth(wide, (role, None)) == wide} == {"owner"}
    assert worth(wide, ("owner", "admin")) == worth(wide, ("admin", "owner")) == ("chat",)
    assert worth(wide, (None, None)) == worth(wide, ("owner", "owner")) == wide


@given(_SOME, _SOME)
def test_a_key_made_by_a_key_gets_no_more(held: list[str], wanted: list[str]) -> None:
    reachable = SCOPES if "provider:any" in held else set(held)
    assert at_most(held, wanted) is (set(wanted) <= reachable)
    assert not at_most(held, [*wanted, "made:up"])
    assert {scope for scope in SCOPES if covers(held, scope)} == reachable
