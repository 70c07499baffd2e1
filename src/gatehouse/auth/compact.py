"""JWTs as they are written (RFC 7515, compact form): taken apart before anybody is trusted, and a signature checked.

Rules
- One reading: what is judged is what was signed, by one decoder.
- A header says which algorithm and which key, and nothing else: keys and addresses in it (`jwk`, `jku`, `x5u`, `x5c`)
  are ignored, and a token that insists on more (`crit`) is refused.
- The algorithm must be one that the caller allows, for a key that is made for it. `none` is no algorithm here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

LONGEST: Final = 16 * 1024
"""Bytes of a token."""

_LONGEST_HEADER: Final = 4096
_COMPACT: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class NotAToken(ValueError):
    """It is none; the text says why, and holds nothing of it."""


class Signed(NamedTuple):
    """A token, taken apart. Nothing of it is to be believed before `verifies` says so."""

    algorithm: str
    key_id: str | None
    type: str
    """Lower case, without `application/`; empty if it names none."""
    payload: bytes
    signing_input: bytes
    signature: bytes


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = msgspec.UNSET
    b64: Any = msgspec.UNSET


def read(token: bytes) -> Signed:
    """Take a token apart. Raises `NotAToken`."""
    if len(token) > LONGEST:
        raise NotAToken(f"it is longer than {LONGEST} bytes")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise NotAToken("it is not three parts of base64url with dots between")
    if len(match[1]) > _LONGEST_HEADER:
        raise NotAToken(f"its header is longer than {_LONGEST_HEADER} bytes")
    try:
        header = msgspec.json.decode(urlsafe_b64decode(match[1]), type=_Header)
        payload = urlsafe_b64decode(match[2])
        signature = urlsafe_b64decode(match[3])
    except (ValueError, RecursionError):
        raise NotAToken("its header is no JSON object with a text `alg`, or a part of it is not base64url") from None
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        raise NotAToken("its header asks for extensions (`crit`, `b64`)")
    kind = (header.typ or "").lower().removeprefix("application/")
    return Signed(header.alg, header.kid, kind, payload, match[1] + b"." + match[2], signature)


def claims_of(payload: bytes) -> dict[str, Any]:
    """What a token claims. Raises `NotAToken`."""
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise NotAToken("its payload is no JSON object") from None


def fits(key: Key, algorithm: str) -> bool:
    """Whether a key is made for an algorithm: its type, its curve, its `use` and its own `alg`."""
    model = JWSRegistry.algorithms.get(algorithm)
    if model is None:
        return False
    try:
        model.check_key(key)
    except JoseError:
        return False
    return True


def verifies(signed: Signed, key: Key, allowed: Collection[str]) -> bool:
    """Whether the token was signed with this key, by an algorithm that is allowed."""
    if signed.algorithm == "none" or signed.algorithm not in allowed or not fits(key, signed.algorithm):
        return False
    try:
        return JWSRegistry.algorithms[signed.algorithm].verify(signed.signing_input, signed.signature, key)
    except (JoseError, ValueError):
        return False
