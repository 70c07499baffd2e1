"""Passwords: argon2id (RFC 9106, second recommended choice: 64 MiB, three passes, four lanes).

Rules
- `hash` and `verify` take some 80 ms and 64 MiB each: on a thread, a few at a time, never on an event loop.
- A user who does not exist costs as much time as a wrong password (`verify` with `None`).
- Passwords are compared as people see them: NFKC, so that a letter is the same on every keyboard (RFC 8265).
"""

from __future__ import annotations

import base64
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters."""

_SECONDS: Final = 3
_KIB: Final = 64 * 1024
_LANES: Final = 4
_HASHER: Final = PasswordHasher(time_cost=_SECONDS, memory_cost=_KIB, parallelism=_LANES, hash_len=32, salt_len=16)


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


_NOBODY: Final = f"$argon2id$v=19$m={_KIB},t={_SECONDS},p={_LANES}${_unpadded(bytes(16))}${_unpadded(bytes(32))}"
"""A hash of no password, which costs as much to compare with."""


def fault(password: str) -> str | None:
    """Why a password cannot become somebody's; `None`: it can. Length is all that is asked for (NIST SP 800-63B)."""
    if len(password) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    plain = _plain(password)
    if plain is None:
        return "a password cannot hold half a character (a lone surrogate)"
    if any([unicodedata.category(letter) == "Cc" for letter in password]):
        return "a password cannot hold control characters"
    if len(password) < SHORTEST:
        return f"a password has at least {SHORTEST} characters"
    if len(set(password)) < SHORTEST // 3:
        return "a password is not a few letters repeated"
    return None


def hash(password: str) -> str:
    """What is kept of a password. Blocks. Raises `ValueError` for one with a `fault`."""
    said = fault(password)
    plain = _plain(password)
    if said is not None or plain is None:
        raise ValueError(said)
    return _HASHER.hash(plain)


def verify(hashed: str | None, password: str) -> bool:
    """Whether this is the password. Blocks. `hashed` `None`: there is no such user, which takes as long to say.

    Raises `ValueError` if `hashed` is none of ours.
    """
    plain = _plain(password) if len(password) <= LONGEST else None
    try:
        matches = _HASHER.verify(_NOBODY if hashed is None else hashed, plain if plain is not None else b"")
    except InvalidHashError:
        raise ValueError("what is kept of a password is not an argon2 hash") from None
    except VerificationError:
        return False
    return matches and hashed is not None and plain is not None


def needs_rehash(hashed: str) -> bool:
    """Whether it was made with other parameters than today's: make it anew when its owner logs in."""
    return _HASHER.check_needs_rehash(hashed)


def _plain(password: str) -> bytes | None:
    try:
        return unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None
