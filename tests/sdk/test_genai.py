"""The Google GenAI Python SDK through the gateway."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tests.fakes import Misbehaviour, gemini_api
from tests.running import House

KEY = "AIzaSyCallersOwnKey"
MODEL = "gemini-2.5-flash"
BASES = ("/google", "/trueportai-services/google", "/trueportai-services/google/v1beta")
USAGE = {
    "input": gemini_api.PROMPT_TOKENS,
    "output": gemini_api.CANDIDATE_TOKENS,
    "reasoning": gemini_api.THOUGHT_TOKENS,
}


@contextmanager
def connect(house: House, base: str = "/google") -> Iterator[genai.Client]:
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=house.url + base, timeout=20_000))
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("base", BASES)
def test_generate_content_on_every_base(house: House, base: str) -> None:
    """T3: whichever version the SDK puts in the path, exactly one arrives."""
    with house.gateway.recorded() as records, connect(house, base) as client:
        answer = client.models.generate_content(model=MODEL, contents="Say hello")
    assert answer.text == gemini_api.TEXT
    seen = house.only(house.gemini)
    assert seen.header("x-goog-api-key") == KEY
    assert seen.path in (f"/v1beta/models/{MODEL}:generateContent", f"/v1/models/{MODEL}:generateContent")
    [record] = records
    assert record.decision["route"] == "google/generate_content"
    assert record.decision["operation"] == "generate_content"
    assert record.decision["model"] == MODEL
    assert record.outcome["model"] == MODEL
    assert record.outcome["response_id"] == gemini_api.RESPONSE_ID
    assert record.outcome["finish_reasons"] == ["STOP"]
    assert record.usage == USAGE
    assert (record.outcome["usage_check"], record.outcome["price"]) == ("ok", "known")


def test_stream(house: House) -> None:
    """`usageMetadata` is cumulative: the last chunk's counts."""
    with house.gateway.recorded() as records, connect(house) as client:
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="Say hello"))
    assert "".join(chunk.text or "" for chunk in chunks) == gemini_api.TEXT
    seen = house.only(house.gemini)
    assert seen.path.endswith(":streamGenerateContent") and seen.query == "alt=sse"
    assert records[0].decision["stream"] is True
    assert records[0].usage == USAGE


def test_array_stream(house: House) -> None:
    """Without `alt=sse` the answer is one JSON array, streamed; its bytes pass, its usage is counted."""
    path = f"/google/v1beta/models/{MODEL}:streamGenerateContent?key={KEY}"
    body = json.dumps({"contents": [{"parts": [{"text": "Say hello"}]}]})
    with house.gateway.recorded() as records:
        connection = http.client.HTTPConnection(house.gateway.host, timeout=20)
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse().read()
        connection.close()
    assert len(json.loads(answer)) == len(gemini_api.PIECES)
    assert house.only(house.gemini).query == f"key={KEY}"
    assert records[0].usage == USAGE
    assert KEY not in json.dumps([line.body for line in records[0].lines])


def test_async_and_async_stream(house: House) -> None:
    async def run(client: genai.Client) -> tuple[str | None, str]:
        whole = await client.aio.models.generate_content(model=MODEL, contents="Say hello")
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents="Say hello")
        text = "".join([chunk.text or "" async for chunk in stream])
        await client.aio.aclose()
        return whole.text, text

    with house.gateway.recorded(2) as records, connect(house) as client:
        assert asyncio.run(run(client)) == (gemini_api.TEXT, gemini_api.TEXT)
    assert [record.usage for record in records] == [USAGE, USAGE]


def test_tools(house: House) -> None:
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema={"type": "object"})
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    with connect(house) as client:
        answer = client.models.generate_content(model=MODEL, contents="Weather?", config=config)
    assert answer.function_calls is not None and answer.function_calls[0].args == {"location": "Paris"}


