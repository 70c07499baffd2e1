"""What clients really send on each base, and where it must arrive.

The bases are those of the replaced systems' pages; the paths behind them were measured with the clients named beside
each row. Where a row needs a client that is not installed here, its request is sent by hand.
"""

from __future__ import annotations

import http.client
import json
import zlib

import pytest

from tests.fakes import Answer
from tests.running import House

ANTHROPIC = {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-own"}
GOOGLE = {"x-goog-api-key": "AIza-own"}
BEARER = {"authorization": "Bearer sk-own"}
AZURE = {"api-key": "azure-own"}
PROXY = "/api/v1/gateway/proxy/v1"
SERVICES = "/trueportai-services"
VERSION = "?api-version=2024-02-01"

ROWS = [
    # openai-py and -node on AuditTrail's base
    ("POST", PROXY + "/chat/completions", BEARER, "openai", "/v1/chat/completions"),
    ("GET", PROXY + "/models", BEARER, "openai", "/v1/models"),
    # Anthropic and Azure SDKs on the same base; shared paths go by the headers their clients send
    ("POST", PROXY + "/v1/messages", ANTHROPIC, "anthropic", "/v1/messages"),
    ("POST", PROXY + "/v1/messages/count_tokens", ANTHROPIC, "anthropic", "/v1/messages/count_tokens"),
    ("GET", PROXY + "/v1/models", ANTHROPIC, "anthropic", "/v1/models"),
    (
        "POST",
        PROXY + "/openai/deployments/gpt-4o/chat/completions" + VERSION,
        AZURE,
        "azure",
        "/openai/deployments/gpt-4o/chat/completions" + VERSION,
    ),
    # anthropic-py and -node on TruePortAI's base, which ends in the version
    ("POST", SERVICES + "/anthropic/v1/v1/messages", ANTHROPIC, "anthropic", "/v1/messages"),
    ("POST", SERVICES + "/anthropic/v1/messages", ANTHROPIC, "anthropic", "/v1/messages"),
    # AzureOpenAI with a deployment in its endpoint, and the plain form of T4
    (
        "POST",
        SERVICES + "/azure/my-resource/gpt-4o-deploy/openai/deployments/gpt-4o/chat/completions" + VERSION,
        AZURE,
        "azure",
        "/openai/deployments/gpt-4o-deploy/chat/completions" + VERSION,
    ),
    (
        "POST",
        SERVICES + "/azure/my-resource/gpt-4o-deploy/chat/completions" + VERSION,
        AZURE,
        "azure",
        "/openai/deployments/gpt-4o-deploy/chat/completions" + VERSION,
    ),
    # the same client for what belongs to the resource
    (
        "GET",
        SERVICES + "/azure/my-resource/gpt-4o-deploy/openai/models" + VERSION,
        AZURE,
        "azure",
        "/openai/models" + VERSION,
    ),
    (
        "GET",
        SERVICES + "/azure/my-resource/gpt-4o-deploy/openai/files" + VERSION,
        AZURE,
        "azure",
        "/openai/files" + VERSION,
    ),
    ("POST", "/azure/my-resource/openai/v1/responses", AZURE, "azure", "/openai/v1/responses"),
    # google-genai: Python without version in the base, Node, Vertex, uploads
    ("GET", SERVICES + "/google/v1/models", GOOGLE, "gemini", "/v1/models"),
    ("GET", SERVICES + "/google/v1beta/models", GOOGLE, "gemini", "/v1beta/models"),
    ("GET", SERVICES + "/google/v1beta/v1beta/models", GOOGLE, "gemini", "/v1beta/models"),
    (
        "POST",
        SERVICES + "/google/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent",
        GOOGLE,
        "gemini",
        "/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent",
    ),
    ("POST", "/upload/v1beta/files", GOOGLE, "gemini", "/upload/v1beta/files"),
    ("POST", "/google/upload/v1beta/files", GOOGLE, "gemini", "/upload/v1beta/files"),
    # Vercel's Anthropic provider leaves the version out
    ("POST", "/anthropic/messages", ANTHROPIC, "anthropic", "/v1/messages"),
    ("POST", "/anthropic/v1/messages?beta=true", ANTHROPIC, "anthropic", "/v1/messages?beta=true"),
    # a base that ends in its version, or not
    ("POST", "/openai/chat/completions", BEARER, "openai", "/v1/chat/completions"),
    ("POST", "/openai/v1/chat/completions", BEARER, "openai", "/v1/chat/completions"),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "fake", "target"),
    ROWS,
    ids=[f"{row[0]} {row[1].partition('?')[0]} {row[3]}" for row in ROWS],
)
def test_where_it_arrives(
    house: House, method: str, path: str, headers: dict[str, str], fake: str, target: str
) -> None:
    """The record holds the path received and the path sent."""
    provider = getattr(house, fake)
    provider.respond(Answer(200, (("content-type", "application/json"),), b"{}"))
    body = b'{"model":"m","messages":[],"max_tokens":1,"contents":[]}' if method == "POST" else None
    with house.gateway.recorded() as records:
        status, _, _ = house.gateway.call(method, path, body, {**headers, "content-type": "application/json"})
    assert status == 200
    seen = house.only(provider)
    assert (seen.method, seen.target) == (method, target)
    assert all(seen.header(name) == value for name, value in headers.items())
    decision = records[0].decision
    assert decision["path"].partition("?")[0] == path.partition("?")[0]
    assert decision["path_sent"].partition("?")[0] == target.partition("?")[0]


def test_a_websocket_that_nobody_tunnels_is_426(house: House) -> None:
    connection = http.client.HTTPConnection(house.gateway.host, timeout=10)
    upgrade = {
        **BEARER,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with house.gateway.recorded() as records:
        connection.request("GET", "/openai/v1/chat/completions", headers=upgrade)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
    assert (response.status, body["code"]) == (426, "UPGRADE_UNSUPPORTED")
    assert records[0].outcome["outcome"] == "refused"
    assert house.openai.requests == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_encoded_request_bodies_are_forwarded_as_sent(house: House, encoding: str) -> None:
    """Codex sends zstd. What this cannot decode is recorded unread and still passes on a transparent route (I1)."""
    plain = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    # Not a zstd frame: whether it is decoded is not what this test is about.
    body = b"\x28\xb5\x2f\xfd-not-really" if encoding == "zstd" else packer.compress(plain) + packer.flush()
    house.openai.respond(Answer(200, (("content-type", "application/json"),), b"{}"))
    with house.gateway.recorded():
        status, _, _ = house.gateway.call(
            "POST",
            "/openai/v1/responses",
            body,
            {**BEARER, "content-encoding": encoding, "content-type": "application/json"},
        )
    assert status == 200
    seen = house.only(house.openai)
    assert (seen.body, seen.header("content-encoding")) == (body, encoding)


def test_a_providers_addresses_are_rewritten_to_our_routes_or_removed(house: House) -> None:
    ours = house.openai.url + "/v1/files/file-1"
    house.openai.respond(
        Answer(
            200,
            (
                ("content-type", "application/json"),
                ("content-location", ours),
                ("operation-location", "https://elsewhere.example/jobs/1"),
            ),
            b"{}",
        )
    )
    _, headers, _ = house.gateway.call("GET", "/openai/v1/files/file-1", None, BEARER)
    assert headers["content-location"] == house.url + "/openai/v1/files/file-1"
    assert headers["operation-location"] is None
