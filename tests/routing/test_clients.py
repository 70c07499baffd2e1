"""Every base URL of the quickstarts, with the clients themselves: the URL each really sends, and where it goes.

The Python clients are asked (openai 3.52, anthropic 2.11, google-genai 3.4, a transport that only listens). What Node
clients send was measured, and is listed below.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from gatehouse.config.settings import Provider
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Route
from gatehouse.routing.table import Router
from tests.routing.routers import router, upstream_url

GATEWAY = "http://gateway.test"
TABLE = router()
MESSAGES = [{"role": "user", "content": "Hello!"}]


class Wire:
    """Routes what a client sends, and answers something the client gives up on."""

    def __init__(self, table: Router) -> None:
        self.table = table
        self.routes: list[Route] = []

    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self._take)

    def _take(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        found = self.table.resolve(
            request.method.encode(),
            url.raw_path.decode().partition("?")[0],
            url.query.decode(),
            list(request.headers.raw),
        )
        assert found.route is not None
        self.routes.append(found.route)
        return httpx2.Response(418, json={"error": {"message": "enough"}})


@contextmanager
def giving_up() -> Iterator[None]:
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError, genai.errors.APIError)):
        yield


def openai_client(base: str, wire: Wire) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=GATEWAY + base, api_key="sk-x", max_retries=0, http_client=httpx2.Client(transport=wire.transport())
    )


OPENAI_BASES = [
    ("/api/v1/gateway/proxy/v1", "https://api.openai.com"),  # sample 000
    ("/trueportai-services/openai/v1", "https://api.openai.com"),  # 001
    ("/openai/v1", "https://api.openai.com"),  # 004
    ("/openai", "https://api.openai.com"),
    ("/groq/v1", "https://api.groq.com/openai"),
    ("/simulated/v1", "builtin:simulated"),
]

OPENAI_CALLS: list[tuple[Callable[[openai.OpenAI], object], str, str]] = [
    (lambda c: c.chat.completions.create(model="m", messages=MESSAGES), "/v1/chat/completions", "chat"),  # type: ignore[arg-type]
    (lambda c: c.completions.create(model="m", prompt="x"), "/v1/completions", "completions"),
    (lambda c: c.embeddings.create(model="m", input="x"), "/v1/embeddings", "embeddings"),
    (lambda c: c.responses.create(model="m", input="x"), "/v1/responses", "responses"),
    (lambda c: c.responses.compact(model="m", input="x"), "/v1/responses/compact", "responses"),
    (lambda c: c.responses.retrieve("r_1"), "/v1/responses/r_1", "stored_response"),
    (lambda c: c.models.list(), "/v1/models", "models"),
    (lambda c: c.models.retrieve("gpt-4.1"), "/v1/models/gpt-4.1", "models"),
    (lambda c: c.files.create(file=io.BytesIO(b"x"), purpose="batch"), "/v1/files", "files"),
    (
        lambda c: c.audio.transcriptions.create(file=io.BytesIO(b"x"), model="m"),
        "/v1/audio/transcriptions",
        "transcription",
    ),
    (lambda c: c.audio.speech.create(input="x", model="m", voice="alloy"), "/v1/audio/speech", "speech"),
    (lambda c: c.images.generate(prompt="x"), "/v1/images/generations", "image_generation"),
    (lambda c: c.images.edit(image=io.BytesIO(b"x"), prompt="x"), "/v1/images/edits", "image_edit"),
    (lambda c: c.moderations.create(input="x"), "/v1/moderations", "moderations"),
    (
        lambda c: c.batches.create(completion_window="24h", endpoint="/v1/embeddings", input_file_id="f"),
        "/v1/batches",
        "batches",
    ),
    (lambda c: c.fine_tuning.jobs.create(model="m", training_file="f"), "/v1/fine_tuning/jobs", "fine_tuning"),
    (lambda c: c.vector_stores.list(), "/v1/vector_stores", "other"),
]


@pytest.mark.parametrize(("base", "upstream"), OPENAI_BASES)
def test_openai(base: str, upstream: str) -> None:
    for call, path, endpoint in OPENAI_CALLS:
        wire = Wire(TABLE)
        with giving_up():
            call(openai_client(base, wire))
        found = wire.routes[0]
        assert (upstream_url(found), found.endpoint, found.dialect) == (upstream + path, endpoint, "openai")


@pytest.mark.parametrize(
    "base",
    [
        "/api/v1/gateway/proxy/v1",  # 000, the same base
        "/trueportai-services/anthropic/v1",  # 001
        "/anthropic",  # 004
        "/anthropic/v1",
    ],
)
def test_anthropic(base: str) -> None:
    wire = Wire(TABLE)
    client = anthropic.Anthropic(
        base_url=GATEWAY + base, api_key="k", max_retries=0, http_client=httpx2.Client(transport=wire.transport())
    )
    with giving_up():
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    with giving_up():
        client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "x"}])
    with giving_up():
        client.models.list()
    with giving_up():
        client.messages.batches.list()
    with giving_up():
        client.beta.files.list()
    assert [(upstream_url(found), found.endpoint) for found in wire.routes] == [
        ("https://api.anthropic.com/v1/messages", "messages"),
        ("https://api.anthropic.com/v1/messages/count_tokens", "count_tokens"),
        ("https://api.anthropic.com/v1/models", "models"),
        ("https://api.anthropic.com/v1/messages/batches", "batches"),
        ("https://api.anthropic.com/v1/files", "files"),
    ]


def azure_client(base: str, wire: Wire) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=GATEWAY + base,
        api_key="k",
        api_version="2024-02-01",
        max_retries=0,
        http_client=httpx2.Client(transport=wire.transport()),
    )


@pytest.mark.parametrize(
    ("base", "deployment"),
    [
        ("/trueportai-services/azure/my-resource/gpt-4o-deploy", "gpt-4o-deploy"),  # 001
        ("/azure/my-resource/gpt-4o-deploy", "gpt-4o-deploy"),
        ("/azure/my-resource", "gpt-4o"),
    ],
)
def test_azure(base: str, deployment: str) -> None:
    """T4: the client appends `/openai/deployments/{model}/…` itself; what is asked is recorded, what serves is D."""
    wire = Wire(TABLE)
    client = azure_client(base, wire)
    with giving_up():
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    with giving_up():
        client.embeddings.create(model="gpt-4o", input="x")
    with giving_up():
        client.models.list()
    with giving_up():
        client.responses.create(model="gpt-4o", input="x")
    with giving_up():
        client.files.list()
    host = "https://my-resource.openai.azure.com/openai"
    assert [upstream_url(found) for found in wire.routes] == [
        f"{host}/deployments/{deployment}/chat/completions",
        f"{host}/deployments/{deployment}/embeddings",
        f"{host}/models",
        f"{host}/responses",
        f"{host}/files",
    ]
    assert (wire.routes[0].model, wire.routes[0].deployment) == ("gpt-4o", deployment)


def test_azure_on_the_shared_base() -> None:
    """Sample 000 with the Azure client: 404 that names the setting, and with the setting it works."""
    wire = Wire(router(azure=Provider(base_url="https://my-resource.openai.azure.com")))
    with giving_up():
        azure_client("/api/v1/gateway/proxy/v1", wire).chat.completions.create(model="gpt-4o", messages=[])
    assert upstream_url(wire.routes[0]).endswith(".azure.com/openai/deployments/gpt-4o/chat/completions")
    with pytest.raises(GatehouseError, match=r"providers\.azure\.base_url"):
        azure_client("/api/v1/gateway/proxy/v1", Wire(TABLE)).chat.completions.create(model="gpt-4o", messages=[])


def gemini(base: str, wire: Wire, **how: object) -> genai.Client:
    options = types.HttpOptions(base_url=GATEWAY + base, client_args={"transport": wire.transport()}, **how)  # type: ignore[arg-type]
    return genai.Client(api_key="AIza", http_options=options)


@pytest.mark.parametrize(
    ("base", "version", "sent"),
    [
        ("/trueportai-services/google", None, "/v1"),
        ("/google", None, "/v1"),
        ("/google", "v1beta", "/v1beta"),
        ("/google/v1beta", "v1beta", "/v1beta"),
        ("/trueportai-services/google/v1beta", None, "/v1"),
    ],
)
def test_google(base: str, version: str | None, sent: str) -> None:
    wire = Wire(TABLE)
    client = gemini(base, wire, api_version=version)
    with giving_up():
        client.models.generate_content(model="gemini-2.5-flash", contents="x")
    with giving_up():
        list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="x"))
    with giving_up():
        client.models.embed_content(model="gemini-embedding-001", contents="x")
    with giving_up():
        client.models.list()
    with giving_up():
        client.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"})
    host = "https://generativelanguage.googleapis.com"
    assert [(upstream_url(found), found.endpoint) for found in wire.routes] == [
        (f"{host}{sent}/models/gemini-2.5-flash:generateContent", "generate_content"),
        (f"{host}{sent}/models/gemini-2.5-flash:streamGenerateContent", "stream_generate_content"),
        (f"{host}{sent}/models/gemini-embedding-001:batchEmbedContents", "embed_content"),
        (f"{host}{sent}/models", "models"),
        (f"{host}/upload{sent}/files", "files"),
    ]


def test_google_vertex() -> None:
    wire = Wire(TABLE)
    options = types.HttpOptions(base_url=f"{GATEWAY}/google", client_args={"transport": wire.transport()})
    client = genai.Client(vertexai=True, api_key="AQ", http_options=options)
    with giving_up():
        client.models.generate_content(model="gemini-2.5-flash", contents="x")
    found = wire.routes[0]
    assert found.path == "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    assert (found.endpoint, found.model) == ("generate_content", "gemini-2.5-flash")


def test_googles_openai_surface() -> None:
    wire = Wire(TABLE)
    with giving_up():
        openai_client("/google/v1beta/openai", wire).chat.completions.create(
            model="gemini-2.5-flash", messages=[{"role": "user", "content": "x"}]
        )
    assert upstream_url(wire.routes[0]).endswith("googleapis.com/v1beta/openai/chat/completions")
    assert (wire.routes[0].dialect, wire.routes[0].endpoint) == ("openai", "chat")


@pytest.mark.parametrize(
    ("sent", "upstream"),
    [
        # openai-node, @anthropic-ai/sdk, @google/genai, @ai-sdk/*
        ("/trueportai-services/openai/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("/trueportai-services/anthropic/v1/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("/anthropic/messages", "https://api.anthropic.com/v1/messages"),
        ("/openai/v1/responses", "https://api.openai.com/v1/responses"),
        (
            "/trueportai-services/google/v1beta/models/gemini-1.5-pro:generateContent",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-1.5-pro:generateContent",
        ),
        (
            "/trueportai-services/azure/my-resource/gpt-4o-deploy/openai/deployments/gpt-4o/chat/completions",
            "https://my-resource.openai.azure.com/openai/deployments/gpt-4o-deploy/chat/completions",
        ),
        (
            "/azure/my-resource/openai/v1/chat/completions",
            "https://my-resource.openai.azure.com/openai/v1/chat/completions",
        ),
    ],
)
def test_node_clients(sent: str, upstream: str) -> None:
    found = TABLE.resolve(b"POST", sent, "", []).route
    assert found is not None
    assert upstream_url(found) == upstream


@pytest.mark.parametrize("path", ["/api/8e3f0a52-0000-4000-8000-000000000000/v1/chat/completions"])
def test_projects_need_accounts(path: str) -> None:
    """Sample 002."""
    with pytest.raises(GatehouseError, match="gatehouse init"):
        TABLE.resolve(b"POST", path, "", [])
