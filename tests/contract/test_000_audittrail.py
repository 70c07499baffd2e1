"""System 000, AuditTrail's gateway proxy: one OpenAI-compatible base for every client (A1), keys of its own (A3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import anthropic
import openai
import pytest

from tests.fakes import anthropic_api, openai_api
from tests.running import House

BASE = "/api/v1/gateway/proxy/v1"
KEY = "sk-proj-own-key"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def test_000_block_1_environment_and_one_liner(house: House) -> None:
    """The page's quickstart: two variables, then the SDK in one line. Auth is off: the key is the caller's own."""
    program = (
        "from openai import OpenAI; client = OpenAI(); "
        "answer = client.chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'hi'}]); "
        "print(answer.choices[0].message.content)"
    )
    env = {**os.environ, "OPENAI_BASE_URL": house.url + BASE, "OPENAI_API_KEY": KEY}
    with house.gateway.recorded() as records:
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == openai_api.TEXT, done.stderr
    assert house.only(house.openai).target == "/v1/chat/completions"
    assert records[0].decision["path"] == BASE + "/chat/completions"


@pytest.mark.parametrize("streamed", [False, True])
def test_000_supported_endpoint_chat_completions(house: House, streamed: bool) -> None:
    with openai.OpenAI(base_url=house.url + BASE, api_key=KEY, max_retries=0) as client:
        if streamed:
            stream = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        else:
            answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
            text = answer.choices[0].message.content or ""
    assert text == openai_api.TEXT


def test_000_supported_endpoint_models(house: House) -> None:
    with openai.OpenAI(base_url=house.url + BASE, api_key=KEY, max_retries=0) as client:
        assert "gpt-4o" in [model.id for model in client.models.list()]


def test_000_the_anthropic_sdk_on_the_same_base(house: House) -> None:
    with anthropic.Anthropic(base_url=house.url + BASE, api_key="sk-ant-own", max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
        )
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT
    assert house.only(house.anthropic).path == "/v1/messages"


def test_000_the_azure_sdk_on_the_same_base(house: House) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=house.url + BASE, api_key="azure-own", api_version="2024-02-01", max_retries=0
    )
    with client, house.gateway.recorded() as records:
        client.chat.completions.create(model="gpt-4o-deploy", messages=[{"role": "user", "content": "hi"}])
    assert house.only(house.azure).path == "/openai/deployments/gpt-4o-deploy/chat/completions"
    assert records[0].decision["route"] == "azure/chat"


def test_000_every_call_is_a_trace_with_spans(house: House) -> None:
    """A6: a trace with child spans under the gen_ai attribute contract, whichever way the call came."""
    with house.gateway.recorded() as records:
        sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        house.gateway.call("POST", BASE + "/chat/completions", json.dumps(CHAT).encode(), sent)
    trace = house.gateway.stored(records[0].call)
    attributes = {key: value for span in trace["spans"] for key, value in span["attributes"].items()}
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.request.model"] == "gpt-4o"
    assert attributes["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert attributes["gen_ai.usage.input_tokens"] == openai_api.PROMPT_TOKENS
    assert attributes["gen_ai.usage.output_tokens"] == openai_api.COMPLETION_TOKENS
    assert len(trace["spans"]) > 1


@pytest.mark.pending(stage="Stage 3 (A3)")
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", "/1")])
def test_000_virtual_key_management(house: House, method: str, path: str) -> None:
    body = b'{"name":"ci","rate_limit":60,"monthly_spend_usd":20}' if method == "POST" else None
    status, _, _ = house.gateway.call(method, "/api/v1/gateway/keys" + path, body, {"authorization": "Bearer t"})
    assert status in (200, 201, 204)


@pytest.mark.pending(stage="Stage 3 (A1 with auth, A2)")
def test_000_a_virtual_key_instead_of_the_providers(house: House) -> None:
    with openai.OpenAI(base_url=house.url + BASE, api_key="gth_live_" + "a" * 36, max_retries=0) as client:
        client.models.list()
