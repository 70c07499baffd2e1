"""A long-lived secret for a short-lived one: Entra ID, Google and AWS, each as its reference has it.

Rules: one request, through the guarded client (`control.callout`), to places that stand here and nowhere else: nobody
can name another by way of a secret (I3). What comes back is checked like what comes in by the API. Errors name the
place and its error code; other texts of an answer are not repeated, since they may quote what was sent.

| source | request | gets |
|---|---|---|
| Entra ID | client credentials, form (learn.microsoft.com, v2-oauth2-client-creds-grant-flow) | a token |
| Google service account | JWT bearer, RS256, form (developers.google.com, oauth2/service-account) | a token |
| AWS role | `AssumeRole`, form, signed (docs.aws.amazon.com, STS API reference) | keys and session token |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import msgspec
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import Meta

from gatehouse.auth.secrets import AwsKeys, AwsRole, EntraClient, GoogleAccount, LongWord, Source, Token
from gatehouse.auth.signing import Signer
from gatehouse.control.callout import Answer, Callout, CalloutError

LIFETIME: Final = 3600
"""Seconds asked for: Google's most for an assertion, and every AWS role's least maximum."""

_FORM: Final = "application/x-www-form-urlencoded"
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAME: Final = re.compile(r"[^\w+=,.@-]")
_SUFFIXES: Final = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}
"""AWS's domains apart from the common one, by the first part of the region: China, European Sovereign Cloud."""
_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


class Cloud(NamedTuple):
    """One of Azure's clouds."""

    authority: str
    scope: str


class Places(NamedTuple):
    """Where secrets are exchanged. Tests name servers of their own."""

    entra: Mapping[Literal["public", "us", "china"], Cloud]
    google: str
    sts: str
    """`{region}` is the region, `{suffix}` AWS's domain there."""


PLACES: Final = Places(
    entra={
        "public": Cloud("https://login.microsoftonline.com", "https://cognitiveservices.azure.com/.default"),
        "us": Cloud("https://login.microsoftonline.us", "https://cognitiveservices.azure.us/.default"),
        "china": Cloud("https://login.partner.microsoftonline.cn", "https://cognitiveservices.azure.cn/.default"),
    },
    google="https://oauth2.googleapis.com/token",
    sts="https://sts.{region}.{suffix}",
)


class ExchangeError(Exception):
    """Nothing was granted. `str(error)` says by whom and why, without a secret."""


class _Granted(msgspec.Struct, frozen=True):
    access_token: LongWord
    expires_in: Annotated[int, Meta(ge=1, le=366 * 86_400)]


class _Refused(msgspec.Struct, frozen=True):
    error: str = ""
    error_codes: list[int] = []


async def exchange(
    source: Source, callout: Callout, *, credential: str, now: int, places: Places = PLACES
) -> Token | AwsKeys:
    """What requests are made with for a while. `now`: Unix seconds. Raises `ExchangeError`.

    `credential`: its id, by which AWS's own logs name the session.
    """
    try:
        match source:
            case EntraClient():
                fetched: Token | AwsKeys = await _entra(source, callout, now, places.entra[source.cloud])
            case GoogleAccount():
                fetched = await _google(source, callout, now, places.google)
            case AwsRole():
                fetched = await _assumed(source, callout, credential, now, places.sts)
    except CalloutError as error:
        raise ExchangeError(str(error)) from error
    return msgspec.structs.replace(fetched, account=source.account)


async def _entra(source: EntraClient, callout: Callout, now: int, cloud: Cloud) -> Token:
    form = {
        "grant_type": "client_credentials",
        "client_id": source.client_id,
        "client_secret": source.client_secret,
        "scope": cloud.scope,
    }
    return await _token(f"{cloud.authority}/{source.directory_id}/oauth2/v2.0/token", form, callout, now)


