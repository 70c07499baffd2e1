"""The route table: every path there is, which plane answers, and what a 404 says."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.config.settings import Provider, Settings, Simulated
from gatehouse.dialects.registry import for_endpoint
from gatehouse.dialects.turns import unheard
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Origin
from gatehouse.providers.entries import entries
from gatehouse.routing.endpoints import tunnels
from gatehouse.routing.table import Router
from tests.routing.routers import route, router, upstream_url

TABLE = router()

PLANES = [
    ("/health/live", "worker", "/health/live"),
    ("/health/ready", "worker", "/health/ready"),
    ("/health", "control", "/health"),
    ("/metrics", "control", "/metrics"),
    ("/", "control", "/"),
    ("/ui", "control", "/ui"),
    ("/ui/calls/1", "control", "/ui/calls/1"),
    ("/api/v1/traces", "control", "/api/v1/traces"),
    ("/api/v1/openapi.json", "control", "/api/v1/openapi.json"),
    ("/api/v1/gateway/keys", "control", "/api/v1/gateway/keys"),  # A3
    ("/api/v1/gateway/keys/3", "control", "/api/v1/gateway/keys/3"),
    ("/trueportai-services/health", "control", "/health"),  # T12
    ("/trueportai-services/api/v1/keys", "control", "/api/v1/services/keys"),  # T6
    ("/trueportai-services/api/v1/analytics/logs", "control", "/api/v1/analytics/logs"),  # T8
    ("/api/traces", "control", "/api/v1/traces"),  # O6
    ("/api/traces/01ab", "control", "/api/v1/traces/01ab"),
    ("/api/analytics/usage", "control", "/api/v1/analytics/usage"),
    ("/trueportai-services/api/v1/analytics/logs", "control", "/api/v1/analytics/logs"),  # T8
    ("/api/health", "control", "/health"),
]


@pytest.mark.parametrize(("path", "plane", "canonical"), PLANES)
def test_which_plane_answers(path: str, plane: str, canonical: str) -> None:
    found = TABLE.resolve(b"GET", path, "", [])
    assert (found.plane, found.path, found.route) == (plane, canonical, None)
    assert TABLE.resolve(b"GET", path, "", []) == found, "the remembered answer is the same"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/chat/completions", "/openai/v1"),
        ("/v1", "/openai/v1"),
        ("/v1beta/models/gemini-2.5-flash:generateContent", "/openai/v1"),
        ("/api/8e3f0a52-1111-4222-8333-444455556666/v1/chat/completions", "gatehouse init"),
        ("/api/8e3f-x/v1/responses", "gatehouse init"),
        ("/nothing/here", "/openai"),
        ("/openaix/v1/models", "/openai"),
        ("/favicon.ico", "/health"),
        ("/trueportai-services/bedrock/v1", "/openai"),
        ("/api/other", "/openai"),
        ("/healthz", "/health"),
        ("/v1x", "/openai"),
    ],
)
def test_what_nobody_serves_is_404_and_says_what_exists(path: str, says: str) -> None:
    with pytest.raises(GatehouseError, match=says) as caught:
        TABLE.resolve(b"POST", path, "", [])
    assert caught.value.kind is errors.NOT_FOUND
    assert path not in caught.value.detail or len(path) < 5, "a path may hold what should not be repeated"


DATA = [
    # received, sent, provider, dialect, endpoint
    ("/openai/v1/chat/completions", "https://api.openai.com/v1/chat/completions", "openai", "openai", "chat"),
    ("/openai/chat/completions", "https://api.openai.com/v1/chat/completions", "openai", "openai", "chat"),
    ("/openai/v1/v1/chat/completions", "https://api.openai.com/v1/chat/completions", "openai", "openai", "chat"),
    ("/openai/v1/completions", "https://api.openai.com/v1/completions", "openai", "openai", "completions"),
    ("/openai/v1/embeddings", "https://api.openai.com/v1/embeddings", "openai", "openai", "embeddings"),
    ("/openai/v1/responses", "https://api.openai.com/v1/responses", "openai", "openai", "responses"),
    (
        "/openai/v1/responses/r_1/cancel",
        "https://api.openai.com/v1/responses/r_1/cancel",
        "openai",
        "openai",
        "stored_response",
    ),
    ("/openai/v1/responses/recancel", "https://api.openai.com/v1/responses/recancel", "openai", "openai", "other"),
    ("/openai/v1/moderations", "https://api.openai.com/v1/moderations", "openai", "openai", "moderations"),
    ("/openai/v1/files", "https://api.openai.com/v1/files", "openai", "openai", "files"),
    ("/openai/v1/uploads/u/parts", "https://api.openai.com/v1/uploads/u/parts", "openai", "openai", "files"),
    ("/openai/v1/images/edits", "https://api.openai.com/v1/images/edits", "openai", "openai", "image_edit"),
    ("/openai/v1/audio/speech", "https://api.openai.com/v1/audio/speech", "openai", "openai", "speech"),
    (
        "/openai/v1/images/variations",
        "https://api.openai.com/v1/images/variations",
        "openai",
        "openai",
        "image_variation",
    ),
    (
        "/openai/v1/audio/translations",
        "https://api.openai.com/v1/audio/translations",
        "openai",
        "openai",
        "translation",
    ),
    ("/openai/v1/audio/voices", "https://api.openai.com/v1/audio/voices", "openai", "openai", "audio"),
    ("/openai/v1/batches", "https://api.openai.com/v1/batches", "openai", "openai", "batches"),
    ("/openai/v1/fine_tuning/jobs", "https://api.openai.com/v1/fine_tuning/jobs", "openai", "openai", "fine_tuning"),
    ("/openai/v1/models/gpt-4o", "https://api.openai.com/v1/models/gpt-4o", "openai", "openai", "models"),
    ("/openai/v1/brand_new", "https://api.openai.com/v1/brand_new", "openai", "openai", "other"),
    ("/openai/v1", "https://api.openai.com/v1", "openai", "openai", "other"),
    ("/openai", "https://api.openai.com/", "openai", "openai", "other"),
    ("/anthropic/v1/messages", "https://api.anthropic.com/v1/messages", "anthropic", "anthropic", "messages"),
    ("/anthropic/messages", "https://api.anthropic.com/v1/messages", "anthropic", "anthropic", "messages"),
    ("/anthropic/v1/v1/messages", "https://api.anthropic.com/v1/messages", "anthropic", "anthropic", "messages"),
    (
        "/anthropic/v1/messages/count_tokens",
        "https://api.anthropic.com/v1/messages/count_tokens",
        "anthropic",
        "anthropic",
        "count_tokens",
    ),
    (
        "/anthropic/v1/messages/batches/b/cancel",
        "https://api.anthropic.com/v1/messages/batches/b/cancel",
        "anthropic",
        "anthropic",
        "batches",
    ),
    ("/anthropic/v1/files", "https://api.anthropic.com/v1/files", "anthropic", "anthropic", "files"),
    ("/anthropic/v1/models", "https://api.anthropic.com/v1/models", "anthropic", "anthropic", "models"),
    ("/anthropic/v1/skills", "https://api.anthropic.com/v1/skills", "anthropic", "anthropic", "other"),
    ("/anthropic/api/hello", "https://api.anthropic.com/api/hello", "anthropic", "anthropic", "other"),
    ("/groq/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions", "groq", "openai", "chat"),
    ("/groq/chat/completions", "https://api.groq.com/openai/v1/chat/completions", "groq", "openai", "chat"),
    ("/mistral/v1/fim/completions", "https://api.mistral.ai/v1/fim/completions", "mistral", "openai", "other"),
    ("/deepseek/beta/completions", "https://api.deepseek.com/beta/completions", "deepseek", "openai", "other"),
    (
        "/deepseek/anthropic/v1/messages",
        "https://api.deepseek.com/anthropic/v1/messages",
        "deepseek",
        "anthropic",
        "messages",
    ),
    ("/openrouter/v1/messages", "https://openrouter.ai/api/v1/messages", "openrouter", "anthropic", "messages"),
    (
        "/deepinfra/v1/chat/completions",
        "https://api.deepinfra.com/v1/openai/chat/completions",
        "deepinfra",
        "openai",
        "chat",
    ),
    (
        "/deepinfra/v1/openai/chat/completions",
        "https://api.deepinfra.com/v1/openai/chat/completions",
        "deepinfra",
        "openai",
        "chat",
    ),
    ("/zai/v1/chat/completions", "https://api.z.ai/api/paas/v4/chat/completions", "zai", "openai", "chat"),
    ("/zai/v4/chat/completions", "https://api.z.ai/api/paas/v4/chat/completions", "zai", "openai", "chat"),
    ("/perplexity/v1/chat/completions", "https://api.perplexity.ai/chat/completions", "perplexity", "openai", "chat"),
    ("/perplexity/chat/completions", "https://api.perplexity.ai/chat/completions", "perplexity", "openai", "chat"),
    ("/perplexity/v1/responses", "https://api.perplexity.ai/v1/responses", "perplexity", "openai", "responses"),
    ("/ollama/v1/chat/completions", "http://127.0.0.1:11434/v1/chat/completions", "ollama", "openai", "chat"),
    ("/ollama/api/chat", "http://127.0.0.1:11434/api/chat", "ollama", "openai", "other"),
    ("/ollama/v1/messages", "http://127.0.0.1:11434/v1/messages", "ollama", "anthropic", "messages"),
    ("/vllm/tokenize", "http://127.0.0.1:8000/tokenize", "vllm", "openai", "other"),
    ("/simulated/v1/chat/completions", "builtin:simulated/v1/chat/completions", "simulated", "openai", "chat"),
]


@pytest.mark.parametrize(("received", "sent", "provider", "dialect", "endpoint"), DATA)
def test_transparent_routes(received: str, sent: str, provider: str, dialect: str, endpoint: str) -> None:
    """Whatever the caller's base URL ends in, exactly one version results."""
    found = route(TABLE, received)
    assert (upstream_url(found), found.provider, found.dialect, found.endpoint) == (sent, provider, dialect, endpoint)
    assert found.surface == "transparent"
    assert route(TABLE, received) == found, "the remembered answer is the same"


