"""The AzureOpenAI client through the gateway: T4's two forms, and resource-level paths."""

from __future__ import annotations

import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes import openai_api
from tests.running import House
from tests.sdk.test_openai import CHAT_USAGE

KEY = "azure-callers-own-key"
VERSION = "2024-02-01"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
ENDPOINTS = ("/azure/my-resource/gpt-4o-deploy", "/trueportai-services/azure/my-resource/gpt-4o-deploy")


def connect(house: House, base: str, version: str = VERSION) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        api_key=KEY, azure_endpoint=house.url + base, api_version=version, max_retries=0, timeout=20
    )


@pytest.mark.parametrize("base", ENDPOINTS)
def test_chat(house: House, base: str) -> None:
    """T4: the client appends its own deployment path; the deployment in the endpoint serves, its model is recorded."""
    with house.gateway.recorded() as records, connect(house, base) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content == openai_api.TEXT
    seen = house.only(house.azure)
    assert seen.path == "/openai/deployments/gpt-4o-deploy/chat/completions"
    assert seen.query == f"api-version={VERSION}"
    assert seen.header("api-key") == KEY
    [record] = records
    assert record.decision["route"] == "azure/chat"
    assert record.decision["model"] == "gpt-4o"
    assert record.decision["path"].endswith(f"?api-version={VERSION}")
    assert record.outcome["model"] == "gpt-4o-2024-08-06"
    assert record.usage == CHAT_USAGE
    assert record.outcome["price"] == "known"


def test_stream_on_a_version_without_stream_options(house: House) -> None:
    """Azure refuses what a version does not know: nothing is asked, the count is an estimate and says so."""
    with house.gateway.recorded() as records, connect(house, ENDPOINTS[0]) as client:
        chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert chunks[0].choices == []
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == openai_api.TEXT
    assert "stream_options" not in house.only(house.azure).json()
    assert records[0].outcome["usage_source"] == "estimated"
    assert records[0].usage["output"] > 0


def test_stream_usage_on_a_version_that_has_it(house: House) -> None:
    """Azure's first chunk has `choices: []` too, and must not be taken for the usage chunk."""
    with house.gateway.recorded() as records, connect(house, ENDPOINTS[0], "2024-10-21") as client:
        chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert chunks[0].choices == [] and "prompt_filter_results" in (chunks[0].model_extra or {})
    assert chunks[-1].choices != []
    assert records[0].usage == CHAT_USAGE


def test_async(house: House) -> None:
    async def run() -> str | None:
        async with openai.AsyncAzureOpenAI(
            api_key=KEY, azure_endpoint=house.url + ENDPOINTS[1], api_version=VERSION, max_retries=0
        ) as client:
            answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
            return answer.choices[0].message.content

    assert asyncio.run(run()) == openai_api.TEXT


def test_models_are_the_resources(house: House) -> None:
    with connect(house, ENDPOINTS[0]) as client:
        assert [model.id for model in client.models.list()] == ["gpt-4o-2024-08-06"]
    assert house.only(house.azure).path == "/openai/models"


def test_embeddings(house: House) -> None:
    with house.gateway.recorded() as records, connect(house, "/azure/my-resource/embedding-deploy") as client:
        assert len(client.embeddings.create(model="text-embedding-3-small", input="x").data) == 1
    assert records[0].usage == {"input": openai_api.EMBEDDING_TOKENS}


def test_the_same_base_as_openai(house: House) -> None:
    """A1: the Azure SDK on the proxy's one base is routed by its path."""
    with house.gateway.recorded(), connect(house, "/api/v1/gateway/proxy/v1") as client:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert house.only(house.azure).path == "/openai/deployments/gpt-4o/chat/completions"


@pytest.mark.parametrize("resource", ["Bad_Name", "a.evil.example", "x" * 64])
def test_resource_names_are_checked(house: House, resource: str) -> None:
    """Scheme, host and port never come from the request."""
    with connect(house, f"/azure/{resource}/gpt-4o-deploy") as client:
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert all(fake.requests == [] for fake in house.fakes)
