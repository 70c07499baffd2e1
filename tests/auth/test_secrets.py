"""What provider secrets may consist of, and that none shows itself (I3)."""

from __future__ import annotations

import json
from functools import cache

import msgspec
import pytest
import rich.pretty
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatehouse.auth.secrets import ApiKey, AwsKeys, AwsRole, EntraClient, GoogleAccount, Token, read
from gatehouse.model.access import CredentialKind

PLANTED = "sk-planted-0123456789"
AWS = {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "region": "us-east-1",
}
AWS_KEYS = AwsKeys(AWS["access_key_id"], AWS["secret_access_key"], AWS["region"])
ROLE = AWS | {"role_arn": "arn:aws:iam::123456789012:role/team/bedrock"}
ENTRA = {"directory_id": "contoso.onmicrosoft.com", "client_id": "11112222-bbbb", "client_secret": PLANTED}


@cache
def google_key_file() -> str:
    """As Google's console hands it out."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "example",
            "private_key_id": "0123456789abcdef0123456789abcdef01234567",
            "private_key": pem,
            "client_email": "gateway@example.iam.gserviceaccount.com",
            "client_id": "123",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://attacker.example/token",
            "universe_domain": "googleapis.com",
        }
    )


def google() -> dict[str, object]:
    found: dict[str, object] = json.loads(google_key_file())
    return found


def test_what_is_handed_in() -> None:
    assert read("api_key", f" {PLANTED}\n") == ApiKey(PLANTED)
    assert read("api_key", {"key": PLANTED}) == ApiKey(PLANTED)
    assert read("aws_keys", AWS) == AWS_KEYS
    assert read("aws_role", ROLE | {"external_id": "gate:1"}) == AwsRole(**ROLE, external_id="gate:1")
    assert read("azure_entra", ENTRA) == EntraClient("contoso.onmicrosoft.com", "11112222-bbbb", PLANTED)
    account = read("google_service_account", google())
    assert isinstance(account, GoogleAccount)
    assert account.client_email == "gateway@example.iam.gserviceaccount.com"


def test_a_key_file_cannot_say_where_its_signature_goes() -> None:
    assert b"attacker" not in msgspec.json.encode(read("google_service_account", google()))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("api_key", "", "key: "),
        ("api_key", "sk two", "key: "),
        ("api_key", "sk\r\nx-evil: 1", "key: "),
        ("api_key", "schlüssel-0123456789", "key: "),
        ("api_key", "x" * 4097, "key: "),
        ("api_key", f'"{PLANTED}"', "key: begins with a quotation mark"),
        ("api_key", f"OPENAI_API_KEY={PLANTED}", "key: begins with the name of a variable"),
        ("api_key", {"key": 7}, "key: "),
        ("api_key", {"key": PLANTED, "also": "x"}, "nothing else"),
        ("aws_keys", "AKIA", "is a mapping with access_key_id"),
        ("aws_keys", AWS | {"region": "us-east-1.evil.example"}, "region: "),
        ("aws_keys", AWS | {"region": "US-EAST-1"}, "region: "),
        ("aws_keys", AWS | {"access_key_id": "AK/../IA012345678"}, "access_key_id: "),
        ("aws_keys", AWS | {"expires": 7}, "nothing else"),
        ("aws_keys", AWS | {"account": "another"}, "session_token and nothing else"),
        ("aws_role", ROLE | {"role_arn": "arn:aws:iam::123456789012:user/x"}, "role_arn: "),
        ("aws_role", AWS, "it misses the field role_arn"),
        ("azure_entra", ENTRA | {"directory_id": "x/../y"}, "directory_id: "),
        ("azure_entra", ENTRA | {"directory_id": ".."}, "directory_id: "),
        ("azure_entra", ENTRA | {"cloud": "mine"}, "cloud: "),
        ("azure_entra", ENTRA | {"authority": "https://evil.example"}, "nothing else"),
        ("google_service_account", "{}", "is a mapping"),
        ("google_service_account", {"type": "authorized_user"}, "type: must be service_account"),
    ],
)
def test_what_is_refused_is_named_and_not_repeated(
    kind: CredentialKind, given: str | dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read(kind, given)
    for secret in (PLANTED, AWS["secret_access_key"], "evil"):
        assert secret not in str(caught.value)


def test_I3_no_field_ends_with_a_line_break() -> None:
    """It would end a header line on its way upstream. Python's `$` lets one pass at the end of a text."""
    all_of_them: dict[CredentialKind, dict[str, str]] = {
        "api_key": {"key": PLANTED},
        "aws_keys": AWS | {"session_token": "a"},
        "aws_role": ROLE | {"external_id": "gate:1"},
        "azure_entra": ENTRA,
    }
    for kind, given in all_of_them.items():
        read(kind, given)
        for name, value in given.items():
            with pytest.raises(ValueError, match=name):
                read(kind, given | {name: f"{value}\n"})
    for name in ("client_email", "private_key_id"):
        with pytest.raises(ValueError, match=name):
            read("google_service_account", google() | {name: "x\n"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "token", "value": "a\n", "expires": 1}, Token)


def test_keys_that_are_none() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    pem = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for wrong, said in ((pem, "must be an RSA key"), ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "is no key in PEM")):
        with pytest.raises(ValueError, match=f"private_key: {said}"):
            read("google_service_account", google() | {"private_key": wrong})
    with pytest.raises(ValueError, match="universe_domain"):
        read("google_service_account", google() | {"universe_domain": "evil.example"})


def test_nothing_shows_itself() -> None:
    key = ApiKey(PLANTED)
    for shown in (repr(key), str(key), f"{key!r}", repr([key]), rich.pretty.pretty_repr(key)):
        assert "planted" not in shown
        assert "ApiKey" in shown
    assert PLANTED not in repr(Token(PLANTED, 7))


def test_the_last_four() -> None:
    assert ApiKey(PLANTED).last4 == "6789"
    assert ApiKey("short").last4 == ""
    assert AWS_KEYS.last4 == "MPLE"
    assert read("google_service_account", google()).last4 == "4567"
    assert read("azure_entra", ENTRA).last4 == "6789"
    assert AwsRole(**ROLE).last4 == "rock"
