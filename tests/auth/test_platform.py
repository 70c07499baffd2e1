"""Platform tokens (T6): ours, for the management API, for a day at most, and never the data plane's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from gatehouse import errors
from gatehouse.auth.platform import AUDIENCE, ISSUER, LONGEST, TYPE, PlatformToken, PlatformTokens
from gatehouse.auth.roles import Permission
from gatehouse.errors import GatehouseError
from tests.auth.tokens import EC, KEYS, b64, hmac_key, signed
from tests.auth.tokens import token as identity_token

NOW = 1_800_000_000
SECRET = bytes(range(32))
ASKED = PlatformToken("tok_1", "ten_1", "usr_1", ("keys:manage", "analytics:read"), NOW, NOW + 3600)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "usr_1",
    "tenant": "ten_1",
    "jti": "tok_1",
    "scope": "keys:manage",
    "iat": NOW,
    "exp": NOW + 3600,
}


def tokens(secret: bytes = SECRET) -> PlatformTokens:
    return PlatformTokens(secret)


def forged(header: dict[str, Any] | None = None, secret: bytes = SECRET, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    head = {"alg": "HS256", "typ": TYPE, **(header or {})}
    return signed(head, json.dumps(claims).encode(), OctKey.import_key(secret)).decode()


def refused(text: str, now: float = NOW) -> str:
    with pytest.raises(GatehouseError) as caught:
        tokens().verify(text, now)
    assert caught.value.kind is errors.UNAUTHORIZED
    for part in text.split("."):
        assert len(part) < 8 or part not in caught.value.detail
    return caught.value.detail


def test_issued_and_verified() -> None:
    issued = tokens().issue(ASKED)
    assert issued.text.count(".") == 2
    assert tokens().verify(issued.text, NOW) == replace(issued, text="") == ASKED
    assert issued.text not in repr(issued) and issued.text.split(".")[2] not in repr(issued)
    assert SECRET.hex() not in repr(tokens()) and repr(SECRET) not in repr(vars(type(tokens())))
    assert tokens().verify(forged(), NOW).scopes == ("keys:manage",), "what the other tests forge is good otherwise"


def test_a_token_without_scopes_is_worth_nothing() -> None:
    text = tokens().issue(replace(ASKED, scopes=())).text
    assert tokens().verify(text, NOW).scopes == ()


@pytest.mark.parametrize("ttl", [0, -1, LONGEST + 1, 10**9])
def test_a_day_at_most(ttl: int) -> None:
    """Also of a token that was signed elsewhere with the secret."""
    with pytest.raises(ValueError, match="up to 24 hours"):
        tokens().issue(replace(ASKED, expires=NOW + ttl))
    refused(forged(exp=NOW + ttl))
    assert tokens().issue(replace(ASKED, expires=NOW + LONGEST)).expires == NOW + LONGEST


@pytest.mark.parametrize("scope", ["", "made:up", "keys:manage analytics:read", "owner", "*", "KEYS:MANAGE"])
def test_scopes_are_permissions(scope: str) -> None:
    with pytest.raises(ValueError, match="no such permission"):
        tokens().issue(replace(ASKED, scopes=(scope,)))


def test_when_it_holds() -> None:
    text = tokens().issue(ASKED).text
    assert tokens().verify(text, NOW + 3599).id == "tok_1"
    assert "expired" in refused(text, NOW + 3600)
    assert tokens().verify(text, NOW - 60).id == "tok_1"
    assert "not valid yet" in refused(text, NOW - 61)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_secret_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="shorter than 32"):
        PlatformTokens(b"x" * length)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "gatehouse"},
        {"iss": None},
        {"aud": "other"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"sub": None},
        {"sub": 1},
        {"tenant": None},
        {"tenant": ["ten_1"]},
        {"jti": None},
        {"scope": None},
        {"scope": ["keys:manage"]},
        {"scope": "root"},
        {"iat": None},
        {"iat": "1"},
        {"exp": None},
        {"exp": True},
        {"exp": NOW + 0.5},
        {"exp": 10**30},
    ],
)
def test_claims_that_are_not_ours(changes: dict[str, Any]) -> None:
    assert "not issued here" in refused(forged(**changes))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"typ": None},
        {"alg": "none"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"crit": ["exp"]},
        {"b64": False},
    ],
)
def test_headers_that_are_not_ours(header: dict[str, Any]) -> None:
    refused(forged(header))


def test_signatures_that_are_not_ours() -> None:
    text = tokens().issue(ASKED).text
    head, payload, signature = text.split(".")
    other = b64(json.dumps({**CLAIMS, "scope": " ".join(Permission)}).encode()).decode()
    assert "signature" in refused(f"{head}.{other}.{signature}")
    assert "signature" in refused(forged(secret=b"y" * 32))
    assert "signature" in refused(f"{head}.{payload}.AA")
    refused(f"{head}.{payload}.")
    none = b64(json.dumps({"alg": "none", "typ": TYPE}).encode()).decode()
    for text in (f"{none}.{payload}.", f"{none}.{payload}.AA", f"{none}.{payload}.{signature}"):
        refused(text)
    for key in KEYS.values():
        refused(signed({"alg": "HS256", "typ": TYPE}, json.dumps(CLAIMS).encode(), key).decode())
    refused(signed({"alg": "HS256", "typ": TYPE}, json.dumps(CLAIMS).encode(), hmac_key(b"\0" * 32)).decode())


def test_a_token_of_the_data_plane_opens_nothing_here() -> None:
    refused(identity_token().decode())
    refused(identity_token(iss=ISSUER, aud=AUDIENCE, header={"typ": TYPE}).decode())
    refused(signed({"alg": "ES256", "typ": TYPE}, json.dumps(CLAIMS).encode(), EC).decode())


@pytest.mark.parametrize(
    "text", ["", "x", "a.b.c", "é.é.é", "\ud800.a.b", "gth_live_x", " ", "x" * 100_000, "..", "." * 9]
)
def test_what_is_no_token(text: str) -> None:
    refused(text)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    refused(text)
