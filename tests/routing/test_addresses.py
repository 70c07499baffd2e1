"""Addresses in answers come back through our own route or not at all (I3)."""

from __future__ import annotations

import pytest

from gatehouse.config.settings import Provider, Settings
from gatehouse.providers.entries import entries
from gatehouse.routing.addresses import rewrite_location
from gatehouse.routing.unified import open_route, placed, route_to
from tests.routing.routers import route, router

OWN = "http://gateway.test:8080"
ENTRIES = entries(Settings())
TABLE = router()


def rewritten(path: str, value: str) -> str | None:
    found = route(TABLE, path)
    result = rewrite_location(value.encode("latin-1"), found, ENTRIES[found.provider].base_path, OWN)
    return None if result is None else result.decode()


@pytest.mark.parametrize(
    ("called", "value", "below"),
    [
        # google-genai uploads straight to this address (google-genai 3.4 `files.py`)
        (
            "/google/upload/v1beta/files",
            "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=ABC&upload_protocol=resumable",
            "/google/upload/v1beta/files?upload_id=ABC&upload_protocol=resumable",
        ),
        (
            "/trueportai-services/google/upload/v1/files",
            "https://generativelanguage.googleapis.com:443/upload/v1/files?upload_id=ABC",
            "/google/upload/v1/files?upload_id=ABC",
        ),
        # Azure's long-running operations
        (
            "/azure/my-resource/dalle/images/generations:submit",
            "https://my-resource.openai.azure.com/openai/operations/images/42?api-version=2023-06-01-preview",
            "/azure/my-resource/openai/operations/images/42?api-version=2023-06-01-preview",
        ),
        ("/groq/v1/files", "https://api.groq.com/openai/v1/files/f-1", "/groq/v1/files/f-1"),
        ("/groq/v1/files", "/openai/v1/files/f-1", "/groq/v1/files/f-1"),
        ("/openai/v1/videos", "/v1/videos/1", "/openai/v1/videos/1"),
        ("/openai/v1/videos", "//api.openai.com/v1/videos/1", "/openai/v1/videos/1"),
        ("/openai/v1/videos", "https://API.openai.com/v1/videos/1", "/openai/v1/videos/1"),
        ("/ollama/v1/models", "http://127.0.0.1:11434/v1/models", "/ollama/v1/models"),
    ],
)
def test_the_origins_own_addresses(called: str, value: str, below: str) -> None:
    assert rewritten(called, value) == OWN + below


@pytest.mark.parametrize(
    ("called", "value"),
    [
        ("/openai/v1/videos", "https://evil.example/v1/videos/1"),
        ("/openai/v1/videos", "//evil.example/v1"),
        ("/openai/v1/videos", "https://api.openai.com.evil.example/v1"),
        ("/openai/v1/videos", "https://api.openai.com:8443/v1"),
        ("/openai/v1/videos", "http://api.openai.com/v1"),
        ("/openai/v1/videos", "https://user@api.openai.com/v1"),
        ("/openai/v1/videos", "https://api.openai.com:port/v1"),
        ("/openai/v1/videos", "https://[::1/v1"),
        ("/openai/v1/videos", "videos/1"),
        ("/openai/v1/videos", "?page=2"),
        ("/openai/v1/videos", ""),
        ("/openai/v1/videos", "javascript:alert(1)"),
        ("/openai/v1/videos", "https://api.openai.com/a/../b"),
        ("/openai/v1/videos", "/v1/é"),
        ("/groq/v1/files", "https://api.groq.com/elsewhere"),
        ("/groq/v1/files", "https://api.groq.com/openaix"),
        ("/azure/my-resource/d/chat/completions", "https://other.openai.azure.com/openai/operations/1"),
    ],
)
def test_everything_else_is_left_out(called: str, value: str) -> None:
    assert rewritten(called, value) is None


def test_a_rewritten_address_leads_back() -> None:
    """What the caller follows resolves to the very path the provider named."""
    for called, named in (
        ("/google/upload/v1beta/files", "/upload/v1beta/files"),
        ("/azure/r/d/images/generations", "/openai/operations/images/42"),
        ("/azure/r/d/images/generations", "/openai/deployments/d/images/1"),
        ("/openai/v1/videos", "/v1/videos/1/content"),
        ("/groq/v1/files", "/openai/v1/files/1"),
        ("/deepinfra/v1/files", "/v1/openai/files/1"),
        ("/perplexity/chat/completions", "/async/chat/completions/1"),
        ("/zai/v1/files", "/api/paas/v4/files/1"),
    ):
        found = route(TABLE, called)
        address = rewritten(called, f"{found.origin}{named}")
        assert address is not None
        assert route(TABLE, address.removeprefix(OWN), b"GET").path == named
        assert route(TABLE, address.removeprefix(OWN), b"GET").origin == found.origin


def test_custom_prefix() -> None:
    changed = Provider(prefix="/llm/o", base_url="http://127.0.0.1:9001")
    found = route(router(openai=changed), "/llm/o/v1/files")
    assert rewrite_location(b"http://127.0.0.1:9001/v1/files/1", found, "", OWN) == f"{OWN}/llm/o/v1/files/1".encode()


@pytest.mark.parametrize("named", ["/api/v1/keys", "/api/v1/session", "/health", "/ui/", "/metrics", "/v1x", "/"])
def test_6_2_on_the_unified_api_no_address_leads_to_the_management_api(named: str) -> None:
    """Its addresses have no prefix: what a provider names would stand there as it is, and clients follow with a key."""
    place = placed("/v1/files")
    assert place is not None
    called = route_to(open_route(place, True, "", []), ENTRIES["openai"], True)
    assert rewrite_location(named.encode(), called, "", OWN) is None
    assert rewrite_location(b"https://api.openai.com" + named.encode(), called, "", OWN) is None
    assert rewrite_location(b"/v1/files/f-1", called, "", OWN) == f"{OWN}/v1/files/f-1".encode()