GOOGLE = [
    # received, path sent, endpoint, model
    ("v1beta/models/gemini-2.5-flash:generateContent", None, "generate_content", "gemini-2.5-flash"),
    ("v1/models/gemini-2.5-flash:generateContent", None, "generate_content", "gemini-2.5-flash"),
    ("v1alpha/models/m:generateContent", None, "generate_content", "m"),
    ("models/m:generateContent", "/v1beta/models/m:generateContent", "generate_content", "m"),
    ("v1beta/v1beta/models/m:countTokens", "/v1beta/models/m:countTokens", "count_tokens", "m"),
    ("v1beta/v1/models/m:countTokens", "/v1/models/m:countTokens", "count_tokens", "m"),
    ("v1beta/models/m:streamGenerateContent", None, "stream_generate_content", "m"),
    ("v1beta/models/m%3AstreamGenerateContent", None, "stream_generate_content", "m"),
    ("v1beta/models/m:batchEmbedContents", None, "embed_content", "m"),
    ("v1beta/models/m:embedContent", None, "embed_content", "m"),
    ("v1beta/models/imagen-4:predict", None, "other", "imagen-4"),
    ("v1beta/models/m:batchGenerateContent", None, "batches", "m"),
    ("v1beta/tunedModels/t-1:generateContent", None, "generate_content", "tunedModels/t-1"),
    ("v1beta/models", None, "models", None),
    ("v1beta/models/gemini-2.5-flash", None, "models", None),
    ("v1beta/files", None, "files", None),
    ("v1beta/files/abc:download", None, "files", None),
    ("v1beta/files:register", None, "files", None),
    ("v1beta/cachedContents", None, "cached_contents", None),
    ("v1beta/cachedContents/c1", None, "other", None),
    ("v1beta1/projects/p/locations/l/cachedContents", None, "cached_contents", None),
    ("v1beta/batches/b1:cancel", None, "batches", None),
    ("upload/v1beta/files", None, "files", None),
    ("upload/v1/files", None, "files", None),
    ("upload/files", "/upload/v1beta/files", "files", None),
    ("v1beta/upload/v1/files", "/upload/v1/files", "files", None),
    ("v1beta/upload/files", "/upload/v1beta/files", "files", None),
    ("resumable/upload/v1beta/files", None, "files", None),
    ("v1beta1/publishers/google/models/gemini-2.5-flash:generateContent", None, "generate_content", "gemini-2.5-flash"),
    (
        "v1beta1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash:streamGenerateContent",
        None,
        "stream_generate_content",
        "gemini-2.5-flash",
    ),
    (
        "projects/p/locations/l/endpoints/77:generateContent",
        "/v1beta1/projects/p/locations/l/endpoints/77:generateContent",
        "generate_content",
        "endpoints/77",
    ),
    ("v1beta1/publishers/google/models", None, "models", None),
]


