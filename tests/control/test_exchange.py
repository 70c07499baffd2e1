"""Long-lived secrets for short-lived ones, at servers that check what the references demand (D11; I3).

Wire formats: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (form, answer, error with
`error_codes`); developers.google.com/identity/protocols/oauth2/service-account and google-auth 2.62
(`oauth2/service_account.py`, `oauth2/_client.py`); docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole (form,
sample answer, errors).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TypeVar

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from gatehouse.auth.secrets import AwsKeys, AwsRole, EntraClient, GoogleAccount, Source, Token, read
from gatehouse.auth.signing import Signer
from gatehouse.config.settings import Callouts
from gatehouse.control.callout import Callout
from gatehouse.control.exchange import PLACES, Cloud, ExchangeError, Places, exchange, regional
from tests.auth.test_secrets import AWS, google
from tests.control.places import Asked, Reply, answer, place
from tests.http.certificates import self_signed, server_context

T = TypeVar("T")
NOW = 1_440_938_160
"""2015-08-30T12:36:00Z"""
PLANTED = "planted-0123456789"
ENTRA = EntraClient("contoso.onmicrosoft.com", "11112222-bbbb", PLANTED)
ROLE = AwsRole(
    "arn:aws:iam::123456789012:role/bedrock", "AKIAIOSFODNN7EXAMPLE", f"{PLANTED}/secret", "eu-west-1", "gate:1"
)
ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/bedrock/x</Arn></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <SessionToken>AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW==</SessionToken>
      <Expiration>2015-08-30T13:36:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>"""