def test_embeddings(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        answer = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert answer.embeddings is not None and len(answer.embeddings) == 2
    [record] = records
    assert record.decision["route"] == "google/embed_content"
    assert (record.decision["operation"], record.decision["model"]) == ("embeddings", "gemini-embedding-001")
    assert record.usage == {"input": gemini_api.EMBEDDING_TOKENS}
    assert (record.outcome["usage_source"], record.outcome["price"]) == ("provider", "known")
    assert record.outcome["cost"] == gemini_api.EMBEDDING_TOKENS * 150, "$0.15 a million"


def test_counting_tokens_uses_none(house: House) -> None:
    with house.gateway.recorded() as records, connect(house) as client:
        assert client.models.count_tokens(model=MODEL, contents="Say hello").total_tokens == gemini_api.PROMPT_TOKENS
    [record] = records
    assert (record.decision["operation"], record.decision["model"]) == ("count_tokens", MODEL)
    assert (record.outcome["outcome"], record.usage, "price" in record.outcome) == ("ok", {}, False)


def test_a_cache_is_written_once(house: House) -> None:
    """Creating it counts as written to a cache; looking at it and prolonging it report the same number: no usage."""
    created = {
        "name": "cachedContents/c1",
        "model": f"models/{MODEL}",
        "expireTime": "2026-11-17T09:30:11Z",
        "usageMetadata": {"totalTokenCount": 4096},
    }
    house.gemini.respond(gemini_api.indented(created))
    with house.gateway.recorded(3) as records, connect(house) as client:
        config = types.CreateCachedContentConfig(contents=["a long story"], ttl="3600s")
        cache = client.caches.create(model=MODEL, config=config)
        assert cache.usage_metadata is not None and cache.usage_metadata.total_token_count == 4096
        client.caches.get(name="cachedContents/c1")
        client.caches.update(name="cachedContents/c1", config=types.UpdateCachedContentConfig(ttl="7200s"))
    creating, *others = records
    assert (creating.decision["operation"], creating.decision["model"]) == ("cached_contents", MODEL)
    assert creating.usage == {"cache_write": 4096}
    assert (creating.outcome["price"], creating.outcome["model"]) == ("known", MODEL)
    assert [record.usage for record in others] == [{}, {}]
    assert not any("price" in record.outcome for record in others), "not applicable"


def test_models(house: House) -> None:
    with house.gateway.recorded(), connect(house) as client:
        assert [model.name for model in client.models.list()][0] == f"models/{MODEL}"


def test_uploads_follow_the_address_to_our_own_route(house: House) -> None:
    """The absolute address of an upload names the provider's host; the SDK goes straight to it."""
    with house.gateway.recorded(2), connect(house) as client:
        stored = client.files.upload(file=io.BytesIO(b"0123456789" * 1000), config={"mime_type": "text/plain"})
    assert (stored.name, stored.size_bytes) == ("files/abc123", 10_000)
    start, content = house.gemini.requests
    assert start.path in ("/upload/v1beta/files", "/upload/v1/files")
    assert (content.path, content.query) == (start.path, "upload_id=up1&upload_protocol=resumable")
    assert content.body == b"0123456789" * 1000


@pytest.mark.parametrize(
    ("status", "word"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")]
)
def test_errors_of_the_provider(house: House, status: int, word: str) -> None:
    house.gemini.misbehave(Misbehaviour(error=status))
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(errors.APIError) as raised:
            client.models.generate_content(model=MODEL, contents="x")
    assert (raised.value.code, raised.value.status) == (status, word)
    assert records[0].outcome["upstream_status"] == status


def test_gateway_errors_read_as_googles(house: House) -> None:
    """I11: `error.code` an integer, `error.status` a word, and our three fields at the top."""
    house.gemini.misbehave(Misbehaviour(close=True), times=2)
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises(errors.ServerError) as raised:
            client.models.generate_content(model=MODEL, contents="x")
    assert raised.value.code == 502 and raised.value.status
    assert raised.value.details["code"] == "UPSTREAM_ERROR"
    assert records[0].outcome["outcome"] == "upstream_error"


def test_cancelling_a_stream(house: House) -> None:
    """I10, F4."""
    house.gemini.misbehave(Misbehaviour(slow=0.3))
    with house.gateway.recorded() as records, connect(house) as client:
        stream = client.models.generate_content_stream(model=MODEL, contents="Say hello")
        assert isinstance(stream, Generator)
        next(stream)
        stream.close()
    assert house.only(house.gemini).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"


def test_a_cut_stream(house: House) -> None:
    house.gemini.misbehave(Misbehaviour(cut=500))
    with house.gateway.recorded() as records, connect(house) as client:
        with pytest.raises((errors.APIError, errors.UnknownApiResponseError, httpx2.HTTPError)):
            list(client.models.generate_content_stream(model=MODEL, contents="Say hello"))
    assert records[0].outcome["outcome"] == "cut"
