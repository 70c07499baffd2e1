"""Credentials that are no plain key, as the upstream sees them: fetched tokens, and signatures (I3, D11).

What fetches the tokens is tested with `control.exchange` and `control.upkeep`; `auth.signing` against AWS's vectors.
Here the signature that arrived is reckoned anew from what else arrived.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.oauth2.credentials import Credentials

from gatehouse.auth.secrets import AwsKeys, EntraClient, Secret, Token
from gatehouse.auth.signing import Signer
from gatehouse.config.settings import Provider, Settings
from tests import fakes
from tests.fakes.server import Answer, Fake, Seen
from tests.pipeline.house import House, house
from tests.pipeline.tenancy import Tenancy

LATER = int(time.time()) + 3600
TOKEN = "planted.bearer-token.of-the-provider"
KEYS = AwsKeys("AKIDEXAMPLE0123456789", "planted/secret/access/key", "us-west-2")
SESSION = AwsKeys("ASIAEXAMPLE0123456789", "planted/other", "us-west-2", "planted-session-token", LATER)
REGIONAL = "http://bedrock-runtime.{region}.example.com"
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def tenancy(tmp_path: Path) -> Tenancy:
    return Tenancy(tmp_path / "data")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as running:
        yield running


def _settings(fake: Fake, name: str, **more: Any) -> Settings:
    return Settings(providers={name: Provider(base_url=fake.url, **more)})


def _post(to: House, path: str, key: str, ask: object = ASK, **headers: str) -> httpx2.Response:
    return httpx2.post(to.url + path, json=ask, headers={"authorization": f"Bearer {key}", **headers}, timeout=10)


@pytest.mark.parametrize(
    ("provider", "kind", "path", "target"),
    [
        (
            "azure",
            "azure_entra",
            "/azure/res/dep/chat/completions?api-version=2024-10-21",
            "/openai/deployments/dep/chat/completions?api-version=2024-10-21",
        ),
        (
            "vertex",
            "google_service_account",
            "/vertex/v1/projects/p/locations/us-east1/publishers/google/models/gemini-2.5-flash:generateContent",
            "/v1/projects/p/locations/us-east1/publishers/google/models/gemini-2.5-flash:generateContent",
        ),
    ],
)
def test_I3_a_fetched_token_goes_as_bearer_and_is_replaced_between_calls(
    tenancy: Tenancy, provider: str, kind: Any, path: str, target: str
) -> None:
    """No call waits for a newer one: it comes with a snapshot. One that has expired serves nobody."""
    with fakes.openai(gzip_policy="never") as fake:
        fake.respond(Answer(200, (("content-type", "application/json"),), b"{}"))
        tenancy.credential(provider, fake.url, Token(TOKEN, LATER), kind=kind)
        key = tenancy.key().text
        ask = ASK if provider == "azure" else {"contents": [{"parts": [{"text": "hi"}]}]}
        with house(_settings(fake, provider), tenancy.sections, tenancy.unsealer()) as running:
            for number, given in enumerate((Token(TOKEN, LATER), Token(TOKEN + "-2", LATER))):
                if number:
                    running.swap(_anew(tenancy, provider, fake.url, given, kind))
                assert _post(running, path, key, ask).status_code == 200
                seen = fake.last
                assert (seen.target, seen.header("authorization")) == (target, f"Bearer {given.value}")
                assert not {"api-key", "x-goog-api-key", "x-api-key"} & set(seen.names()) and key not in repr(seen)
            fake.requests.clear()
            for spent in (Token(TOKEN, int(time.time()) - 1), EntraClient("contoso.example", "id", "planted-secret")):
                running.swap(_anew(tenancy, provider, fake.url, spent, kind))
                answer = _post(running, path, key, ask)
                assert (answer.status_code, answer.json()["code"]) == (403, "NO_CREDENTIAL"), answer.text
                assert "planted" not in answer.text
        assert fake.requests == []


def _anew(tenancy: Tenancy, provider: str, origin: str, secret: Secret, kind: Any) -> Any:
    """The sections with another secret in place of the one before."""
    tenancy.project(bindings=())
    tenancy.credential(provider, origin, secret, kind=kind)
    return tenancy.sections


@pytest.mark.parametrize("keys", [KEYS, SESSION], ids=["keys", "role"])
def test_I3_requests_to_bedrock_are_signed_as_they_arrive(tenancy: Tenancy, fake: Fake, keys: AwsKeys) -> None:
    kind: Any = "aws_role" if keys.session_token else "aws_keys"
    tenancy.credential("bedrock", fake.url, keys, kind=kind)
    key = tenancy.key().text
    fake.respond(Answer(200, (("content-type", "application/json"),), b"{}"))
    with house(_settings(fake, "bedrock", auth="bedrock"), tenancy.sections, tenancy.unsealer()) as running:
        for path, ask in (
            ("/bedrock/v1/chat/completions", ASK),
            ("/bedrock/model/anthropic.claude-opus-5-v1%3A0/converse", {"messages": []}),
            ("/bedrock/model/a.b/invoke?x=%20y&a=1", {"x": "y" * 300_000}),
        ):
            headers = {"x-amz-date": "20150830T123600Z", "x-amzn-bedrock-accept": "*/*", "x-amz-security-token": "own"}
            assert _post(running, path, key, ask, **headers).status_code == 200
            _check(fake.last, keys, fake.url)
        journal = running.wait(3)
    assert [decision.model for decision in journal.decisions] == ["gpt-4o", "anthropic.claude-opus-5-v1:0", "a.b"]
    assert {decision.candidates[0].credential for decision in journal.decisions} == {"crd_0"}


def _check(seen: Seen, keys: AwsKeys, url: str) -> None:
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/us-west-2/bedrock/aws4_request, SignedHeaders=(\S+), Signature=\w+",
        str(seen.header("authorization")),
    )
    assert match is not None and match[1] == keys.access_key_id
    moment = str(seen.header("x-amz-date"))
    at = timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    assert abs(at - time.time()) < 60 and moment.startswith(match[2])
    assert seen.header("x-amz-security-token") == (keys.session_token or None)
    added = ("x-amz-date", "x-amz-security-token")
    covered = [(name.encode(), str(seen.header(name)).encode()) for name in match[3].split(";") if name not in added]
    signer = Signer(
        keys.access_key_id, keys.secret_access_key, keys.session_token, region=keys.region, service="bedrock"
    )
    path, _, query = seen.target.partition("?")
    made = signer.sign("POST", path, query, covered, hashlib.sha256(seen.body).hexdigest(), at)
    assert dict(made)[b"authorization"].decode() == seen.header("authorization")
    assert ("host", url.partition("://")[2]) in [(name.decode(), value.decode()) for name, value in covered]
    assert "planted/" not in repr(seen)


def test_I3_a_credential_of_one_region_serves_no_other(tenancy: Tenancy, fake: Fake) -> None:
    """What goes to a region's host is the credential for it, or nothing."""
    tenancy.credential("bedrock", "http://bedrock-runtime.us-west-2.example.com", "planted-key")
    key = tenancy.key().text
    settings = Settings(providers={"bedrock": Provider(base_url=REGIONAL)})
    with house(settings, tenancy.sections, tenancy.unsealer()) as running:
        for region, status, code in (
            ("eu-central-1", 403, "NO_CREDENTIAL"),
            ("us-west-2", 502, "UPSTREAM_ERROR"),
            ("evil.example%23", 400, "BAD_REQUEST"),
            ("evil.example", 400, "BAD_REQUEST"),
            ("us-west-2:443", 400, "BAD_REQUEST"),
        ):
            answer = _post(running, f"/bedrock/{region}/v1/chat/completions", key)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        # On the unified API the project's own region counts.
        answer = _post(running, "/v1/chat/completions", key, {**ASK, "model": "bedrock:openai.gpt-oss-120b-1:0"})
        assert (answer.status_code, answer.json()["code"]) == (502, "UPSTREAM_ERROR"), answer.text
        journal = running.wait(5)
    origins = {decision.candidates[0].origin for decision in journal.decisions}
    assert origins == {"http://bedrock-runtime.us-west-2.example.com"}


