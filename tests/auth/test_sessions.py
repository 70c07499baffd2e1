"""Sessions: random tokens of which a digest is kept, replaced often, and over in time."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.auth.sessions import ABSOLUTE, IDLE, OVERLAP, ROTATED, begun, digest_of, judged, new_token, rotated

NOW = 1_800_000_000


def test_a_token() -> None:
    tokens = [new_token() for _ in range(100)]
    assert len({token.text for token in tokens}) == 100
    for token in tokens:
        assert len(base64.urlsafe_b64decode(token.text + "=")) == 32
        assert token.digest == hashlib.sha256(token.text.encode()).digest() == digest_of(token.text)
        assert token.text not in repr(token) and repr(token.digest) not in repr(token)
        assert repr(token.digest) not in repr(begun(token, "owner", NOW))


@pytest.mark.parametrize(
    "text", ["", "x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "é", "x" * 43 + "\n", " " + "x" * 42]
)
def test_what_cannot_be_a_token_is_not_looked_up(text: str) -> None:
    assert digest_of(text) is None


def test_a_session_is_renewed_and_the_one_before_serves_for_a_moment() -> None:
    first, second, third = new_token(), new_token(), new_token()
    session = begun(first, "admin", NOW)
    assert judged(session, first.digest, "admin", NOW + ROTATED - 1) == "valid"
    assert judged(session, first.digest, "admin", NOW + ROTATED) == "rotate"
    assert judged(session, second.digest, "admin", NOW) == "unknown"
    session = rotated(session, second, "admin", NOW + ROTATED)
    assert judged(session, second.digest, "admin", NOW + ROTATED) == "valid"
    assert judged(session, first.digest, "admin", NOW + ROTATED + OVERLAP - 1) == "valid", "no second renewal"
    assert judged(session, first.digest, "admin", NOW + ROTATED + OVERLAP) == "stolen"
    session = rotated(session, third, "admin", NOW + ROTATED + 1)
    assert judged(session, first.digest, "admin", NOW + ROTATED + 1) == "unknown"


def test_a_change_of_rights_leaves_nothing_to_the_token_before() -> None:
    first, second = new_token(), new_token()
    session = begun(first, "member", NOW)
    assert judged(session, first.digest, "owner", NOW + 1) == "rotate"
    session = rotated(session, second, "owner", NOW + 1)
    assert judged(session, first.digest, "owner", NOW + 1) == "unknown"
    assert judged(session, second.digest, "owner", NOW + 1) == "valid"


def test_a_session_ends() -> None:
    token = new_token()
    session = begun(token, "admin", NOW)
    assert judged(session, token.digest, "admin", NOW + IDLE - 1) == "rotate"
    assert judged(session, token.digest, "admin", NOW + IDLE) == "expired"
    while session.seen - NOW < ABSOLUTE - IDLE // 2:
        session = rotated(session, token, "admin", session.seen + IDLE // 2)
    assert judged(session, token.digest, "admin", NOW + ABSOLUTE - 1) == "rotate"
    assert judged(session, token.digest, "admin", NOW + ABSOLUTE) == "expired"
    assert judged(session, b"?" * 32, "admin", NOW + ABSOLUTE) == "expired"


@given(st.integers(-(10**6), 10**6))
def test_a_clock_that_is_set_back_makes_no_session_younger(step: int) -> None:
    first, second = new_token(), new_token()
    session = rotated(begun(first, "admin", NOW), second, "admin", NOW + ABSOLUTE)
    assert judged(session, second.digest, "admin", NOW + step) == "expired"
    assert rotated(session, second, "admin", NOW + step).seen >= session.seen
