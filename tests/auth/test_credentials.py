"""Credentials with authentication off (HARD-PARTS 6.2, 9; I3): every position is read, gateway keys go nowhere."""

from __future__ import annotations

import hashlib
import hmac
import string
import zlib
from base64 import b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse import errors
from gatehouse.auth.credentials import (
    checksum,
    gateway_key,
    is_gateway_key,
    key_hash,
    provider_key,
    refuse_gateway_keys,
)
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Headers

LIVE = gateway_key("live", "0123456789ABCDEFGHIJabcdefghij")
TEST = gateway_key("test", "z" * 30)

Carrier = Callable[[str], tuple[Headers, str]]


def header(name: bytes, prefix: str = "") -> Carrier:
    return lambda key: ([(b"Accept", b"*/*"), (name, (prefix + key).encode())], "")


def fields(headers: Headers) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in headers}


POSITIONS: dict[str, Carrier] = {
    "bearer": header(b"Authorization", "Bearer "),
    "bearer in capitals": header(b"AUTHORIZATION", "BEARER  "),
    "bare authorization": header(b"authorization"),
    "x-api-key": header(b"X-Api-Key"),
    "api-key": header(b"api-key"),
    "x-goog-api-key": header(b"x-goog-api-key"),
    "x-gatehouse-key": header(b"X-Gatehouse-Key"),
    "x-ongoingai-gateway-key": header(b"X-OngoingAI-Gateway-Key"),
    "websocket": header(b"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key."),
    "query": lambda key: ([], f"alt=sse&key={key}"),
    "query, name encoded": lambda key: ([], f"k%65y={key}"),
    "query, value encoded": lambda key: ([], "key=" + "".join(f"%{ord(letter):02X}" for letter in key)),
    "another header": header(b"X-My-Header", "token="),
    "another parameter": lambda key: ([], f"token={key}"),
    "path": lambda key: ([], f"/openai/v1/models/{key}?"),
    "path, encoded": lambda key: ([], "/openai/v1/models/" + key.replace("g", "%67", 1) + "?"),
    "basic": lambda key: ([(b"Authorization", b"Basic " + b64encode(f"user:{key}".encode()))], ""),
}


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("key", [LIVE, TEST, LIVE[:-1], LIVE[:20], LIVE[:-1] + "!", "gth_live_"])
def test_a_gateway_key_is_refused_in_every_position(position: str, key: str) -> None:
    """Also one cut short or mistyped: it is still most of a secret."""
    headers, query = POSITIONS[position](key)
    with pytest.raises(GatehouseError, match="gateway keys need auth.enabled") as caught:
        refuse_gateway_keys(fields(headers), headers, query)
    assert caught.value.kind is errors.UNAUTHORIZED
    assert key not in caught.value.detail


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("key", ["sk-proj-abc", "sk-ant-api03-x", "AIzaSyX", "test", "at-gw-x", "pg_live_x"])
def test_other_keys_pass(position: str, key: str) -> None:
    headers, query = POSITIONS[position](key)
    refuse_gateway_keys(fields(headers), headers, query)


@pytest.mark.parametrize(
    "value", [b"length_live_x", b"max_length_test_", b"gth_prod_x", b"gth", b"gth_livex", b"Basic !!!", b"Basic gth_"]
)
def test_words_that_only_look_alike_pass(value: bytes) -> None:
    headers = [(b"Authorization", value)]
    refuse_gateway_keys(fields(headers), headers, value.decode())


@pytest.mark.parametrize("position", ["bearer", "bearer in capitals", "bare authorization", "x-api-key", "api-key",
                                      "x-goog-api-key", "websocket", "query", "query, name encoded",
                                      "query, value encoded"])  # fmt: skip
def test_the_providers_key_is_found_where_sdks_put_it(position: str) -> None:
    headers, query = POSITIONS[position]("sk-proj-abc")
    assert provider_key(fields(headers), query) == b"sk-proj-abc"


def test_no_key() -> None:
    assert provider_key({}, "") is None
    assert provider_key(fields([(b"Accept", b"*/*"), (b"x-api-key", b"")]), "monkey=x&alt=sse&key=") is None
    assert provider_key(fields([(b"X-Gatehouse-Key", b"x")]), "") is None, "that is no provider's"


def test_the_same_key_is_found_whatever_the_order() -> None:
    headers: Headers = [(b"api-key", b"3"), (b"x-api-key", b"2"), (b"Authorization", b"Bearer 1")]
    assert provider_key(fields(headers), "key=5") == b"1"
    assert provider_key(fields(headers[::-1]), "key=5") == b"1"
    assert provider_key(fields(headers[:2]), "key=5") == b"2"


def test_key_hash_is_keyed() -> None:
    """HARD-PARTS 3.2: a plain digest of a guessable key can be guessed."""
    secret = b"s" * 32
    assert key_hash(secret, b"test") == hmac.new(secret, b"test", hashlib.sha256).hexdigest()[:32]
    assert key_hash(b"other", b"test") != key_hash(secret, b"test")
    assert len(key_hash(secret, b"")) == 32


def test_shape() -> None:
    """DESIGN 7: prefix, 30 base62 characters, 6 of checksum."""
    assert len(LIVE) == len("gth_live_") + 36
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    number = sum(digits.index(digit) * 62**place for place, digit in enumerate(reversed(LIVE[-6:])))
    assert number == zlib.crc32(LIVE[:-6].encode())
    assert LIVE.endswith("0iF1NW"), "written down: keys that were handed out stay valid"
    assert is_gateway_key(LIVE)
    assert is_gateway_key(TEST)
    for wrong in (LIVE[:-1], LIVE + "0", LIVE.replace("live", "prod"), LIVE.upper(), " " + LIVE, LIVE + "\n", ""):
        assert not is_gateway_key(wrong)


@pytest.mark.parametrize("secret", ["", "x" * 29, "x" * 31, "x" * 29 + "-", "x" * 29 + "é"])
def test_only_base62_secrets(secret: str) -> None:
    with pytest.raises(ValueError, match="30 base62"):
        gateway_key("live", secret)


@given(st.from_regex(r"[0-9A-Za-z]{30}", fullmatch=True), st.integers(0, 44), st.sampled_from("0aZ9_"))
def test_the_checksum_catches_a_typo(secret: str, position: int, letter: str) -> None:
    key = gateway_key("test", secret)
    assert is_gateway_key(key)
    assert len(checksum(key)) == 6
    mistyped = key[:position] + letter + key[position + 1 :]
    assert is_gateway_key(mistyped) is (mistyped == key)


_HEADERS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=6)


@given(_HEADERS, st.text(max_size=60))
def test_any_request_is_read(headers: Headers, query: str) -> None:
    try:
        refuse_gateway_keys(fields(headers), headers, query)
    except GatehouseError as error:
        assert error.kind is errors.UNAUTHORIZED
    provider_key(fields(headers), query)
