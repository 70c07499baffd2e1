"""Gateway keys: how one is made, what it looks like, what is kept of it.

Rules
- A key is `gth_live_` or `gth_test_`, 30 random base62 characters (178 bits), and a checksum of 6: the CRC-32 of
  everything before it, in base62, so that scanners can tell a key from a word. The shape authenticates nobody; looking
  up the digest does.
- Kept are a SHA-256 (what has 178 random bits needs no slow hash) and the last four characters. The text is shown once
  and is in no `repr`.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from gatehouse.model.access import Environment

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = 30
_KEY: Final = re.compile(r"gth_(?:live|test)_[0-9A-Za-z]{36}")
_RESEMBLES: Final = re.compile(rb"(?<![0-9A-Za-z])gth_(?:live|test)_|gth_(?:live|test)_[0-9A-Za-z]{16}")
"""Also what is cut short or mistyped: it is still most of a secret. Where a word is glued to it (`length_test_x` is no
key), from half of the secret on."""
_MARK: Final = b"gth_"
_DECODINGS: Final = 4
"""Nobody knows how often an upstream decodes."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made."""

    text: str = field(repr=False)
    """For its owner, once."""
    digest: bytes = field(repr=False)
    """SHA-256, 32 bytes."""
    last4: str


def new_key(environment: Environment) -> NewKey:
    """A key nobody had before."""
    text = gateway_key(environment, "".join([secrets.choice(_BASE62) for _ in range(_RANDOM)]))
    return NewKey(text, digest(text.encode()), text[-4:])


def gateway_key(environment: Environment, secret: str) -> str:
    """Assemble a key from 30 random base62 characters. Raises `ValueError` for anything else."""
    body = f"gth_{environment}_{secret}"
    key = body + checksum(body)
    if not _KEY.fullmatch(key):
        raise ValueError("a gateway key's secret is 30 base62 characters")
    return key


def checksum(body: str) -> str:
    """CRC-32 of what precedes the checksum, as 6 base62 digits, most significant first."""
    number = binascii.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def whole(text: bytes) -> bool:
    """Whether it is a key from end to end, checksum included: not mistyped, cut short or in quotes."""
    key = text.decode("latin-1")
    return _KEY.fullmatch(key) is not None and checksum(key[:-6]) == key[-6:]


def digest(text: bytes) -> bytes:
    """What a key is looked up by: SHA-256, 32 bytes."""
    return hashlib.sha256(text).digest()


def masked(environment: Environment, last4: str) -> str:
    """A key as lists show it: `gth_live_…yyyy`."""
    return f"gth_{environment}_…{last4}"


def resembles(data: bytes) -> bool:
    """Whether anything like a gateway key, whole or cut short, stands in these bytes, percent-encoded or not."""
    for _ in range(_DECODINGS):
        if _MARK in data and _RESEMBLES.search(data):
            return True
        if b"%" not in data:
            return False
        decoded = unquote_to_bytes(data)
        if decoded == data:
            return False
        data = decoded
    return _MARK in data and _RESEMBLES.search(data) is not None
