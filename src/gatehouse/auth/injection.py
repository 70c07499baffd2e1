"""How a stored credential goes into a request: header lines made once, or a signature made for each request (I3).

Rules: one `Injection` per credential and snapshot; on the hot path it is a comparison and a look-up, or one signature.
It gives nothing to any origin but the one its secret was sealed for. What it goes into has been cleared of every other
credential before (`auth.positions`). Never decoded, never shown: compilable.

| `auth` | an API key goes into | tokens and signatures |
|---|---|---|
| `bearer` | `authorization: Bearer` | |
| `anthropic` | `x-api-key` | |
| `azure` | `api-key` | Entra ID: `authorization: Bearer` |
| `google` | `x-goog-api-key`; on its OpenAI surface as `bearer` | service account: `authorization: Bearer` |
| `bedrock` | `authorization: Bearer` | access keys, assumed role: Signature Version 4, `bedrock` |

Sources, read November 2026: anthropic-py 2.11 and openai-py 3.52 (`_client`, `lib/azure`, `lib/bedrock`),
google-genai 3.4 (`_api_client`), ai.google.dev/gemini-api/docs/openai, docs.aws.amazon.com (Bedrock, "Use an Amazon
Bedrock API key").
"""

from __future__ import annotations

import hashlib
from typing import Final

from gatehouse import errors
from gatehouse.auth.secrets import ApiKey, AwsKeys, Token, Usable
from gatehouse.auth.signing import Headers, Signer
from gatehouse.auth.vault import Vault, binding_of
from gatehouse.errors import GatehouseError
from gatehouse.model.access import CredentialEntry, CredentialKind
from gatehouse.model.call import Dialect
from gatehouse.model.snapshot import ProviderAuth

KINDS: Final[dict[ProviderAuth, tuple[CredentialKind, ...]]] = {
    "bearer": ("api_key",),
    "anthropic": ("api_key",),
    "azure": ("api_key", "azure_entra"),
    "google": ("api_key", "google_service_account"),
    "bedrock": ("api_key", "aws_keys", "aws_role"),
}
"""The kinds of credentials that a provider takes."""

_BEARER: Final = b"authorization: Bearer %b\r\n"
_KEY_LINES: Final[dict[ProviderAuth, bytes]] = {
    "bearer": _BEARER,
    "anthropic": b"x-api-key: %b\r\n",
    "azure": b"api-key: %b\r\n",
    "google": b"x-goog-api-key: %b\r\n",
    "bedrock": _BEARER,
}
_USED: Final[dict[CredentialKind, type[Usable]]] = {
    "api_key": ApiKey,
    "aws_keys": AwsKeys,
    "aws_role": AwsKeys,
    "azure_entra": Token,
    "google_service_account": Token,
}
"""What a worker opens of each kind: never what a token is fetched with."""
_SERVICES: Final = (("bedrock-mantle.", "bedrock-mantle"), ("", "bedrock"))
"""AWS's signing names, by what a host begins with (openai-py 3.52, `lib._bedrock_auth`)."""
_SIGNED: Final = frozenset((b"host", b"content-type"))
_SIGNED_PREFIX: Final = b"x-amz-"


class Injection:
    """One credential, ready for requests."""

    __slots__ = ("_lines", "_openai_lines", "_origin", "_signer", "credential", "expires", "mark")

    def __init__(self, entry: CredentialEntry, auth: ProviderAuth, secret: Usable) -> None:
        """`secret`: what `entry` holds, opened."""
        self.credential = entry.id
        self.expires = 0
        """Unix seconds from which on it must not be used; 0: never."""
        self.mark = _mark(secret)
        """Two with the same mark are the same key of a provider's account, or fetched for the same. A digest."""
        self._origin = entry.origin
        self._signer: Signer | None = None
        self._lines = b""
        self._openai_lines = b""
        if isinstance(secret, AwsKeys):
            self.expires = secret.expires
            self._signer = Signer(
                secret.access_key_id,
                secret.secret_access_key,
                secret.session_token,
                region=secret.region,
                service=_service(entry.origin),
            )
        elif isinstance(secret, Token):
            self.expires = secret.expires
            self._lines = self._openai_lines = _BEARER % secret.value.encode()
        else:
            self._lines = _KEY_LINES[auth] % secret.key.encode()
            self._openai_lines = _BEARER % secret.key.encode() if auth == "google" else self._lines

    @property
    def signs(self) -> bool:
        """Whether each request is signed (`sign`) rather than given `lines`. It takes the body's hash beforehand."""
        return self._signer is not None

    def fresh(self, now: int) -> bool:
        """Whether it may still be used. `now`: Unix seconds."""
        return self.expires == 0 or now < self.expires

    def lines(self, origin: str, dialect: Dialect) -> bytes:
        """The header lines for a request to `origin` (`str(Route.origin)`) on a route of `dialect`.

        Empty where requests are signed. Raises `GatehouseError` (NO_CREDENTIAL) for any other origin than its own.
        """
        self._check(origin)
        return self._openai_lines if dialect == "openai" else self._lines

    def sign(
        self, origin: str, method: str, path: str, query: str, headers: Headers, body_sha256: str, now: int
    ) -> bytes:
        """The header lines for one request, signed as it is sent. Only where `signs`. Raises as `lines` does.

        `path`, `query` (without `?`): as they go upstream. `headers`: the request's, `host` among them, and
        cleared. `body_sha256`: hex, of the body as it goes upstream. `now`: Unix seconds.
        """
        self._check(origin)
        assert self._signer is not None  # noqa: S101 - see `signs`
        signed = [
            (name, value)
            for name, value in headers
            if name.lower() in _SIGNED or name.lower().startswith(_SIGNED_PREFIX)
        ]
        added = self._signer.sign(method, path, query, signed, body_sha256, now)
        return b"".join([b"%b: %b\r\n" % pair for pair in added])

    def _check(self, origin: str) -> None:
        if origin != self._origin:
            raise GatehouseError(
                errors.NO_CREDENTIAL,
                f"the stored credential {self.credential} is for another address of this provider; "
                "store one for this address (`gatehouse credential create`)",
            )


def _service(origin: str) -> str:
    host = origin.partition("://")[2]
    return next(name for beginning, name in _SERVICES if host.startswith(beginning))


def _mark(secret: Usable) -> bytes:
    if isinstance(secret, ApiKey):
        one = secret.key
    else:
        one = secret.account or (secret.access_key_id if isinstance(secret, AwsKeys) else secret.value)
    return hashlib.sha256(one.encode()).digest()


def injection(entry: CredentialEntry, auth: ProviderAuth, vault: Vault) -> Injection:
    """From an entry of the snapshot.

    Raises `VaultError` where its secret does not open for it; `ValueError` where the provider takes no such kind.
    """
    if entry.kind not in KINDS[auth]:
        raise ValueError(
            f"credential {entry.id} is of the kind {entry.kind}, which provider {entry.provider} cannot use"
        )
    return Injection(entry, auth, vault.open(binding_of(entry), entry.sealed, (_USED[entry.kind],)))