def test_clients_of_bedrock_call_with_a_gateway_key(tenancy: Tenancy, fake: Fake) -> None:
    """D11: with the SDKs, the key where they have an API key of Bedrock."""
    tenancy.credential("bedrock", fake.url, "planted-bedrock-api-key")
    key = tenancy.key().text
    with house(_settings(fake, "bedrock", auth="bedrock"), tenancy.sections, tenancy.unsealer()) as running:
        said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
        fake.respond(Answer(200, (("content-type", "application/json"),), json.dumps(said).encode()))
        with openai.OpenAI(base_url=running.url + "/bedrock/v1", api_key=key, max_retries=0) as client:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        assert fake.last.header("authorization") == "Bearer planted-bedrock-api-key"
        assert fake.last.target == "/openai/v1/chat/completions"
        message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {}}
        fake.respond(Answer(200, (("content-type", "application/json"),), json.dumps(message).encode()))
        claude = anthropic.AnthropicBedrock(
            base_url=running.url + "/bedrock", api_key=key, aws_region="us-west-2", max_retries=0
        )
        with claude:
            claude.messages.create(
                model="anthropic.claude-opus-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            )
        assert fake.last.target == "/model/anthropic.claude-opus-5/invoke"
        assert fake.last.header("authorization") == "Bearer planted-bedrock-api-key"
        journal = running.wait(2)
    assert journal.decisions[1].model == "anthropic.claude-opus-5"


def test_I3_a_signature_of_the_callers_own_is_not_passed_on(tenancy: Tenancy, fake: Fake) -> None:
    """boto3 signs with keys of its own; the gateway key stands beside that."""
    tenancy.credential("bedrock", fake.url, KEYS, kind="aws_keys")
    key = tenancy.key().text
    own = (
        "AWS4-HMAC-SHA256 Credential=AKIAOWN/20261121/us-west-2/bedrock/aws4_request, SignedHeaders=host, Signature=ab"
    )
    fake.respond(Answer(200, (("x-amzn-bedrock-input-token-count", "7"),), b"{}"))
    with house(_settings(fake, "bedrock"), tenancy.sections, tenancy.unsealer()) as running:
        answer = httpx2.post(
            running.url + "/bedrock/model/m/converse", json={}, headers={"authorization": own, "X-Gatehouse-Key": key}
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-amzn-bedrock-input-token-count"] == "7"
        _check(fake.last, KEYS, fake.url)
        assert "AKIAOWN" not in repr(fake.last)


def test_clients_of_vertex_call_with_a_gateway_key(tenancy: Tenancy, fake: Fake) -> None:
    """D11: google-genai, the key as its token. Where it goes follows from the location (`tests.routing`)."""
    tenancy.credential("vertex", fake.url, Token(TOKEN, LATER), kind="google_service_account")
    key = tenancy.key().text
    said = {"candidates": [{"content": {"parts": [{"text": "hello"}]}}]}
    fake.respond(Answer(200, (("content-type", "application/json"),), json.dumps(said).encode()))
    with house(_settings(fake, "vertex"), tenancy.sections, tenancy.unsealer()) as running:
        client = genai.Client(
            vertexai=True,
            project="p",
            location="europe-west4",
            credentials=Credentials(key),  # type: ignore[no-untyped-call]
            http_options={"base_url": running.url + "/vertex"},
        )
        assert client.models.generate_content(model="gemini-2.5-flash", contents="hi").text == "hello"
    path = "/v1beta1/projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent"
    assert (fake.last.target, fake.last.header("authorization")) == (path, f"Bearer {TOKEN}")


AZURE_SDK = "/api/v1/gateway/proxy/v1/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def test_azures_clients_reach_the_resource_of_the_projects_credential(tenancy: Tenancy, fake: Fake) -> None:
    """A1: their base names no resource. Where there are several, none is guessed."""
    key = tenancy.key().text
    settings = Settings(providers={"azure": Provider(base_url="http://{resource}.openai.example.com")})
    with house(settings, tenancy.sections, tenancy.unsealer()) as running:
        answer = _post(running, AZURE_SDK, key)
        assert (answer.status_code, answer.json()["code"]) == (403, "NO_CREDENTIAL")
        tenancy.credential("azure", "http://first.openai.example.com", "planted-1")
        running.swap(tenancy.sections)
        for path in (AZURE_SDK, AZURE_SDK.replace("/api/v1/gateway/proxy", "")):
            answer = _post(running, path, key)
            assert (answer.status_code, answer.json()["code"]) == (502, "UPSTREAM_ERROR"), answer.text
        tenancy.credential("azure", "http://second.openai.example.com", "planted-2")
        running.swap(tenancy.sections)
        answer = _post(running, AZURE_SDK, key)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
        assert "several Azure resources" in answer.json()["detail"]
        journal = running.wait(4)
    assert {decision.candidates[0].origin for decision in journal.decisions} == {"http://first.openai.example.com"}
    assert {decision.path_sent for decision in journal.decisions} == {"/openai/deployments/gpt-4o/chat/completions"}
