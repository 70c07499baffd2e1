"""Gateway keys: their shape, and what is kept of one."""

from __future__ import annotations

import hashlib
import re
import string
import zlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.auth.keys import checksum, digest, gateway_key, masked, new_key, resembles, whole
from gatehouse.model.access import Environment

LIVE = gateway_key("live", "0123456789ABCDEFGHIJabcdefghij")
TEST = gateway_key("test", "z" * 30)


def is_whole(text: str) -> bool:
    """What a scanner goes by: shape and checksum."""
    shaped = re.fullmatch(r"gth_(live|test)_[0-9A-Za-z]{36}", text) is not None
    return shaped and checksum(text[:-6]) == text[-6:]


@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_new_key(environment: Environment) -> None:
    key = new_key(environment)
    assert is_whole(key.text) and key.text.startswith(f"gth_{environment}_")
    assert key.digest == digest(key.text.encode()) == hashlib.sha256(key.text.encode()).digest()
    assert masked(environment, key.last4) == f"gth_{environment}_…{key.text[-4:]}"
    assert key.text not in repr(key) and repr(key.digest) not in repr(key)


def test_new_keys_differ_and_use_all_letters() -> None:
    keys = [new_key("live").text for _ in range(200)]
    assert len(set(keys)) == 200
    assert set("".join([key[9:39] for key in keys])) == set(string.digits + string.ascii_letters)


def test_shape() -> None:
    """Prefix, 30 base62 characters, 6 of checksum."""
    assert len(LIVE) == len("gth_live_") + 36
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    number = sum(digits.index(digit) * 62**place for place, digit in enumerate(reversed(LIVE[-6:])))
    assert number == zlib.crc32(LIVE[:-6].encode())
    assert LIVE.endswith("0iF1NW"), "written down: keys that were handed out stay valid"
    assert is_whole(LIVE)
    assert is_whole(TEST)
    for wrong in (LIVE[:-1], LIVE + "0", LIVE.replace("live", "prod"), LIVE.upper(), " " + LIVE, LIVE + "\n", ""):
        assert not is_whole(wrong)
        assert not whole(wrong.encode())


@pytest.mark.parametrize("secret", ["", "x" * 29, "x" * 31, "x" * 29 + "-", "x" * 29 + "é"])
def test_only_base62_secrets(secret: str) -> None:
    with pytest.raises(ValueError, match="30 base62"):
        gateway_key("live", secret)


@given(st.from_regex(r"[0-9A-Za-z]{30}", fullmatch=True), st.integers(0, 44), st.sampled_from("0aZ9_"))
def test_the_checksum_catches_a_typo(secret: str, position: int, letter: str) -> None:
    key = gateway_key("test", secret)
    assert is_whole(key)
    assert len(checksum(key)) == 6
    mistyped = key[:position] + letter + key[position + 1 :]
    assert is_whole(mistyped) is (mistyped == key) is whole(mistyped.encode())


@pytest.mark.parametrize(
    "text",
    [
        LIVE,
        TEST,
        LIVE[:20],
        "gth_live_",
        f"Bearer {LIVE}",
        f"x={LIVE};",
        f"word{LIVE}",
        f"word{LIVE[:25]}",
        quote(quote(LIVE.replace("g", "%67"))),
    ],
)
def test_what_resembles_a_key(text: str) -> None:
    """I3: also what is cut short, glued to something, or encoded more than once."""
    assert resembles(text.encode())


@pytest.mark.parametrize(
    "text", ["", "length_live_x", "max_length_test_", "gth_prod_x", "gth", "gth_livex", "%", "%67"]
)
def test_what_does_not(text: str) -> None:
    assert not resembles(text.encode())
