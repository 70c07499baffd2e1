"""OpenID Connect as its client: where to send a browser, and who came back (Core 1.0, RFC 7636, RFC 9207).

Rules
- Authorization code with PKCE (S256), a nonce and a state. All calls to the provider are the guarded client's.
- An ID token is verified as identity tokens are (`auth.identity`): issuer, audience, expiry, asymmetric algorithms that
  are allowed, a key of the provider's own set; and its nonce has to be ours.
- Claims are the ID token's; what it leaves out is asked of the userinfo endpoint, whose `sub` has to be the same.
- The client's secret is sent to the token endpoint alone, and is in no `repr` and no error. What a provider says in an
  error is not repeated, beyond its code.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from gatehouse.auth import compact
from gatehouse.auth.identity import Identities
from gatehouse.config.settings import Sso
from gatehouse.control.callout import Answer, Callout, CalloutError
from gatehouse.control.keysets import WELL_KNOWN
from gatehouse.errors import GatehouseError
from gatehouse.model.access import IssuerEntry

KNOWN_SECONDS: Final = 3600.0
"""How long the discovery document is believed."""
AGAIN_SECONDS: Final = 30.0
"""The least time between two fetches of the keys."""
_CODE: Final = re.compile(r"[a-z_]{1,64}")
_ENTRY: Final = "sso"
_T = TypeVar("_T")


class SignOnError(Exception):
    """Nobody can be signed in by it now. `str(error)` is for the one who tries, and holds no secret.

    `ours`: the provider or the settings are at fault, and not whoever tries."""

    def __init__(self, why: str, *, ours: bool = True) -> None:
        super().__init__(why)
        self.ours = ours


@dataclass(frozen=True)
class Attempt:
    """What has to be remembered until the browser comes back."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True)
class Person:
    """Who came back."""

    issuer: str
    subject: str
    email: str | None
    name: str | None
    roles: tuple[str, ...]
    """What the claim holds that roles follow from."""


