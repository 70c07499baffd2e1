"""A stored credential goes into requests as its provider wants it, and to its own origin only (I3, T4, D11).

Header names: openai-py 3.52 (`OpenAI.auth_headers`, `lib/azure.py`), anthropic-py 2.11 (`auth_headers`,
`lib/bedrock`), google-genai 3.4 (`_api_client`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from gatehouse import errors
from gatehouse.auth import positions
from gatehouse.auth.injection import KINDS, Injection, injection
from gatehouse.auth.secrets import ApiKey, AwsKeys, EntraClient, Secret, Token
from gatehouse.auth.signing import Signer
from gatehouse.auth.vault import Vault, VaultError, binding_of
from gatehouse.config.settings import Settings
from gatehouse.errors import GatehouseError
from gatehouse.model.access import CredentialEntry, CredentialKind
from gatehouse.model.call import Dialect
from gatehouse.model.snapshot import ProviderAuth
from gatehouse.providers.entries import entries

VAULT = Vault([Fernet.generate_key()])
ORIGIN = "https://api.example.com"
AWS = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-west-2")
NOW = 1_440_938_160
NO_BODY = hashlib.sha256(b"").hexdigest()


def ready(auth: ProviderAuth, kind: CredentialKind, secret: Secret, origin: str = ORIGIN) -> Injection:
    entry = CredentialEntry("crd_1", "ten_1", "some", origin, kind, b"")
    entry = msgspec.structs.replace(entry, sealed=VAULT.seal(binding_of(entry), secret))
    return injection(entry, auth, VAULT)


def assert_cleared(lines: bytes) -> None:
    """A caller's own headers of these names do not reach a request beside ours."""
    headers = [
        (name.title(), value.strip()) for name, _, value in (line.partition(b":") for line in lines.splitlines())
    ]
    assert positions.found(headers, "/", "", None).cleared().headers == []


@pytest.mark.parametrize(
    ("auth", "dialect", "line"),
    [
        ("bearer", "openai", b"authorization: Bearer sk-1\r\n"),
        ("bearer", "anthropic", b"authorization: Bearer sk-1\r\n"),
        ("anthropic", "anthropic", b"x-api-key: sk-1\r\n"),
        ("anthropic", "openai", b"x-api-key: sk-1\r\n"),
        ("azure", "openai", b"api-key: sk-1\r\n"),
        ("google", "google", b"x-goog-api-key: sk-1\r\n"),
        ("google", "openai", b"authorization: Bearer sk-1\r\n"),
        ("bedrock", "none", b"authorization: Bearer sk-1\r\n"),
    ],
)
def test_api_keys(auth: ProviderAuth, dialect: Dialect, line: bytes) -> None:
    found = ready(auth, "api_key", ApiKey("sk-1"))
    assert found.lines(ORIGIN, dialect) == line
    assert not found.signs
    assert found.fresh(1 << 40)
    assert_cleared(line)


@pytest.mark.parametrize(("auth", "kind"), [("azure", "azure_entra"), ("google", "google_service_account")])
def test_tokens(auth: ProviderAuth, kind: CredentialKind) -> None:
    found = ready(auth, kind, Token("ey.token", NOW + 60))
    for dialect in ("openai", "google"):
        assert found.lines(ORIGIN, dialect) == b"authorization: Bearer ey.token\r\n"
    assert found.fresh(NOW + 59)
    assert not found.fresh(NOW + 60)


def test_what_is_fetched_for_one_account_has_one_mark_i3() -> None:
    """A provider's account that is stored twice is told by it, whatever it hands out each time."""

    def mark(kind: CredentialKind, secret: Secret) -> bytes:
        auth: ProviderAuth = "bedrock" if kind.startswith("aws") else "google"
        return ready(auth, kind, secret).mark

    one, other = (mark("google_service_account", Token(f"ey.{n}", NOW, "robot@example")) for n in range(2))
    assert one == other != mark("google_service_account", Token("ey.0", NOW, "another@example"))
    roles = [
        msgspec.structs.replace(AWS, access_key_id=f"ASIA{n:016}", expires=NOW, account="arn:aws:iam::1:role/r")
        for n in range(2)
    ]
    assert mark("aws_role", roles[0]) == mark("aws_role", roles[1]) != mark("aws_keys", AWS)


