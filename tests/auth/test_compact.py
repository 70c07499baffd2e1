"""JWTs taken apart, and signatures checked with the key and the algorithm that the caller says."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key

from gatehouse.auth.compact import LONGEST, NotAToken, claims_of, fits, read, verifies
from tests.auth.tokens import EC, ED, KEYS, RSA, b64, hmac_key, signed, token


def test_read() -> None:
    text = token(header={"typ": "Application/AT+JWT"})
    found = read(text)
    assert (found.algorithm, found.key_id, found.type) == ("ES256", "ec", "at+jwt")
    assert claims_of(found.payload)["sub"] == "user-1"
    assert found.signing_input + b"." + b64(found.signature) == text


@pytest.mark.parametrize(
    ("key", "algorithms"), [(RSA, "RS256 RS384 RS512 PS256 PS384 PS512"), (EC, "ES256"), (ED, "Ed25519 EdDSA")]
)
def test_which_key_fits_which_algorithm(key: Key, algorithms: str) -> None:
    every = (
        "none HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 ES256K Ed25519 Ed448 EdDSA dir"
    ).split()
    fitting = [algorithm for algorithm in every if fits(key, algorithm)]
    assert fitting == [algorithm for algorithm in every if algorithm in algorithms.split()]


def test_a_signature_is_of_one_key_by_an_allowed_algorithm() -> None:
    good = read(token())
    assert verifies(good, EC, ("ES256",))
    assert not verifies(good, EC, ()) and not verifies(good, EC, ("RS256", "es256"))
    for other in (RSA, ED, ECKey.generate_key("P-256"), ECKey.generate_key("P-384"), hmac_key(b"s" * 32)):
        assert not verifies(good, other, ("ES256", "RS256", "HS256", "Ed25519", "none"))
    assert not verifies(good, ECKey.import_key({**EC.as_dict(private=False), "alg": "ES384"}), ("ES256",))
    assert not verifies(good, ECKey.import_key({**EC.as_dict(private=False), "use": "enc"}), ("ES256",))


def test_none_is_no_algorithm_even_where_it_is_allowed() -> None:
    text = b".".join([b64(b'{"alg":"none"}'), b64(b"{}"), b"AA"])
    for key in (*KEYS.values(), hmac_key(b"s" * 32)):
        assert not verifies(read(text), key, ("none",))


def test_a_published_key_is_no_secret() -> None:
    """Signed with HS256 and the public key, and HS256 is allowed: the key's type decides."""
    secret = EC.as_pem(private=False)
    forged = read(signed({"alg": "HS256"}, b"{}", hmac_key(secret)))
    assert verifies(forged, hmac_key(secret), ("HS256",))
    assert not verifies(forged, EC, ("HS256", "ES256"))


@pytest.mark.parametrize("text", [b"", b"a.b", token() + b"=", b"x" * (LONGEST + 1), b"YQ.YQ.YQ", b"e30.e30.YQ"])
def test_what_is_none(text: bytes) -> None:
    with pytest.raises(NotAToken) as caught:
        read(text)
    assert not text or text.decode() not in str(caught.value)


def test_base64_has_one_spelling() -> None:
    """Bits that nobody reads must not make another token of the same signature: 64 bytes leave 2 to the last letter."""
    text = token()
    assert text[-1:] in (b"A", b"Q", b"g", b"w")
    for letter in (string.ascii_letters + string.digits + "-_").encode():
        if letter not in b"AQgw":
            with pytest.raises(NotAToken):
                read(text[:-1] + bytes([letter]))


@given(st.binary(max_size=100) | st.text(max_size=20).map(lambda text: json.dumps({"a": text}).encode()))
def test_any_payload(payload: bytes) -> None:
    try:
        assert isinstance(claims_of(payload), dict)
    except NotAToken as fault:
        assert "JSON object" in str(fault)
