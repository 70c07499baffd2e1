"""O12: what Codex CLI sends with `openai_base_url`, through a real gateway.

Sources, facts only: github.com/openai/codex, the Rust client's files of several versions; public forks and
reimplementations of it for header names of 2026 and for zstd bodies. The compacted answer's members:
openai-py 3.52, `types/responses/compacted_response.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import zstandard

from tests.fakes import Misbehaviour, openai_api, openai_text
from tests.running import House
from tests.sdk.agents import asked, check_faithful, check_metered, said

KEY = "sk-codex-callers-own-key-0001"
THREAD = "0199a2f0-7c1e-7b53-9d0c-6f6a3c1d2e4f"
MODEL = "gpt-5-mini"
FORWARDED = {
    "originator": "codex_cli_rs",
    "User-Agent": "codex_cli_rs/0.156.0 (Debian 13.0.0; x86_64) xterm-256color",
    "version": "0.156.0",
    "session-id": THREAD,
    "thread-id": THREAD,
    "x-client-request-id": THREAD,
    "x-codex-window-id": f"{THREAD}:0",
    "x-codex-turn-metadata": json.dumps({"session_id": THREAD, "turn_id": "1", "sandbox": "seccomp"}),
    "x-codex-beta-features": "terminal_resize_reflow",
    "x-openai-subagent": "review",
    "accept": "text/event-stream",
    "content-type": "application/json",
}
HEADERS = {**FORWARDED, "authorization": f"Bearer {KEY}"}
OLDER = {
    **{name: value for name, value in HEADERS.items() if name not in ("session-id", "thread-id")},
    "OpenAI-Beta": "responses=experimental",
    "conversation_id": THREAD,
    "session_id": THREAD,
}
"""Releases of 2025 spelt the ids with underscores: names that some servers drop."""
USAGE = {
    "input": openai_text.INPUT_TOKENS - openai_text.CACHED_TOKENS,
    "cache_read": openai_text.CACHED_TOKENS,
    "output": openai_text.OUTPUT_TOKENS - openai_text.REASONING_TOKENS,
    "reasoning": openai_text.REASONING_TOKENS,
}


def turn(**more: Any) -> dict[str, Any]:
    """One turn: the whole conversation again, since nothing is stored."""
    shell = {"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object"}}
    patch = {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
    }
    return {
        "model": MODEL,
        "instructions": "You are a coding agent. " * 1_000,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend é."}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA" * 500},
            {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "file\n" * 20_000},
        ],
        "tools": [shell, patch, {"type": "web_search"}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": THREAD,
        "text": {"verbosity": "low"},
        "client_metadata": {"x-codex-installation-id": "11c3", "session_id": THREAD},
        **more,
    }


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def stream_of(body: dict[str, Any]) -> bytes:
    return b"".join(openai_api.named_events(*openai_text.response_events(body)).events or ())


@pytest.mark.parametrize("headers", [HEADERS, OLDER], ids=["2026", "2025"])
def test_a_turn(house: House, headers: dict[str, str]) -> None:
    """I1: the stream reports its usage by itself, so nothing is asked for and nothing taken out."""
    body = encoded(turn())
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/openai/v1/responses", headers, body) as response:
            received = response.read()
    seen = house.only(house.openai)
    assert seen.target == "/v1/responses"
    for name, value in headers.items():
        assert seen.header(name) == value, name
    check_faithful(records[0], body, seen.body, received, stream_of(turn()))
    check_metered(
        records[0], USAGE, route="openai/responses", model=MODEL, stream=True, user_agent=HEADERS["User-Agent"]
    )
    assert KEY not in json.dumps([line.body for line in records[0].lines])


def test_a_turn_compressed(house: House) -> None:
    """Feature `enable_request_compression`: read for what it asks, forwarded as it came."""
    packed = zstandard.ZstdCompressor(level=3).compress(encoded(turn()))
    house.openai.respond(openai_api.named_events(*openai_text.response_events(turn())))
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/openai/v1/responses", {**HEADERS, "content-encoding": "zstd"}, packed) as response:
            received = response.read()
    seen = house.only(house.openai)
    assert seen.header("content-encoding") == "zstd"
    check_faithful(records[0], packed, seen.body, received, stream_of(turn()))
    check_metered(records[0], USAGE, route="openai/responses", model=MODEL, stream=True)


def test_a_turn_that_the_user_stops(house: House) -> None:
    """I10."""
    house.openai.misbehave(Misbehaviour(slow=0.05))
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/openai/v1/responses", HEADERS, encoded(turn())) as response:
            assert response.read1(64)
    assert house.only(house.openai).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"
    assert records[0].outcome["usage_source"] == "estimated"


def test_compacting_a_conversation(house: House) -> None:
    """One answer, not a stream: a shorter input, and what it took to make it."""
    tokens = {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 200},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1050,
    }
    compacted = {
        "id": "resp_1",
        "object": "response.compaction",
        "created_at": 1_769_092_764,
        "output": [{"type": "compaction", "encrypted_content": "gAAAA"}],
        "usage": tokens,
    }
    house.openai.respond(openai_api.indented(compacted))
    asking = turn()
    body = encoded({name: asking[name] for name in ("model", "input", "instructions", "tools", "parallel_tool_calls")})
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/openai/v1/responses/compact", HEADERS, body) as response:
            received = response.read()
    seen = house.only(house.openai)
    assert seen.target == "/v1/responses/compact"
    check_faithful(records[0], body, seen.body, received, openai_api.indented(compacted).body)
    check_metered(records[0], {"input": 800, "cache_read": 200, "output": 50}, route="openai/responses", model=MODEL)


def test_its_list_of_models(house: House) -> None:
    with house.gateway.recorded() as records:
        with asked(house, "GET", "/openai/v1/models?client_version=0.156.0", HEADERS) as response:
            assert response.status == 200
            assert said(response)["data"]
    assert house.only(house.openai).target == "/v1/models?client_version=0.156.0"
    assert (records[0].decision["route"], records[0].usage) == ("openai/models", {})


def test_a_refused_key_reads_as_the_providers_own(house: House) -> None:
    """It refreshes its token on a 401, and shows the provider's sentence."""
    wrong = {**HEADERS, "authorization": f"Bearer {openai_api.WRONG_KEY}"}
    with house.gateway.recorded():
        with asked(house, "POST", "/openai/v1/responses", wrong, encoded(turn())) as response:
            answer = said(response)
    assert (response.status, answer["error"]["code"]) == (401, "invalid_api_key")


def test_a_base_url_without_the_route_says_so(house: House) -> None:
    """I11: `openai_base_url = "http://gateway/v1"` forgets `/openai`."""
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/v1/responses", HEADERS, encoded(turn())) as response:
            answer = said(response)
    assert records[0].outcome["outcome"] == "refused"
    assert response.status == 404
    assert "/openai/v1" in answer["error"]["message"]
    assert house.openai.requests == []
