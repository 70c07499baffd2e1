"""Node's clients through the gateway (T1–T3, O12): `openai`, `@anthropic-ai/sdk`, `@google/genai`, Vercel's AI SDK.

Each call in a process of its own.
"""

from __future__ import annotations

import json

import pytest

from tests.fakes import anthropic_api, gemini_api, openai_api
from tests.running import House
from tests.sdk import node_clients

KEY = "sk-node-callers-own-key-0001"
pytestmark = node_clients.needed


@pytest.mark.parametrize(
    ("client", "text", "route"),
    [
        ("openai", openai_api.TEXT, "openai/chat"),
        ("openai-stream", openai_api.TEXT, "openai/chat"),
        ("anthropic", anthropic_api.TEXT, "anthropic/messages"),
        ("anthropic-stream", anthropic_api.TEXT, "anthropic/messages"),
        ("google", gemini_api.TEXT, "google/generate_content"),
        ("google-stream", gemini_api.TEXT, "google/stream_generate_content"),
        ("vercel-openai", openai_api.TEXT, "openai/chat"),
        ("vercel-openai-stream", openai_api.TEXT, "openai/chat"),
        ("vercel-anthropic-stream", anthropic_api.TEXT, "anthropic/messages"),
    ],
)
def test_a_node_client_gets_its_answer_and_leaves_its_record(house: House, client: str, text: str, route: str) -> None:
    with house.gateway.recorded() as records:
        assert node_clients.ask(client, house, KEY) == {"text": text}
    [record] = records
    assert (record.decision["route"], record.outcome["outcome"]) == (route, "ok")
    assert record.decision.get("stream", False) == client.endswith("-stream")
    assert (record.outcome["usage_source"], record.outcome["price"]) == ("provider", "known")
    assert KEY not in json.dumps([record.decision, record.outcome])


def test_a_refusal_is_an_error_of_the_client(house: House) -> None:
    """I11: the client's own exception, with status and code."""
    told = node_clients.ask("openai-refused", house, KEY)
    assert told == {"status": 400, "code": "invalid_request", "kind": "BadRequestError"}