async def _google(source: GoogleAccount, callout: Callout, now: int, place: str) -> Token:
    claims = {
        "iss": source.client_email,
        "scope": _GOOGLE_SCOPE,
        "aud": place,
        "iat": now,
        "exp": now + LIFETIME,
    }
    header = {"alg": "RS256", "typ": "JWT", "kid": source.private_key_id}
    assertion = jwt.encode(header, claims, RSAKey.import_key(source.private_key), algorithms=["RS256"])
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return await _token(place, form, callout, now)


async def _token(place: str, form: Mapping[str, str], callout: Callout, now: int) -> Token:
    body = urlencode(form).encode()
    answer = await callout.send("POST", place, headers={"content-type": _FORM, "accept": "application/json"}, body=body)
    if answer.status != 200:
        raise _refused(place, answer.status, _oauth_code(answer))
    try:
        granted = msgspec.json.decode(answer.body, type=_Granted, strict=False)
    except msgspec.MsgspecError:
        raise ExchangeError(f"{_host(place)} answered something other than a token") from None
    return Token(granted.access_token, now + granted.expires_in)


def _oauth_code(answer: Answer) -> str:
    try:
        refused = msgspec.json.decode(answer.body, type=_Refused)
    except msgspec.MsgspecError:
        return ""
    numbers = "".join(f" AADSTS{number}" for number in refused.error_codes[:3])
    return f"{refused.error}{numbers}" if _CODE.fullmatch(refused.error) else ""


async def _assumed(source: AwsRole, callout: Callout, credential: str, now: int, place: str) -> AwsKeys:
    url = regional(place, source.region)
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": source.role_arn,
        "RoleSessionName": _NAME.sub("-", f"gatehouse-{credential}")[:64],
        "DurationSeconds": str(LIFETIME),
    }
    if source.external_id:
        form["ExternalId"] = source.external_id
    answer = await ask_sts(url, source, form, callout, now)
    found = _elements(answer.body, url)
    if answer.status != 200:
        code = found.get("Code", "")
        raise _refused(url, answer.status, code if _CODE.fullmatch(code) else "")
    try:
        return msgspec.convert(
            {
                "type": "aws_keys",
                "access_key_id": found["AccessKeyId"],
                "secret_access_key": found["SecretAccessKey"],
                "session_token": found["SessionToken"],
                "region": source.region,
                "expires": int(datetime.fromisoformat(found["Expiration"]).timestamp()),
            },
            AwsKeys,
        )
    except (KeyError, ValueError):
        raise ExchangeError(f"{_host(url)} answered something other than keys") from None


async def ask_sts(url: str, keys: AwsKeys | AwsRole, form: Mapping[str, str], callout: Callout, now: int) -> Answer:
    """What AWS STS answers to a form, signed with these keys. Raises `CalloutError`."""
    body = urlencode(form).encode()
    signer = Signer(keys.access_key_id, keys.secret_access_key, "", region=keys.region, service="sts")
    signed = [(b"host", urlsplit(url).netloc.encode()), (b"content-type", _FORM.encode())]
    added = signer.sign("POST", "/", "", signed, hashlib.sha256(body).hexdigest(), now)
    headers = {name.decode(): value.decode() for name, value in [*signed[1:], *added]}
    return await callout.send("POST", f"{url}/", headers=headers, body=body)


def regional(place: str, region: str) -> str:
    """AWS's address of a service in a region, from `Places`."""
    suffix = _SUFFIXES.get(region.partition("-")[0], "amazonaws.com")
    return place.format(region=region, suffix=suffix)


def _elements(body: bytes, url: str) -> dict[str, str]:
    """The texts of an XML answer by the names of their elements."""
    if b"<!" in body:
        raise ExchangeError(f"{_host(url)} answered XML with a declaration, which is not read")
    try:
        # Without declarations there are no entities that could grow.
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        return {}
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}


def _refused(place: str, status: int, code: str) -> ExchangeError:
    return ExchangeError(f"{_host(place)} answered {status}" + (f": {code}" if code else ""))


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the place"