@pytest.mark.parametrize(("received", "sent", "endpoint", "model"), GOOGLE)
def test_google_routes(received: str, sent: str | None, endpoint: str, model: str | None) -> None:
    """T3: python calls /v1, node /v1beta, Vertex /v1beta1, uploads /upload/{version}."""
    for prefix in ("/google", "/trueportai-services/google"):
        found = route(TABLE, f"{prefix}/{received}")
        assert (found.path, found.endpoint, found.model) == (sent or f"/{received}", endpoint, model)
        assert (str(found.origin), found.dialect) == ("https://generativelanguage.googleapis.com", "google")


@pytest.mark.parametrize(
    "received",
    ["v1beta/openai/chat/completions", "openai/chat/completions", "v1beta/openai/v1/chat/completions"],
)
def test_googles_openai_surface_speaks_openai(received: str) -> None:
    found = route(TABLE, f"/google/{received}")
    assert (found.path, found.dialect, found.endpoint) == ("/v1beta/openai/chat/completions", "openai", "chat")


def test_the_live_api_names_its_version_inside() -> None:
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    assert route(TABLE, f"/google{path}", b"GET").path == path


_LIVE = "/google/ws/google.ai.generativelanguage"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/openai/v1/realtime", "realtime"),
        ("/openai/v1/realtime/translations", "realtime"),
        ("/openai/v1/responses", "responses"),
        ("/openai/realtime", "realtime"),
        ("/groq/v1/responses", "responses"),
        ("/azure/res/dep/openai/realtime", "realtime"),
        ("/azure/res/dep/openai/v1/realtime", "realtime"),
        ("/azure/res/dep/openai/v1/responses", "responses"),
        (f"{_LIVE}.v1beta.GenerativeService.BidiGenerateContent", "live"),
        (f"{_LIVE}.v1alpha.GenerativeService.BidiGenerateContentConstrained", "live"),
        ("/google/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", "live"),
    ],
)
def test_what_is_spoken_over_websocket(path: str, endpoint: str) -> None:
    """As the SDKs connect: `openai.resources.realtime`, `…responses`, `google.genai.live`."""
    found = route(TABLE, path, b"GET")
    assert (found.endpoint, tunnels(found)) == (endpoint, True)
    assert for_endpoint(found.dialect, endpoint).converse is not unheard, "somebody watches it"