DENIED = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
  <Code>AccessDenied</Code><Message>User planted-0123456789 is not authorized</Message></Error></ErrorResponse>"""


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def exchanged(source: Source, reply: Reply, pem: Path) -> tuple[Token | AwsKeys, Asked]:
    """What a source gets from a server that answers so, and what the server was asked."""

    async def exchanging() -> tuple[Token | AwsKeys, Asked]:
        async with asyncio.timeout(20), place(reply, server_context(pem)) as there:
            client = Callout(Callouts(private=(there.url,), ca_file=str(pem), seconds=5.0))
            cloud = Cloud(there.url, "https://cognitiveservices.azure.com/.default")
            places = Places({"public": cloud, "us": cloud, "china": cloud}, f"{there.url}/token", there.url)
            found = await exchange(source, client, credential="crd_01h", now=NOW, places=places)
            (asked,) = there.asked
            return found, asked

    return asyncio.run(exchanging())


def account() -> GoogleAccount:
    found = read("google_service_account", google())
    assert isinstance(found, GoogleAccount)
    return found


def test_entra_client_credentials(pem: Path) -> None:
    granted = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "ey.J0.eXAi"}
    found, asked = exchanged(ENTRA, lambda _: answer(200, granted), pem)
    assert found == Token("ey.J0.eXAi", NOW + 3599, "11112222-bbbb")
    assert (asked.method, asked.target) == ("POST", "/contoso.onmicrosoft.com/oauth2/v2.0/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form == {
        "grant_type": "client_credentials",
        "client_id": "11112222-bbbb",
        "client_secret": PLANTED,
        "scope": "https://cognitiveservices.azure.com/.default",
    }


def test_google_service_account(pem: Path) -> None:
    source = account()
    granted = {"access_token": "ya29.c", "token_type": "Bearer", "expires_in": 3599}
    found, asked = exchanged(source, lambda _: answer(200, granted), pem)
    assert found == Token("ya29.c", NOW + 3599, "gateway@example.iam.gserviceaccount.com")
    assert (asked.method, asked.target) == ("POST", "/token")
    assert asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    decoded = jwt.decode(asked.form["assertion"], RSAKey.import_key(source.private_key), algorithms=["RS256"])
    assert decoded.header == {"alg": "RS256", "typ": "JWT", "kid": source.private_key_id}
    assert decoded.claims == {
        "iss": "gateway@example.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": f"https://{asked.headers['host']}/token",
        "iat": NOW,
        "exp": NOW + 3600,
    }


def test_an_aws_role(pem: Path) -> None:
    found, asked = exchanged(ROLE, lambda _: answer(200, ASSUMED, "content-type: text/xml"), pem)
    assert found == AwsKeys(
        "ASIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY",
        "eu-west-1",
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW==",
        NOW + 3600,
        ROLE.role_arn,
    )
    assert (asked.method, asked.target) == ("POST", "/")
    assert asked.form == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE.role_arn,
        "RoleSessionName": "gatehouse-crd_01h",
        "DurationSeconds": "3600",
        "ExternalId": "gate:1",
    }
    signer = Signer(ROLE.access_key_id, ROLE.secret_access_key, "", region="eu-west-1", service="sts")
    covered = [(name.encode(), asked.headers[name].encode()) for name in ("host", "content-type")]
    expected = signer.sign("POST", "/", "", covered, hashlib.sha256(asked.body).hexdigest(), NOW)
    assert asked.headers["authorization"].encode() == dict(expected)[b"authorization"]
    assert asked.headers["x-amz-date"] == "20150830T123600Z"


def test_the_places() -> None:
    """Real ones: by https, each of its provider."""
    assert [cloud.authority for cloud in PLACES.entra.values()] == [
        "https://login.microsoftonline.com",
        "https://login.microsoftonline.us",
        "https://login.partner.microsoftonline.cn",
    ]
    assert PLACES.google == "https://oauth2.googleapis.com/token"
    for region, host in (
        ("eu-west-1", "sts.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ):
        assert regional(PLACES.sts, region) == f"https://{host}"
        assert read("aws_keys", AWS | {"region": region}).last4


@pytest.mark.parametrize(
    ("source", "reply", "said"),
    [
        (
            ENTRA,
            answer(
                401,
                {"error": "invalid_client", "error_description": f"AADSTS7000215: {PLANTED}", "error_codes": [7000215]},
            ),
            r"localhost answered 401: invalid_client AADSTS7000215$",
        ),
        (ENTRA, answer(400, {"error": f"<b>{PLANTED} </b>"}), "localhost answered 400$"),
        (ENTRA, answer(503, b"<html>"), "localhost answered 503$"),
        (ENTRA, answer(200, {"access_token": PLANTED}), "something other than a token"),
        (ENTRA, answer(200, {"access_token": f"{PLANTED}\r\nx: 1", "expires_in": 60}), "something other than a token"),
        (ENTRA, answer(200, {"access_token": PLANTED, "expires_in": 0}), "something other than a token"),
        (ENTRA, answer(200, {"access_token": PLANTED, "expires_in": 1e12}), "something other than a token"),
        (ENTRA, answer(200, PLANTED.encode()), "something other than a token"),
        (ENTRA, answer(307, b"", f"location: https://evil.example/{PLANTED}"), "redirects are not followed"),
        (ROLE, answer(403, DENIED), "localhost answered 403: AccessDenied$"),
        (ROLE, answer(500, b"not XML"), "localhost answered 500$"),
        (ROLE, answer(200, b"<!DOCTYPE x [<!ENTITY a 'planted'>]><x>&a;</x>"), "XML with a declaration"),
        (ROLE, answer(200, ASSUMED.replace(b"SessionToken", b"Other")), "something other than keys"),
        (ROLE, answer(200, ASSUMED.replace(b"AQoDYXdzEPT", b"AQo DYX")), "something other than keys"),
        (ROLE, answer(200, ASSUMED.replace(b"2015-08-30T", b"soon")), "something other than keys"),
    ],
)
def test_refusals_say_why_and_no_secret(source: Source, reply: bytes, said: str, pem: Path) -> None:
    with pytest.raises(ExchangeError, match=said) as caught:
        exchanged(source, lambda _: reply, pem)
    assert "planted" not in str(caught.value)


def test_googles_refusal(pem: Path) -> None:
    refused = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    with pytest.raises(ExchangeError, match="localhost answered 400: invalid_grant"):
        exchanged(account(), lambda _: answer(400, refused), pem)


def test_numbers_as_texts_are_read_too(pem: Path) -> None:
    """As Entra's older endpoints send them."""
    found, _ = exchanged(
        ENTRA, lambda _: answer(200, json.dumps({"access_token": "t", "expires_in": "3599"}).encode()), pem
    )
    assert found == Token("t", NOW + 3599, "11112222-bbbb")
