"""The five systems' own paths (A1, T1–T4, O1): where each goes."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.config.settings import Provider
from gatehouse.errors import GatehouseError
from tests.routing.routers import route, router, upstream_url

TABLE = router()
PROXY = "/api/v1/gateway/proxy"
ONGOINGAI = ("usage", "cost", "models", "keys", "latency", "errors", "summary")
TRUEPORTAI = (
    "analytics/logs",
    "analytics/stats",
    "analytics/violations",
    "analytics/violations/VIO-001",
    "policies",
)


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        # T1, T2, T3
        ("/trueportai-services/openai/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("/trueportai-services/anthropic/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("/trueportai-services/anthropic/v1/v1/messages", "https://api.anthropic.com/v1/messages"),
        (
            "/trueportai-services/google/v1beta/models/gemini-1.5-pro:generateContent",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-1.5-pro:generateContent",
        ),
        # O1
        ("/openai/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("/anthropic/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("/anthropic/messages", "https://api.anthropic.com/v1/messages"),
        # A1
        (f"{PROXY}/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        (f"{PROXY}/chat/completions", "https://api.openai.com/v1/chat/completions"),
        (f"{PROXY}/v1/v1/messages", "https://api.anthropic.com/v1/messages"),
        (f"{PROXY}/v1/messages", "https://api.anthropic.com/v1/messages"),
        (
            f"{PROXY}/v1/v1beta/models/m:generateContent",
            "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
        ),
        (
            f"{PROXY}/v1/models/m:generateContent",
            "https://generativelanguage.googleapis.com/v1/models/m:generateContent",
        ),
        (
            "/upload/v1beta/files",
            "https://generativelanguage.googleapis.com/upload/v1beta/files",
        ),
    ],
)
def test_own_paths(received: str, sent: str) -> None:
    assert upstream_url(route(TABLE, received)) == sent


@pytest.mark.parametrize("path", ["/v1/models", "/v1/files", "/models"])
def test_three_dialects_share_a_path(path: str) -> None:
    """The client's own header tells, and one client's answer is not remembered for the next."""
    for _ in range(2):
        assert route(TABLE, PROXY + path, b"GET").provider == "openai"
        assert route(TABLE, PROXY + path, b"GET", "", b"Anthropic-Version").provider == "anthropic"
        assert route(TABLE, PROXY + path, b"GET", "", b"x-goog-api-key").provider == "google"
        assert route(TABLE, PROXY + path, b"GET", "pageSize=5&k%65y=AIza").provider == "google"
        assert route(TABLE, PROXY + path, b"GET", "monkey=1").provider == "openai"


AZURE_ON_PROXY = [
    (f"{PROXY}/v1/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/gpt-4o/chat/completions"),
    (f"{PROXY}/v1/openai/models", "/openai/models"),
    (f"{PROXY}/v1/openai/v1/responses", "/openai/v1/responses"),
    (f"{PROXY}/v1/deployments/gpt-4o/embeddings", "/openai/deployments/gpt-4o/embeddings"),
]


@pytest.mark.parametrize(("received", "sent"), AZURE_ON_PROXY)
def test_azure_on_the_proxy_needs_a_known_resource(received: str, sent: str) -> None:
    """The path names no resource, so the configuration must."""
    with pytest.raises(GatehouseError, match=r"providers\.azure\.base_url") as caught:
        route(TABLE, received)
    assert caught.value.kind is errors.NOT_FOUND
    table = router(azure=Provider(base_url="https://my-resource.openai.azure.com"))
    assert upstream_url(route(table, received)) == f"https://my-resource.openai.azure.com{sent}"


def test_the_proxy_with_a_provider_switched_off() -> None:
    for name, path in (("azure", AZURE_ON_PROXY[0][0]), ("anthropic", f"{PROXY}/v1/messages")):
        with pytest.raises(GatehouseError) as caught:
            route(router(**{name: Provider(enabled=False)}), path)
        assert caught.value.kind is errors.NOT_FOUND


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # O6
        ("/api/traces", "/api/v1/traces"),
        ("/api/traces/01a1fc04-b08e-7085-8704-8930d2796c30", "/api/v1/traces/01a1fc04-b08e-7085-8704-8930d2796c30"),
        *((f"/api/analytics/{name}", f"/api/v1/analytics/{name}") for name in ONGOINGAI),
        ("/api/health", "/health"),
        # T6, T8, T9, T12; T10 and T11 wait for their routes. T7 answers in a shape of its own.
        ("/trueportai-services/api/v1/keys", "/api/v1/services/keys"),
        *((f"/trueportai-services/api/v1/{name}", f"/api/v1/{name}") for name in TRUEPORTAI),
        ("/trueportai-services/health", "/health"),
    ],
)
def test_management_paths(theirs: str, ours: str) -> None:
    found = TABLE.resolve(b"GET", theirs, "limit=5&provider=anthropic", [])
    assert (found.plane, found.path, found.route) == ("control", ours, None)


@pytest.mark.parametrize(
    "path", ["/api/tracesx", "/api/analyticsx/usage", "/api/healthx", "/trueportai-services/healthx", "/traces"]
)
def test_what_only_looks_like_theirs(path: str) -> None:
    """Ours or nobody's: never taken for one of theirs."""
    try:
        assert TABLE.resolve(b"GET", path, "", []).path == path
    except GatehouseError as error:
        assert error.kind is errors.NOT_FOUND


def test_their_prefixes_only() -> None:
    """A seed path answers only under its own prefix."""
    for path in ("/services/openai/v1/models", "/gateway/proxy/v1/models", "/trueportai-servicesx/openai/v1/models"):
        with pytest.raises(GatehouseError):
            TABLE.resolve(b"GET", path, "", [])