@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/chat/completions",
        "/openai/v1/realtime/client_secrets",
        "/openai/v1/realtime/calls/1/hangup",
        "/openai/v1/responses/resp_1",
        "/openai/v1/responses/compact",
        "/anthropic/v1/messages",
        "/google/v1beta/models/m:generateContent",
        "/openai/v1/audio/transcriptions",
    ],
)
def test_what_is_not(path: str) -> None:
    assert not tunnels(route(TABLE, path, b"GET"))


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/openai/v1/chat/completions", "other"),
        ("/openai/v1/models", "models"),
        ("/anthropic/v1/messages", "other"),
        ("/anthropic/v1/messages/batches", "batches"),
        ("/google/v1beta/models/m:generateContent", "other"),
        ("/google/v1beta/cachedContents", "other"),
        ("/openai/v1/images/generations", "images"),
        ("/openai/v1/audio/transcriptions", "audio"),
    ],
)
def test_only_a_post_creates(path: str, endpoint: str) -> None:
    """Reading a stored completion costs nothing: it must not be metered like making one."""
    assert route(TABLE, path, b"GET").endpoint == route(TABLE, path, b"PATCH").endpoint == endpoint
    post = route(TABLE, path, b"POST").endpoint
    assert post != "other"
    assert route(TABLE, path, b"GET").endpoint == endpoint, "memory keeps the methods apart"


