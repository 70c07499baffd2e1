"""Who a caller is, by a JWT of an issuer that a tenant has configured.

Rules
- The issuer is picked by the token's unverified `iss`, and counts only together with the audience that is configured
  for it. The tenant is that entry's and never comes from a claim.
- Asymmetric algorithms only, those the entry allows; the key is looked up in the entry's own key set by `kid`. What a
  header says of keys elsewhere is ignored.
- The natural person (`user`), who acts for them (`actor`, RFC 8693 `act`) and the application (`service`) are three
  things. A token of an application alone has no user: its subject is the client itself (RFC 9068).
- People are known by (issuer, subject), never by e-mail.
- A token is verified once, and remembered by its full SHA-256 until it expires or the snapshot changes (one
  `Identities` per snapshot). Nothing is remembered of one that fails.
- Pure: seconds since the epoch are passed in. A key set is fetched by the control plane alone: `take_wanted`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from gatehouse import errors
from gatehouse.auth import compact
from gatehouse.auth.platform import ISSUER as PLATFORM
from gatehouse.errors import GatehouseError
from gatehouse.model.access import ALGORITHMS, IssuerEntry

LEEWAY: Final = 60
"""Seconds by which clocks may differ."""
REMEMBERED: Final = 4096
"""Tokens."""

_TYPES: Final = frozenset(("", "jwt", "at+jwt", "jose"))
"""Not those of log-outs, security events and the like, which the same issuer signs with the same keys."""
_KEYS: Final = 64
"""Of a set; more are not looked at."""
_KEYS_OF_A_NAME: Final = 4
"""That a signature is checked with."""
_SMALLEST_RSA: Final = 2048
"""Bits."""
_LARGEST_RSA: Final = 8192
_LARGEST_EXPONENT: Final = 32
"""Bits. The key is the issuer's choice, and to check a signature by it is ours: 30 ms with an exponent as long as the
modulus, a tenth of a millisecond with the usual one."""
_MATCHES: Final = 8
_LONGEST: Final = 256
"""Characters of a name."""
_MOST_GROUPS: Final = 256

_KINDS: Final[dict[object, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_PUBLIC: Final = ("kty", "kid", "alg", "n", "e", "crv", "x", "y")
_PRIVATE: Final = frozenset(("d", "p", "q", "k"))
_END_OF_TIME: Final = 2**53


class Identity(msgspec.Struct, frozen=True):
    """Who calls, verified."""

    tenant: str
    issuer: str
    """Id of the entry."""
    subject: str
    """`sub`: with the issuer, the one name that does not change."""
    user: str | None
    """The natural person, by the claim that the entry names; `None`: an application calls for itself."""
    groups: tuple[str, ...]
    service: str | None
    """The application."""
    actor: str | None
    """Who acts for the user."""
    expires: float
    """Unix seconds from which on it holds no more, leeway included."""


class _Issuer(msgspec.Struct):
    iss: str


class Identities:
    """Verifies tokens against the issuers of one snapshot. `before`: of the snapshot before, for its parsed keys."""

    __slots__ = ("_by_name", "_key_sets", "_remembered", "_wanted")

    def __init__(self, issuers: Mapping[str, IssuerEntry], before: Identities | None = None) -> None:
        self._by_name: dict[str, list[IssuerEntry]] = {}
        for entry in issuers.values():
            self._by_name.setdefault(entry.issuer, []).append(entry)
        self._key_sets: dict[str, _KeySet] = {}
        """By issuer id; parsed when first needed."""
        if before is not None:
            self._key_sets = {
                name: keys
                for name, keys in before._key_sets.items()
                if name in issuers and issuers[name].jwks == keys.of
            }
        self._remembered: dict[tuple[bytes, str | None], Identity] = {}
        self._wanted: set[str] = set()

    def issued(self, token: bytes, tenant: str | None = None) -> bool:
        """Whether a JWT, unverified, names an issuer of ours, or of this tenant: it is meant for us and nobody else."""
        name = _claimed_issuer(token)
        if name is None:
            return False
        return name == PLATFORM or any([tenant in (None, entry.tenant) for entry in self._by_name.get(name, ())])

    def verify(self, token: bytes, now: float, tenant: str | None = None) -> Identity:
        """Who the token says is calling. `tenant`: of the gateway key beside it; only its issuers count then.

        Raises `GatehouseError` (401), which says what is wrong and nothing of the token.
        """
        place = (hashlib.sha256(token).digest(), tenant)
        known = self._remembered.get(place)
        if known is not None:
            if now < known.expires:
                return known
            del self._remembered[place]
        identity = self._verified(token, now, tenant)
        if len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[place] = identity
        return identity

    def take_wanted(self) -> tuple[str, ...]:
        """Ids of issuers whose key set should be fetched anew: a token named a key that is not in it. Each once."""
        wanted = tuple(sorted(self._wanted))
        self._wanted.clear()
        return wanted

    def _verified(self, token: bytes, now: float, tenant: str | None) -> Identity:
        try:
            signed = compact.read(token)
            claims = compact.claims_of(signed.payload)
        except compact.NotAToken as fault:
            raise _refused(f"is not a JWT: {fault}") from None
        matches = self._matching(claims, tenant)
        if signed.type not in _TYPES:
            raise _refused("is of a type (`typ`) that says nothing of a caller")
        until = _checked_times(claims, now)
        vouching = [entry for entry in matches if self._signed_by(entry, signed)]
        if len(vouching) > 1:
            raise _refused("is vouched for in more than one tenant: the same issuer and audience are configured twice")
        if not vouching:
            raise self._unsigned(matches, signed)
        return _identity(vouching[0], claims, until)

    def _matching(self, claims: dict[str, Any], tenant: str | None) -> list[IssuerEntry]:
        """The entries that the issuer and the audience of a token name."""
        name = claims.get("iss")
        if name == PLATFORM:
            raise _refused("is a platform token: it opens the management API and nothing else")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        matches = [
            entry
            for entry in (self._by_name.get(name, ()) if isinstance(name, str) else ())
            if entry.audience in audiences and entry.audience and tenant in (None, entry.tenant)
        ]
        if not matches or len(matches) > _MATCHES:
            raise _refused("names no issuer and audience (`iss`, `aud`) that are configured together")
        return matches

    def _signed_by(self, entry: IssuerEntry, signed: compact.Signed) -> bool:
        allowed = ALGORITHMS.intersection(entry.algorithms)
        keys = self._keys(entry).named(signed.key_id, signed.algorithm)
        return any([compact.verifies(signed, key, allowed) for key in keys])

    def _unsigned(self, matches: list[IssuerEntry], signed: compact.Signed) -> GatehouseError:
        """Why nobody vouches. A key that is not known may be new."""
        allowed = [entry for entry in matches if signed.algorithm in ALGORITHMS.intersection(entry.algorithms)]
        if not allowed:
            return _refused("is signed by an algorithm (`alg`) that its issuer is not allowed")
        unknown = [entry for entry in allowed if not self._keys(entry).named(signed.key_id, signed.algorithm)]
        if not unknown:
            return _refused("has a wrong signature")
        if signed.key_id is None and any([self._keys(entry).several for entry in unknown]):
            return _refused("does not say which of its issuer's keys (`kid`) signed it")
        self._wanted.update([entry.id for entry in unknown])
        return _refused("is signed by a key (`kid`) that its issuer had not published when last asked; try again soon")

    def _keys(self, entry: IssuerEntry) -> _KeySet:
        keys = self._key_sets.get(entry.id)
        if keys is None:
            keys = self._key_sets[entry.id] = _KeySet(entry.jwks)
        return keys


class _KeySet:
    """The usable keys of a JWKS. A key that cannot be read does not spoil the others."""

    __slots__ = ("_keys", "of")

    def __init__(self, jwks: bytes) -> None:
        self.of = jwks
        self._keys: list[tuple[str | None, Key]] = []
        try:
            members = msgspec.json.decode(jwks, type=dict[str, Any]).get("keys") if jwks else None
        except (ValueError, RecursionError):
            members = None
        for member in members[:_KEYS] if isinstance(members, list) else ():
            key = _public_key(member)
            if key is not None:
                self._keys.append((key.kid, key))

    @property
    def several(self) -> bool:
        return len(self._keys) > 1

    def named(self, name: str | None, algorithm: str) -> list[Key]:
        """The keys of this name, or the only one for the algorithm if a token names none."""
        found = [key for kid, key in self._keys if name in (None, kid) and compact.fits(key, algorithm)]
        return found[:_KEYS_OF_A_NAME] if name is not None or len(found) == 1 else []


def _public_key(member: object) -> Key | None:
    """One key of a set, if it is an asymmetric public one, strong enough, for signatures."""
    if not isinstance(member, dict) or not _PRIVATE.isdisjoint(member):
        return None
    kind = _KINDS.get(member.get("kty")) if isinstance(member.get("kty"), str) else None
    operations = member.get("key_ops", ["verify"])
    if kind is None or member.get("use", "sig") != "sig" or not isinstance(operations, list):
        return None
    if "verify" not in operations or (kind is RSAKey and not _is_checkable(member)):
        return None
    try:
        return kind.import_key({name: member[name] for name in _PUBLIC if isinstance(member.get(name), str)})
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None


def _is_checkable(member: dict[str, Any]) -> bool:
    """Whether an RSA key is strong enough, and a signature by it soon checked."""
    return _SMALLEST_RSA <= _bits(member.get("n")) <= _LARGEST_RSA and 0 < _bits(member.get("e")) <= _LARGEST_EXPONENT


def _bits(number: object) -> int:
    """Of a number in base64url."""
    if not isinstance(number, str):
        return 0
    try:
        return int.from_bytes(urlsafe_b64decode(number.encode()), "big").bit_length()
    except ValueError:
        return 0


def _claimed_issuer(token: bytes) -> str | None:
    if len(token) > compact.LONGEST:
        return None
    payload = token.split(b".")[1] if token.count(b".") == 2 else b""
    try:
        return msgspec.json.decode(urlsafe_b64decode(payload), type=_Issuer).iss
    except (ValueError, RecursionError):
        return None


def _checked_times(claims: dict[str, Any], now: float) -> float:
    """Until when the token holds, Unix seconds, leeway included."""
    expires = _date(claims, "exp")
    if expires is None:
        raise _refused("never expires (`exp`)")
    if now >= expires + LEEWAY:
        raise _refused("has expired (`exp`)")
    not_before = _date(claims, "nbf")
    if not_before is not None and now < not_before - LEEWAY:
        raise _refused("is not valid yet (`nbf`)")
    return expires + LEEWAY


def _date(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _END_OF_TIME:
        raise _refused(f"has a claim (`{name}`) that is no date")
    return float(value)


def _identity(entry: IssuerEntry, claims: dict[str, Any], until: float) -> Identity:
    subject = _name(claims, "sub")
    if subject is None:
        raise _refused("names nobody (`sub`)")
    client = _name(claims, "client_id")
    service = _name(claims, entry.service_claim) or client
    user = _name(claims, entry.user_claim)
    acting = claims.get("act")
    actor = None
    if acting is not None:
        actor = _name(acting, "sub") if isinstance(acting, dict) else None
        if actor is None:
            raise _refused("does not say who acts (`act`)")
    return Identity(
        tenant=entry.tenant,
        issuer=entry.id,
        subject=subject,
        user=None if subject in (service, client) else user,
        groups=_groups(claims, entry.groups_claim),
        service=service,
        actor=actor,
        expires=until,
    )


def _name(claims: dict[str, Any], claim: str) -> str | None:
    """A short text without control characters; `None` if it is not there."""
    value = claims.get(claim)
    if value is None:
        return None
    if not _is_name(value):
        raise _refused(f"has a claim (`{claim}`) that is no name of up to {_LONGEST} characters")
    return str(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def _groups(claims: dict[str, Any], claim: str) -> tuple[str, ...]:
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, dict) and claim in elsewhere:
        # Entra ID, beyond 200 groups. To go on as if there were none would pass over what is forbidden to a group.
        raise _refused(f"leaves its groups (`{claim}`) to be asked for elsewhere; have the issuer send fewer")
    value = claims.get(claim)
    if value is None:
        return ()
    names = value if isinstance(value, list) else [value]
    if len(names) > _MOST_GROUPS or not all([_is_name(name) for name in names]):
        raise _refused(f"has a claim (`{claim}`) that is not up to {_MOST_GROUPS} names")
    return tuple(names)


def _refused(why: str) -> GatehouseError:
    return GatehouseError(errors.UNAUTHORIZED, f"the identity token {why}")
