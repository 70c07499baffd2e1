"""What is kept of a provider's key that a caller brought: a keyed hash, to tell keys apart on the record.

A plain digest would not do: a key such as `test` could be guessed from it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_HASH_DIGITS: Final = 32
_REMEMBERED: Final = 4096


def key_hash(secret: bytes, value: bytes) -> str:
    """What is kept of a provider's key: HMAC-SHA-256 under the tenant's secret, the first 32 hex digits."""
    return hmac.digest(secret, value, "sha256").hex()[:_HASH_DIGITS]


class KeyHashes:
    """`key_hash` under one secret, remembered within a bound: by the key's full digest, never by the key."""

    __slots__ = ("_known", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._known: dict[bytes, str] = {}

    def of(self, value: bytes) -> str:
        digest = hashlib.sha256(value).digest()
        known = self._known.get(digest)
        if known is None:
            known = key_hash(self._secret, value)
            if len(self._known) < _REMEMBERED:
                self._known[digest] = known
        return known
