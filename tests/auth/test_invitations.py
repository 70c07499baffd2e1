"""Invitations: one person's, once, for a week."""

from __future__ import annotations

import pytest

from gatehouse.auth.invitations import LIFETIME, Presented, holds, is_invitation, new_invitation, read

NOW = 1_800_000_000


def test_what_is_shown_and_what_is_kept() -> None:
    made = new_invitation("default", "usr_1", NOW)
    told = read(made.text)
    assert told == Presented("default", "usr_1", made.text.rpartition(".")[2])
    assert made.expires == NOW + LIFETIME
    assert told.secret not in made.kept and made.text not in repr(made) and made.kept not in repr(made)
    assert is_invitation(made.kept)
    assert not any(is_invitation(kept) for kept in (None, "", "$argon2id$v=19$m=65536,t=3,p=4$x$y", made.text))


def test_it_holds_for_whoever_has_it_for_a_week() -> None:
    made, other = new_invitation("default", "usr_1", NOW), new_invitation("default", "usr_1", NOW)
    told = read(made.text)
    assert told is not None
    assert holds(made.kept, told, NOW) and holds(made.kept, told, NOW + LIFETIME - 1)
    assert not holds(made.kept, told, NOW + LIFETIME)
    assert not holds(other.kept, told, NOW)
    for kept in (None, "", "$argon2id$…", made.kept + "x", made.kept.replace("invited", "invite")):
        assert not holds(kept, told, NOW)


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c", "A.b." + "x" * 43, "a.b." + "x" * 42, "a.b." + "x" * 44, "a..b." + "x" * 43]
)
def test_what_cannot_be_one(text: str) -> None:
    assert read(text) is None
