"""Platform tokens: JWTs that we issue ourselves for the management API (`Authorization: Bearer`).

Rules
- HMAC-SHA-256 under a random secret of their own. Issuer, audience and type are ours alone: no token of somebody else's
  passes here, and none of these passes on the data plane (`identity`).
- A token lives 24 hours at most, and can be revoked by its `jti` before: whoever verifies looks that up.
- What it may do is `PlatformToken.scopes`, as far as its user still may (`roles.granted`): permissions, no role.
- The text is in no `repr`, and no error holds any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from joserfc import jwt
from joserfc.jwk import OctKey

from gatehouse import errors
from gatehouse.auth import compact
from gatehouse.auth.roles import NAMES
from gatehouse.errors import GatehouseError

ISSUER: Final = "gatehouse-platform"
AUDIENCE: Final = "gatehouse-management"
TYPE: Final = "gatehouse-platform+jwt"
LONGEST: Final = 24 * 60 * 60
"""Seconds a token may live."""
SECRET_BYTES: Final = 32

_ALGORITHM: Final = "HS256"
_LEEWAY: Final = 60
"""Seconds: another machine's clock may be ahead of ours by as much."""


@dataclass(frozen=True, slots=True)
class PlatformToken:
    """What a token says. Times are Unix seconds."""

    id: str
    """`jti`."""
    tenant: str
    user: str
    scopes: tuple[str, ...]
    """Names of permissions."""
    issued: int
    expires: int
    text: str = field(default="", repr=False)
    """For its user, once; empty in what was verified."""


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    tenant: str
    jti: str
    scope: str
    iat: int
    exp: int


class PlatformTokens:
    """Issues and verifies them under one secret."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        """Raises `ValueError` if the secret is shorter than 32 bytes."""
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret of platform tokens is shorter than {SECRET_BYTES} bytes")
        self._key = OctKey.import_key(secret)

    def issue(self, token: PlatformToken) -> PlatformToken:
        """The same with its text. That its scopes are within its user's role is the caller's to check first.

        Raises `ValueError` for a lifetime of nothing or too long, and for scopes that are no permissions.
        """
        if not 0 < token.expires - token.issued <= LONGEST:
            raise ValueError(f"a platform token lives up to {LONGEST // 3600} hours")
        odd = _unknown(token.scopes)
        if odd:
            raise ValueError(f"no such permission: {', '.join(odd)}")
        claims = _Claims(
            ISSUER, AUDIENCE, token.user, token.tenant, token.id, " ".join(token.scopes), token.issued, token.expires
        )
        text = jwt.encode(
            {"alg": _ALGORITHM, "typ": TYPE}, msgspec.structs.asdict(claims), self._key, algorithms=[_ALGORITHM]
        )
        return PlatformToken(token.id, token.tenant, token.user, token.scopes, token.issued, token.expires, text)

    def verify(self, text: str, now: float) -> PlatformToken:
        """What a token says. Whether it was revoked is not asked here. Raises `GatehouseError` (401)."""
        try:
            signed = compact.read(text.encode("ascii"))
        except UnicodeEncodeError:
            raise _refused("is not one") from None
        except compact.NotAToken as fault:
            raise _refused(f"is not one: {fault}") from None
        if signed.type != TYPE:
            raise _refused("is not one: it is a JWT of another kind")
        if not compact.verifies(signed, self._key, (_ALGORITHM,)):
            raise _refused("was not issued here: its signature is wrong")
        try:
            claims = msgspec.json.decode(signed.payload, type=_Claims)
        except (ValueError, RecursionError):
            raise _refused("was not issued here: a claim is missing") from None
        scopes = tuple(claims.scope.split())
        if claims.iss != ISSUER or claims.aud != AUDIENCE or claims.exp - claims.iat > LONGEST or _unknown(scopes):
            raise _refused("was not issued here: a claim is not ours")
        if now >= claims.exp:
            raise _refused("has expired")
        if now < claims.iat - _LEEWAY:
            raise _refused("is not valid yet: a clock is wrong")
        return PlatformToken(claims.jti, claims.tenant, claims.sub, scopes, claims.iat, claims.exp)


def _unknown(scopes: Iterable[str]) -> list[str]:
    return [name for name in scopes if name not in NAMES]


def _refused(why: str) -> GatehouseError:
    return GatehouseError(errors.UNAUTHORIZED, f"the platform token {why}")