def test_signatures() -> None:
    """Signed is what makes a request what it is: host, content type and AWS's own headers."""
    secret = msgspec.structs.replace(AWS, session_token="session", expires=NOW + 900)
    found = ready("bedrock", "aws_role", secret)
    assert found.signs
    assert found.lines(ORIGIN, "none") == b""
    assert not found.fresh(NOW + 900)
    headers = [
        (b"Host", b"api.example.com"),
        (b"Content-Type", b"application/json"),
        (b"X-Amzn-Bedrock-Trace", b"ENABLED"),
        (b"x-amz-meta", b"1"),
        (b"user-agent", b"changes on the way"),
    ]
    lines = found.sign(ORIGIN, "POST", "/model/x-v1:0/converse", "", headers, NO_BODY, NOW)
    signer = Signer(secret.access_key_id, secret.secret_access_key, "session", region="us-west-2", service="bedrock")
    signed = [headers[0], headers[1], headers[3]]
    expected = signer.sign("POST", "/model/x-v1:0/converse", "", signed, NO_BODY, NOW)
    assert lines == b"".join(b"%b: %b\r\n" % pair for pair in expected)
    assert b"SignedHeaders=content-type;host;x-amz-date;x-amz-meta;x-amz-security-token," in lines
    names = [line.partition(b":")[0] for line in lines.splitlines()]
    assert names == [b"x-amz-date", b"x-amz-security-token", b"authorization"]
    assert_cleared(lines)


@pytest.mark.parametrize(
    "origin", ["http://api.example.com", "https://api.example.com:8443", "https://api.example.com.evil", ""]
)
def test_no_other_origin_gets_anything(origin: str) -> None:
    """T4: a key stored for one Azure resource does not go to another."""
    for found in (ready("azure", "api_key", ApiKey("sk-planted")), ready("bedrock", "aws_keys", AWS)):
        with pytest.raises(GatehouseError) as caught:
            found.lines(origin, "openai")
        assert caught.value.kind is errors.NO_CREDENTIAL
        assert "sk-planted" not in caught.value.detail
    with pytest.raises(GatehouseError):
        ready("bedrock", "aws_keys", AWS).sign(origin, "GET", "/", "", [], NO_BODY, NOW)


@pytest.mark.parametrize(
    ("auth", "kind", "secret"),
    [
        ("bearer", "azure_entra", Token("t", NOW)),
        ("anthropic", "aws_keys", AWS),
        ("azure", "google_service_account", Token("t", NOW)),
        ("google", "azure_entra", Token("t", NOW)),
    ],
)
def test_kinds_a_provider_does_not_take(auth: ProviderAuth, kind: CredentialKind, secret: Secret) -> None:
    with pytest.raises(ValueError, match="crd_1 is of the kind"):
        ready(auth, kind, secret)


@pytest.mark.parametrize(
    ("auth", "kind", "secret"),
    [
        ("azure", "azure_entra", EntraClient("contoso", "client", "sk-planted")),
        ("azure", "azure_entra", ApiKey("sk-planted")),
        ("bedrock", "aws_keys", ApiKey("sk-planted")),
        ("azure", "api_key", Token("sk-planted", NOW)),
    ],
)
def test_a_sealed_secret_of_another_kind_is_refused(auth: ProviderAuth, kind: CredentialKind, secret: Secret) -> None:
    with pytest.raises(VaultError, match="another kind") as caught:
        ready(auth, kind, secret)
    assert "sk-planted" not in str(caught.value)


def test_every_provider_says_how() -> None:
    found: dict[str, Any] = {name: entry.auth for name, entry in entries(Settings()).items()}
    assert {name: auth for name, auth in found.items() if auth != "bearer"} == {
        "anthropic": "anthropic",
        "google": "google",
        "vertex": "google",
        "azure": "azure",
        "bedrock": "bedrock",
        "bedrock-mantle": "bedrock",
    }
    assert set(found.values()) <= set(KINDS)


def test_it_does_not_show_what_it_holds() -> None:
    assert "sk-planted" not in repr(ready("bearer", "api_key", ApiKey("sk-planted")))
