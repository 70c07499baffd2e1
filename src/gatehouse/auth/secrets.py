"""What a provider secret consists of, by kind: what callers of the API hand in, and what is made from it.

Rules: frozen; a value never shows itself (`repr` names the kind alone); every text is checked when it comes in, since
it ends up in header lines and in requests of our own. `read` is the only way in from outside. Where a secret may be
exchanged for a token is not part of it: that would be a way to send it anywhere (`control.tokens` knows the places).

Sources, read November 2026: learn.microsoft.com (Entra ID, sovereign clouds), docs.aws.amazon.com (IAM and STS API
references), Google's service account key files as google-auth 2.62 reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Meta

from gatehouse.model.access import CredentialKind
from gatehouse.model.guarded import Guarded

_VISIBLE: Final = r"^[\x21-\x7e]+\Z"
"""With `\\Z`: `$` lets one line break pass at the end, and it would end a header line."""
Word = Annotated[str, Meta(min_length=1, max_length=4096, pattern=_VISIBLE)]
"""Printable ASCII without spaces: nothing that could end a header line."""
LongWord = Annotated[str, Meta(min_length=1, max_length=32_768, pattern=_VISIBLE)]
"""Tokens: neither Google nor AWS states a bound."""
Region = Annotated[str, Meta(pattern=r"^[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}\Z")]
Moment = Annotated[int, Meta(ge=0)]

_SHOWN: Final = 4
_LEAST: Final = 12
"""Of shorter secrets nothing is shown: four characters would be too much of them."""


class Kept(Guarded, frozen=True):
    """One secret. Subclasses are told apart by their tag, which is sealed with them."""

    identifies: ClassVar[str]
    """The field whose last characters tell one secret from another."""

    @property
    def last4(self) -> str:
        """The last four characters, for lists; empty for a short secret."""
        text: str = getattr(self, self.identifies)
        return text[-_SHOWN:] if len(text) >= _LEAST else ""


class ApiKey(Kept, frozen=True, tag="api_key"):
    """A key that goes into a header as it is."""

    identifies = "key"
    key: Word


class AwsKeys(Kept, frozen=True, tag="aws_keys"):
    """What requests to AWS are signed with. With `session_token` and `expires` (Unix seconds): fetched, for a while."""

    identifies = "access_key_id"
    access_key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{16,128}\Z")]
    secret_access_key: Word
    region: Region
    session_token: Annotated[str, Meta(max_length=32_768, pattern=r"^[\x21-\x7e]*\Z")] = ""
    expires: Moment = 0
    account: str = ""
    """`Source.account`, of keys that were fetched."""


class AwsRole(Kept, frozen=True, tag="aws_role"):
    """A role to assume, and the keys of whoever may."""

    identifies = "role_arn"
    role_arn: Annotated[str, Meta(max_length=2048, pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+\Z")]
    access_key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{16,128}\Z")]
    secret_access_key: Word
    region: Region
    external_id: Annotated[str, Meta(max_length=1224, pattern=r"^[\w+=,.@:/-]*\Z")] = ""

    @property
    def account(self) -> str:
        """What everything fetched with it acts as."""
        return self.role_arn


class EntraClient(Kept, frozen=True, tag="azure_entra"):
    """An application registered with Microsoft Entra ID, by client secret."""

    identifies = "client_secret"
    directory_id: Annotated[str, Meta(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")]
    """The directory (tenant): its id or a domain of it."""
    client_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")]
    client_secret: Word
    cloud: Literal["public", "us", "china"] = "public"

    @property
    def account(self) -> str:
        """As of `AwsRole`."""
        return self.client_id.lower()


class GoogleAccount(Kept, frozen=True, tag="google_service_account"):
    """A service account's key, with the names of its key file. What else stands there is not kept."""

    identifies = "private_key_id"
    client_email: Word
    private_key_id: Word
    private_key: Annotated[str, Meta(max_length=16_384, pattern=r"^-----BEGIN PRIVATE KEY-----\s")]
    """PEM, PKCS #8, RSA."""

    @property
    def account(self) -> str:
        """As of `AwsRole`."""
        return self.client_email.lower()