class _Discovered(msgspec.Struct, frozen=True):
    """What is needed of a discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str = ""


class Provider:
    """One provider. Everything is fetched when it is first needed."""

    def __init__(self, settings: Sso, secret: str | None, callout: Callout) -> None:
        """`settings`: with issuer and client id. `secret`: of the client; `None`: a public one."""
        self._settings = settings
        self._issuer = settings.issuer or ""
        self._client = settings.client_id or ""
        self._secret = secret
        self._callout = callout
        self._known: _Discovered | None = None
        self._known_at = 0.0
        self._keys_at = 0.0
        self._identities = self._with_keys(b"")

    async def address(self, attempt: Attempt, state: str) -> str:
        """Where the browser goes to. Raises `SignOnError`."""
        known = await self._discovered()
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": attempt.redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": attempt.nonce,
            "code_challenge": challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
        mark = "&" if "?" in known.authorization_endpoint else "?"
        return known.authorization_endpoint + mark + urlencode(asked)

    async def person(self, attempt: Attempt, code: str, issuer: str | None) -> Person:
        """Who came back with this code. `issuer`: as the answer names it (`iss`). Raises `SignOnError`."""
        known = await self._discovered()
        required = known.authorization_response_iss_parameter_supported
        if issuer != self._issuer and (issuer is not None or required):
            raise SignOnError("the answer is another provider's", ours=False)
        tokens = await self._exchanged(known, attempt, code)
        claims = await self._verified(known, tokens.id_token)
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()):
            raise SignOnError("the ID token is for another log-in (`nonce`)", ours=False)
        if claims.get("azp") not in (None, self._client):
            raise SignOnError("the ID token was made for another client (`azp`)")
        claims = await self._completed(known, tokens, claims)
        return Person(
            issuer=self._issuer,
            subject=str(claims["sub"]),
            email=_text(claims.get("email")),
            name=_text(claims.get("name")),
            roles=_texts(claims.get(self._settings.roles_claim)),
        )

    async def _discovered(self) -> _Discovered:
        if self._known is not None and time.monotonic() < self._known_at + KNOWN_SECONDS:
            return self._known
        found = await self._asked("GET", self._issuer.rstrip("/") + WELL_KNOWN)
        known = _decoded(found, _Discovered, "its discovery document")
        if known.issuer != self._issuer:
            raise SignOnError("the provider's discovery document names another issuer than sso.issuer")
        if urlsplit(known.authorization_endpoint).scheme not in ("https", urlsplit(self._issuer).scheme):
            raise SignOnError("the provider's authorization endpoint is not https")
        self._known, self._known_at = known, time.monotonic()
        return known

    async def _exchanged(self, known: _Discovered, attempt: Attempt, code: str) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if self._secret is None:
            form["client_id"] = self._client
        elif "client_secret_basic" in known.token_endpoint_auth_methods_supported:
            # RFC 6749, 2.3.1: both are form-encoded first.
            pair = f"{quote(self._client, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": self._client, "client_secret": self._secret}
        found = await self._asked("POST", known.token_endpoint, headers, urlencode(form).encode())
        return _decoded(found, _Tokens, "its token endpoint's answer")

    async def _verified(self, known: _Discovered, token: str) -> dict[str, Any]:
        """The claims of an ID token."""
        data = token.encode()
        for last in (False, True):
            try:
                self._identities.verify(data, time.time())
                return compact.claims_of(compact.read(data).payload)
            except (GatehouseError, compact.NotAToken) as error:
                if last or not self._identities.take_wanted() or not await self._keys_fetched(known):
                    raise SignOnError(f"the provider's ID token is not accepted: {error}") from None
        raise AssertionError("a loop over two always ends within")

    async def _keys_fetched(self, known: _Discovered) -> bool:
        """A key is not known: whether the set was fetched anew."""
        if self._keys_at and time.monotonic() < self._keys_at + AGAIN_SECONDS:
            return False
        found = await self._asked("GET", known.jwks_uri)
        self._identities, self._keys_at = self._with_keys(found.body), time.monotonic()
        return True

    async def _completed(self, known: _Discovered, tokens: _Tokens, claims: dict[str, Any]) -> dict[str, Any]:
        """With what the ID token leaves out."""
        wanted = {"email", "name", self._settings.roles_claim}
        if wanted <= claims.keys() or known.userinfo_endpoint is None or not tokens.access_token:
            return claims
        headers = {"authorization": f"Bearer {tokens.access_token}", "accept": "application/json"}
        found = _decoded(
            await self._asked("GET", known.userinfo_endpoint, headers), dict[str, Any], "its userinfo answer"
        )
        if found.get("sub") != claims["sub"]:
            raise SignOnError("the provider's userinfo is about somebody else (`sub`)")
        return found | claims

    async def _asked(self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Raises `SignOnError` for all but 200."""
        try:
            found = await self._callout.send(method, url, headers=headers, body=body)
        except CalloutError as error:
            raise SignOnError(f"the sign-on provider cannot be asked: {error}") from error
        if found.status != 200:
            raise SignOnError(f"the sign-on provider answered {found.status}{_said(found.body)}")
        return found

    def _with_keys(self, jwks: bytes) -> Identities:
        entry = IssuerEntry(
            id=_ENTRY,
            tenant=self._settings.tenant,
            issuer=self._issuer,
            audience=self._client,
            algorithms=self._settings.algorithms,
            jwks=jwks,
            groups_claim=self._settings.roles_claim,
        )
        return Identities({_ENTRY: entry})


def attempt(redirect_uri: str) -> Attempt:
    """A log-in that begins now."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), redirect_uri)


def challenge(verifier: str) -> str:
    """Of a verifier (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _decoded(found: Answer, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(found.body, type=kind)
    except (ValueError, RecursionError):
        raise SignOnError(f"the sign-on provider is not understood: {what} lacks something") from None


def _said(body: bytes) -> str:
    """The code of an OAuth error, and nothing else of what was said."""
    try:
        code = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (ValueError, RecursionError):
        return ""
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 254:
        return None
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))
