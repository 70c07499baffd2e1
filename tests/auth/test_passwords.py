"""Passwords: argon2id, compared as people see them, and nothing learnt from the time it takes."""

from __future__ import annotations

import time

import argon2
import pytest

from gatehouse.auth.passwords import LONGEST, SHORTEST, fault, hash, needs_rehash, verify

GOOD = "correct horse battery staple"


def test_a_password_and_no_other_is_right() -> None:
    kept = hash(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and GOOD not in kept
    assert verify(kept, GOOD)
    for wrong in (GOOD + " ", GOOD.upper(), GOOD[:-1], "", GOOD + "\0"):
        assert not verify(kept, wrong)
    assert hash(GOOD) != kept, "salted"
    assert not needs_rehash(kept)


def test_the_same_letters_are_the_same_password() -> None:
    """One keyboard sends é as one character, another as two; and full-width letters (RFC 8265: NFKC)."""
    kept = hash("pâté de campagne")
    assert verify(kept, "pa\u0302te\u0301 de campagne")
    assert verify(kept, "ｐâté de campagne")


def test_a_hash_with_other_parameters_is_made_anew() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    assert verify(weak, GOOD)
    assert needs_rehash(weak)


@pytest.mark.parametrize(
    "password",
    ["", "short", "x" * (SHORTEST - 1), "x" * 40, "abcabcabcabcabc", "x" * (LONGEST + 1), "line\nbreak in it",
     "nul\0 in the middle", "half a \ud83d character", "\x7f is not a letter"],
)  # fmt: skip
def test_what_cannot_become_a_password(password: str) -> None:
    said = fault(password)
    assert said is not None and (not password or password not in said)
    with pytest.raises(ValueError, match="a password"):
        hash(password)


@pytest.mark.parametrize("password", [GOOD, "abcd" * 3, "🦊🐻🐼🐨" * 3, "abcdefghijkl" * 21])
def test_what_can(password: str) -> None:
    assert fault(password) is None


@pytest.mark.parametrize("password", ["half a \ud83d character", "x" * 1_000_000, ""])
def test_an_odd_password_is_wrong_and_no_error(password: str) -> None:
    assert not verify(hash(GOOD), password)
    assert not verify(None, password)


def test_nobody_takes_as_long_as_somebody() -> None:
    """Who asks for an account that does not exist must not learn so."""
    kept = hash(GOOD)
    took: dict[str | None, list[float]] = {kept: [], None: []}
    for _ in range(3):
        for hashed in took:
            began = time.perf_counter()
            assert not verify(hashed, "not the password")
            took[hashed].append(time.perf_counter() - began)
    assert min(took[None]) > min(took[kept]) / 3
    assert not verify(None, "")


@pytest.mark.parametrize("kept", ["", "x", "$2b$12$abc", "plain"])
def test_what_is_no_hash_is_said(kept: str) -> None:
    with pytest.raises(ValueError, match="not an argon2 hash"):
        verify(kept, GOOD)