class Token(Kept, frozen=True, tag="token"):
    """A bearer token that was fetched. `expires`: Unix seconds."""

    identifies = "value"
    value: LongWord
    expires: Moment
    account: str = ""
    """`Source.account`."""


Secret = ApiKey | AwsKeys | AwsRole | EntraClient | GoogleAccount | Token

Source = EntraClient | GoogleAccount | AwsRole
"""What a token, or keys for a while, are fetched with: it stays in the control plane."""

Given = ApiKey | AwsKeys | Source
"""What callers of the API hand in."""

Usable = ApiKey | AwsKeys | Token
"""What goes into a request, or signs it: the only kinds a worker ever opens."""

_GIVEN: Final[dict[CredentialKind, type[Given]]] = {
    "api_key": ApiKey,
    "aws_keys": AwsKeys,
    "aws_role": AwsRole,
    "azure_entra": EntraClient,
    "google_service_account": GoogleAccount,
}

_FETCHED: Final = ("expires", "account")
"""Fields that only what was fetched has."""
_ANY_WORD: Final = "x21-"
"""In the pattern of whatever may be any text without spaces."""
_ASSIGNMENT: Final = re.compile(r"(export )?[A-Z][A-Z0-9_]{2,}=[^=]")
_UNLIKE: Final = "is not what such a thing looks like"


def read(kind: CredentialKind, given: str | Mapping[str, object]) -> Given:
    """A secret as handed in: the key's text for `api_key`, else a mapping (for Google the key file as it is).

    Raises `ValueError`: a sentence that names the field and never its value.
    """
    wanted = _GIVEN[kind]
    if isinstance(given, str):
        if kind != "api_key":
            raise ValueError(f"a secret of the kind {kind} is a mapping with {', '.join(wanted.__struct_fields__)}")
        given = {"key": _unwrapped(given.strip())}
    if kind == "google_service_account":
        if given.get("type", "service_account") != "service_account":
            raise ValueError("type: must be service_account")
        if given.get("universe_domain", "googleapis.com") != "googleapis.com":
            raise ValueError("universe_domain: only googleapis.com is supported")
        given = {name: value for name, value in given.items() if name in wanted.__struct_fields__}
    if any(name not in wanted.__struct_fields__ or name in _FETCHED for name in given):
        taken = [name for name in wanted.__struct_fields__ if name not in _FETCHED]
        raise ValueError(f"a secret of the kind {kind} holds {', '.join(taken)} and nothing else")
    try:
        secret = msgspec.convert({**given, "type": kind}, wanted)
    except msgspec.ValidationError as error:
        raise ValueError(_worded(str(error))) from None
    if isinstance(secret, GoogleAccount):
        rsa_key(secret)
    return secret


def _unwrapped(key: str) -> str:
    """A key as it is. Raises `ValueError` where it comes in quotes or as a line of an `.env` file."""
    if key[:1] in ("'", '"'):
        raise ValueError("key: begins with a quotation mark; give the key alone")
    if _ASSIGNMENT.match(key):
        raise ValueError("key: begins with the name of a variable and `=`; give what follows it")
    return key


def rsa_key(account: GoogleAccount) -> RSAPrivateKey:
    """The key that signs for a service account. Raises `ValueError`."""
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("private_key: is no key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key: must be an RSA key")
    return key


def _worded(text: str) -> str:
    """msgspec's sentence, the field first: it names types, never values. Patterns are told in words."""
    what, _, where = text.partition(" - at `$.")
    field = where.rstrip("`")
    if "matching regex" in what:
        what = "holds a space, a line break or a character that is not ASCII" if _ANY_WORD in what else _UNLIKE
    return f"{field}: {what}" if field else what.replace("Object missing required", "it misses the").replace("`", "")
