"""System 002, PromptGate: an OpenAI-compatible wrapper with its own base URL per project, aliases and scoped tokens.

Every block needs a project, a stored credential and an alias (P2–P6): Stage 3 stores them, Stage 4 routes by them.
"""

from __future__ import annotations

import json

import openai
import pytest

from tests.fakes import openai_api
from tests.running import House

PROJECT = "8e3f6f0a-52c1-4c0e-9a53-2b8f5e1d7c44"
BASE = f"/api/{PROJECT}/v1"
TOKEN = "gth_live_" + "p" * 36

pytestmark = pytest.mark.pending(stage="Stage 4 (P4, P6, P7; projects and tokens by Stage 3)")


def _chat(house: House, model: str) -> str | None:
    with openai.OpenAI(base_url=house.url + BASE, api_key=TOKEN, max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello!"}])
    return answer.choices[0].message.content


def test_002_step_6_base_url(house: House) -> None:
    """`PG_BASE` is the gateway's URL and the project's id: its models are listed there."""
    with openai.OpenAI(base_url=house.url + BASE, api_key=TOKEN, max_retries=0) as client:
        assert list(client.models.list())


@pytest.mark.parametrize("model", ["promptgate:fast", "openai:gpt-4o-mini", "openai:gpt-4o", "fast"])
def test_002_step_6_openai_python(house: House, model: str) -> None:
    assert _chat(house, model) == openai_api.TEXT


def test_002_step_6_openai_node_as_sent(house: House) -> None:
    body = json.dumps({"model": "promptgate:fast", "messages": [{"role": "user", "content": "Hello!"}]}).encode()
    sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", "user-agent": "OpenAI/JS 6.49.0"}
    status, _, _ = house.gateway.call("POST", BASE + "/chat/completions", body, sent)
    assert status == 200


def test_002_step_6_langchain_python_as_sent(house: House) -> None:
    """langchain-openai calls through the OpenAI SDK."""
    assert _chat(house, "promptgate:fast") == openai_api.TEXT


def test_002_step_6_vercel_ai_sdk_as_sent(house: House) -> None:
    """@ai-sdk/openai sends its prompt to the Responses API."""
    prompt = [{"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}]
    body = json.dumps({"model": "promptgate:fast", "input": prompt}).encode()
    sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", "user-agent": "ai/6 ai-sdk/openai"}
    status, _, _ = house.gateway.call("POST", BASE + "/responses", body, sent)
    assert status == 200
