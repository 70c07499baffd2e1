"""O12: what Gemini CLI sends with `GOOGLE_GEMINI_BASE_URL`, through a real gateway.

Sources, facts only: github.com/google-gemini/gemini-cli of August 2026, `packages/core/src/core/contentGenerator.ts`
(how a gateway is chosen, headers, an empty key), `docs/reference/configuration.md`; its SDK is `@google/genai` 1.30,
whose paths `tests/routing/test_clients.py` has.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import Misbehaviour, gemini_api
from tests.running import House
from tests.sdk.agents import asked, check_faithful, check_metered, said

KEY = "AIza-gemini-cli-callers-own-key-0001"
MODEL = "gemini-2.5-flash"
FORWARDED = {
    "User-Agent": f"GeminiCLI/0.44.0/{MODEL} (linux; x64; terminal)",
    "x-goog-api-client": "google-genai-sdk/1.30.0 gl-node/v22.16.0",
    "x-gemini-api-privileged-user-id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "Content-Type": "application/json",
    "accept-language": "*",
}
HEADERS = {**FORWARDED, "x-goog-api-key": KEY, "sec-fetch-mode": "cors"}
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"


def turn() -> bytes:
    """One turn: a long system instruction, tools, what a tool returned."""
    call: dict[str, Any] = {"functionCall": {"name": "read_file", "args": {"path": "é"}}, "thoughtSignature": "Cg=="}
    result = {"functionResponse": {"name": "read_file", "response": {"output": "line\n" * 30_000}}}
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "Mend it."}]},
            {"role": "model", "parts": [call]},
            {"role": "user", "parts": [result]},
        ],
        "systemInstruction": {"role": "user", "parts": [{"text": "You are an agent. " * 1_000}]},
        "tools": [{"functionDeclarations": [{"name": "read_file", "parametersJsonSchema": {"type": "object"}}]}],
        "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64, "thinkingConfig": {"includeThoughts": True}},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_turn(house: House) -> None:
    """I1."""
    body = turn()
    with house.gateway.recorded() as records:
        with asked(house, "POST", f"/google{STREAM}", HEADERS, body) as response:
            received = response.read()
    seen = house.only(house.gemini)
    assert seen.target == STREAM
    for name, value in {**FORWARDED, "x-goog-api-key": KEY}.items():
        assert seen.header(name) == value, name
    answered = b"".join(gemini_api._events(MODEL, json.loads(body)).events or ())
    check_faithful(records[0], body, seen.body, received, answered)
    assert sum(records[0].usage.values()) > gemini_api.PROMPT_TOKENS
    check_metered(
        records[0], records[0].usage, route="google/stream_generate_content", model=MODEL, stream=True, top_p=0.95
    )


def test_counting_tokens(house: House) -> None:
    with house.gateway.recorded() as records:
        with asked(house, "POST", f"/google/v1beta/models/{MODEL}:countTokens", HEADERS, turn()) as response:
            assert said(response)["totalTokens"] == gemini_api.PROMPT_TOKENS
    assert (records[0].decision["route"], records[0].usage) == ("google/count_tokens", {})


def test_a_turn_that_the_user_stops(house: House) -> None:
    """I10."""
    house.gemini.misbehave(Misbehaviour(slow=0.1))
    with house.gateway.recorded() as records:
        with asked(house, "POST", f"/google{STREAM}", HEADERS, turn()) as response:
            assert response.read1(16)
    assert house.only(house.gemini).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"


@pytest.mark.parametrize("key", ["", gemini_api.WRONG_KEY], ids=["no GEMINI_API_KEY", "a wrong one"])
def test_without_a_key_the_provider_says_so(house: House, key: str) -> None:
    """With a base URL and no key it sends the header empty."""
    with house.gateway.recorded() as records:
        with asked(house, "POST", f"/google{STREAM}", {**HEADERS, "x-goog-api-key": key}, turn()) as response:
            answer = said(response)
    assert response.status == records[0].outcome["upstream_status"]
    assert response.status in (400, 403)
    assert answer["error"]["code"] == response.status
