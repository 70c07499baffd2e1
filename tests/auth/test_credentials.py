"""What is kept of a provider's key."""

from __future__ import annotations

import hashlib
import hmac

from gatehouse.auth.credentials import KeyHashes, key_hash


def test_key_hash_is_keyed() -> None:
    """A plain digest of a guessable key can be guessed."""
    secret = b"s" * 32
    assert key_hash(secret, b"test") == hmac.new(secret, b"test", hashlib.sha256).hexdigest()[:32]
    assert key_hash(b"other", b"test") != key_hash(secret, b"test")
    assert len(key_hash(secret, b"")) == 32


def test_a_remembered_hash_is_the_same() -> None:
    hashes = KeyHashes(b"s" * 32)
    assert [hashes.of(b"a"), hashes.of(b"b"), hashes.of(b"a")] == [
        key_hash(b"s" * 32, key) for key in (b"a", b"b", b"a")
    ]
