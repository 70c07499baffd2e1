"""Credentials a request carries: where SDKs put them, what a gateway key looks like, what is kept of a provider's key.

Without `auth.enabled` the gateway has no keys of its own to check: a provider's key passes through untouched in
whatever position it came, and only a keyed hash of it is kept. A gateway key is refused, wherever it stands: it would
otherwise be handed to a provider (I3).

A gateway key is `gth_live_` or `gth_test_`, 30 base62 characters, and a checksum of 6: the CRC-32 of everything before
it, in base62, so that scanners can tell a key from a word. The shape authenticates nobody; look-up does.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from typing import Final, Literal
from urllib.parse import unquote_plus

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Fields, Headers

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY: Final = re.compile(r"(gth_(?:live|test)_[0-9A-Za-z]{30})([0-9A-Za-z]{6})")
_RESEMBLES: Final = re.compile(rb"(?<![0-9A-Za-z])gth_(?:live|test)_")
"""Also what is cut short or mistyped: it is still most of a secret."""
_MARK: Final = b"gth_"

_KEY_HEADERS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")
"""After `Authorization`; the first one present is the caller's key. `?key=` ranks last."""
_BEARER: Final = b"bearer "
_BASIC: Final = b"basic "
_SUBPROTOCOL: Final = b"sec-websocket-protocol"
_INSECURE: Final = b"openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket; OpenAI takes the key as a subprotocol."""

_HASH_DIGITS: Final = 32
_REMEMBERED: Final = 4096


def gateway_key(kind: Literal["live", "test"], secret: str) -> str:
    """Assemble a key from 30 random base62 characters. Raises `ValueError` for anything else."""
    body = f"gth_{kind}_{secret}"
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


def is_gateway_key(text: str) -> bool:
    """Whether a text has a gateway key's shape and checksum."""
    match = _KEY.fullmatch(text)
    return match is not None and checksum(match[1]) == match[2]


def refuse_gateway_keys(fields: Fields, headers: Headers, target: str) -> None:
    """With authentication off: raises `GatehouseError` (401) if anything like a gateway key stands in any position.

    Every header value and the whole target, path and query, are searched, not only where keys belong: what is not found
    is forwarded.
    """
    values = b"\n".join([value for _, value in headers])
    found = _MARK in values and _RESEMBLES.search(values)
    if found or _in_target(target) or _in_basic(fields):
        raise GatehouseError(
            errors.UNAUTHORIZED,
            "gateway keys need auth.enabled, which is off; send the provider's own key",
        )


def provider_key(fields: Fields, query: str) -> bytes | None:
    """The provider's key a caller brought, for its hash on the record; `None` without one."""
    bearer = fields.get(b"authorization")
    if bearer:
        bearer = bearer.strip()
        return bearer[len(_BEARER) :].strip() if bearer[:7].lower() == _BEARER else bearer
    for name in _KEY_HEADERS:
        if value := fields.get(name):
            return value.strip()
    return _query_key(query) or _subprotocol_key(fields)


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


def _query_key(query: str) -> bytes | None:
    if "key" not in query and "%" not in query:
        return None
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == "key" and value:
            return unquote_plus(value).encode()
    return None


def _subprotocol_key(fields: Fields) -> bytes | None:
    for protocol in fields.get(_SUBPROTOCOL, b"").split(b","):
        if protocol.strip().startswith(_INSECURE):
            return protocol.strip()[len(_INSECURE) :]
    return None


def _in_target(target: str) -> bool:
    if "%" in target:
        target = unquote_plus(target, errors="replace")
    return "gth_" in target and _RESEMBLES.search(target.encode(errors="replace")) is not None


def _in_basic(fields: Fields) -> bool:
    """Basic authentication hides its password in base64."""
    for name in (b"authorization", b"proxy-authorization"):
        value = fields.get(name)
        if value is not None and value[:6].lower() == _BASIC:
            try:
                return _RESEMBLES.search(b64decode(value[6:].strip() + b"==")) is not None
            except binascii.Error:
                return False
    return False