def test_custom_prefixes_and_base_urls() -> None:
    """O7. Compatible paths find the provider whatever its prefix."""
    table = router(
        openai=Provider(prefix="/llm/openai", base_url="http://127.0.0.1:9001/base"),
        my_llm=Provider(base_url="https://llm.example.com/api", prefix="/llm"),
        other=Provider(base_url="https://other.example.com/api/paas/v4"),
    )
    assert upstream_url(route(table, "/llm/openai/v1/models")) == "http://127.0.0.1:9001/base/v1/models"
    assert upstream_url(route(table, "/llm/v1/models")) == "https://llm.example.com/api/v1/models"
    assert upstream_url(route(table, "/trueportai-services/openai/v1/models")) == "http://127.0.0.1:9001/base/v1/models"
    assert upstream_url(route(table, "/other/v1/models")) == "https://other.example.com/api/paas/v4/models"
    with pytest.raises(GatehouseError, match="/llm/openai"):
        table.resolve(b"POST", "/openai/v1/models", "", [])


def test_a_provider_switched_off_is_named() -> None:
    table = router(openai=Provider(enabled=False))
    with pytest.raises(GatehouseError, match=r"providers\.openai\.enabled"):
        table.resolve(b"POST", "/trueportai-services/openai/v1/models", "", [])
    with pytest.raises(GatehouseError, match="nothing is served here"):
        table.resolve(b"POST", "/openai/v1/models", "", [])


def test_a_projects_address_is_its_uuid_and_nothing_else() -> None:
    """Whoever names the project there is told what to name."""
    for unified, says in ((True, "gatehouse project show"), (False, "needs accounts")):
        table = Router(entries(Settings()), unified=unified)
        with pytest.raises(GatehouseError, match=says):
            table.resolve(b"GET", "/api/web/v1/models", "", [])


def test_simulated_can_be_switched_off() -> None:
    table = Router(entries(Settings(simulated=Simulated(enabled=False))))
    with pytest.raises(GatehouseError, match="nothing is served here"):
        table.resolve(b"POST", "/simulated/v1/models", "", [])


def test_simulated_is_inside_the_worker() -> None:
    assert route(TABLE, "/simulated/v1/models").origin == Origin("builtin", "simulated", 0)


def test_memory_is_bounded() -> None:
    """I9: ids in paths do not pile up."""
    table = router()
    for number in range(10_000):
        assert route(table, f"/openai/v1/files/file-{number}").endpoint == "files"
    remembered = table._post
    assert len(remembered) <= 4096
