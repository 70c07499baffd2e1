"""O12: what Claude Code sends to `ANTHROPIC_BASE_URL`, through a real gateway.

Sources, facts only: code.claude.com/docs/en/llm-gateway-protocol (endpoints, headers that must reach the provider,
session headers, attribution block, model discovery) and /llm-gateway; a published wire capture of version 2.1.69
(qntx.sbvh.nl/research/claude-api-wire-format.html: headers with their values, the request's members); for what it asks
beside the API github.com/router-for-me/CLIProxyAPI issue 5905 (`HEAD /api/hello`), BerriAI/litellm pull 20504
(`/api/event_logging/batch`), Alishahryar1/free-claude-code issue 473 (`HEAD /`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import Misbehaviour, anthropic_api
from tests.running import House
from tests.sdk.agents import asked, check_faithful, check_metered, said

TOKEN = "sk-ant-oat01-claude-code-callers-own"
SESSION = "b4e5aaaa-9a3e-47c4-84ad-3a70f38c676e"
MODEL = "claude-sonnet-5"
BETAS = (
    "claude-code-20250219,adaptive-thinking-2026-01-28,context-management-2025-06-27,prompt-caching-scope-2026-01-05,"
    "advanced-tool-use-2025-11-20,effort-2025-11-24"
)
FORWARDED = {
    "Accept": "application/json",
    "X-Stainless-Retry-Count": "0",
    "X-Stainless-Timeout": "600",
    "X-Stainless-Lang": "js",
    "X-Stainless-Package-Version": "0.74.0",
    "X-Stainless-OS": "Linux",
    "X-Stainless-Arch": "x64",
    "X-Stainless-Runtime": "node",
    "X-Stainless-Runtime-Version": "v22.16.0",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "x-app": "cli",
    "User-Agent": "claude-cli/2.1.69 (external, cli)",
    "X-Claude-Code-Session-Id": SESSION,
    "content-type": "application/json",
    "anthropic-beta": BETAS,
    "x-client-request-id": "0f5d8f0e-5f3a-4d7f-8f6e-5b6f3f9c0a11",
    "accept-language": "*",
    "accept-encoding": "gzip, deflate, br, zstd",
}
HEADERS = {"connection": "keep-alive", **FORWARDED, "authorization": f"Bearer {TOKEN}", "sec-fetch-mode": "cors"}
"""Node's `fetch` sends the last one by itself; it says nothing of a browser's page."""
OWN_KEY = {name: value for name, value in HEADERS.items() if name != "authorization"} | {"x-api-key": TOKEN}


def turn(**more: Any) -> bytes:
    """A turn of an agent at work: some 300 KB, most of it system prompt, tools and what tools returned."""
    cached = {"type": "ephemeral", "ttl": "1h"}
    attribution = "x-anthropic-billing-header: cc_version=2.1.69.abc; cc_entrypoint=cli;"
    system = [
        {"type": "text", "text": attribution},
        {"type": "text", "text": "You are an agent.", "cache_control": cached},
        {"type": "text", "text": "Rules, one after the other. " * 1_000, "cache_control": cached},
    ]
    tools = [
        {"name": f"Tool{number}", "description": "What it does. " * 200, "input_schema": {"type": "object"}}
        for number in range(25)
    ]
    used = {"type": "tool_use", "id": "toolu_1", "name": "Tool1", "input": {"path": "/src/é.py", "n": 2**60}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "line\n" * 40_000}]}
    body = {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Mend it.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [result]},
        ],
        "system": system,
        "tools": tools,
        "metadata": {"user_id": json.dumps({"device_id": "ab" * 32, "account_uuid": "", "session_id": SESSION})},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "stream": True,
        **more,
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("headers", [HEADERS, OWN_KEY], ids=["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_a_turn(house: House, headers: dict[str, str]) -> None:
    """I1, and every header that the provider must see."""
    body = turn()
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/anthropic/v1/messages?beta=true", headers, body) as response:
            assert response.status == 200
            received = response.read()
    seen = house.only(house.anthropic)
    assert seen.target == "/v1/messages?beta=true"
    for name, value in FORWARDED.items():
        assert seen.header(name) == value, name
    assert seen.header("authorization") == headers.get("authorization")
    assert seen.header("x-api-key") == headers.get("x-api-key")
    [record] = records
    check_faithful(record, body, seen.body, received, b"".join(anthropic_api.stream(seen.json())))
    usage = {
        "input": anthropic_api.INPUT_TOKENS,
        "cache_read": anthropic_api.CACHE_READ,
        "cache_write": anthropic_api.CACHE_WRITE_5M,
        "cache_write_1h": anthropic_api.CACHE_WRITE_1H,
        "output": anthropic_api.OUTPUT_TOKENS,
    }
    check_metered(
        record,
        usage,
        route="anthropic/messages",
        path="/anthropic/v1/messages?beta=true",
        path_sent="/v1/messages",
        model=MODEL,
        stream=True,
        max_output=32_000,
        user_agent=FORWARDED["User-Agent"],
    )
    assert record.decision["provider_key_hash"]
    assert TOKEN not in json.dumps([line.body for line in record.lines])


def test_a_turn_that_the_user_stops(house: House) -> None:
    """I10: Escape closes the connection; the provider stops being paid for."""
    house.anthropic.misbehave(Misbehaviour(slow=0.05))
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/anthropic/v1/messages?beta=true", HEADERS, turn()) as response:
            assert response.read1(64)
    assert house.only(house.anthropic).wait() == "gone"
    assert records[0].outcome["outcome"] == "client_gone"
    assert records[0].outcome["usage_source"] == "estimated"


def test_counting_tokens_and_listing_models(house: House) -> None:
    """Counting costs nothing; models are listed with `CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY`."""
    body = turn(stream=False)
    with house.gateway.recorded(2) as records:
        with asked(house, "POST", "/anthropic/v1/messages/count_tokens?beta=true", HEADERS, body) as response:
            assert said(response) == {"input_tokens": anthropic_api.INPUT_TOKENS}
        with asked(house, "GET", "/anthropic/v1/models?limit=1000", HEADERS) as response:
            assert [model["id"] for model in said(response)["data"]] == [MODEL]
    assert [request.target for request in house.anthropic.requests] == [
        "/v1/messages/count_tokens?beta=true",
        "/v1/models?limit=1000",
    ]
    assert [record.decision["route"] for record in records] == ["anthropic/count_tokens", "anthropic/models"]
    assert [record.usage for record in records] == [{}, {}]
    assert not any("cost" in record.outcome for record in records)


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("HEAD", "/anthropic", "/"),
        ("HEAD", "/anthropic/", "/"),
        ("HEAD", "/anthropic/api/hello", "/api/hello"),
        ("GET", "/anthropic/api/claude_code/organizations/metrics_enabled", None),
        ("POST", "/anthropic/api/event_logging/batch", None),
        ("GET", "/anthropic/mcp-registry/v0/servers?limit=100", None),
    ],
)
def test_what_it_asks_beside_the_api(house: House, method: str, path: str, target: str | None) -> None:
    """These paths have no version at the provider, and get none."""
    body = b'{"events":[]}' if method == "POST" else None
    with house.gateway.recorded() as records:
        with asked(house, method, path, HEADERS, body) as response:
            answer = response.read()
    assert house.only(house.anthropic).target == (target or path.removeprefix("/anthropic"))
    assert response.status == 404  # the fake's own: it serves none of them
    assert response.headers["x-gatehouse-error"] == "upstream"
    assert (answer == b"") == (method == "HEAD")
    assert records[0].decision["route"] == "anthropic/other"
    assert records[0].usage == {}


def test_a_base_url_without_the_route_says_so_in_its_dialect(house: House) -> None:
    """I11: `ANTHROPIC_BASE_URL=http://gateway` forgets `/anthropic`."""
    with house.gateway.recorded() as records:
        with asked(house, "POST", "/v1/messages?beta=true", HEADERS, turn()) as response:
            answer = said(response)
    assert records[0].outcome["outcome"] == "refused"
    assert (response.status, answer["type"], answer["error"]["type"]) == (404, "error", "not_found_error")
    assert "/anthropic" in answer["error"]["message"]
    assert response.headers["x-should-retry"] != "true"
    assert house.anthropic.requests == []


def test_custom_headers_reach_the_provider_but_ours_do_not(house: House) -> None:
    """`ANTHROPIC_CUSTOM_HEADERS`: whatever the user wants the provider to see; `x-gatehouse-…` is for us."""
    custom = {"X-Team": "platform", "X-Gatehouse-Run": "nightly", "Cookie": "session=1"}
    with house.gateway.recorded():
        with asked(house, "POST", "/anthropic/v1/messages?beta=true", {**HEADERS, **custom}, turn()) as response:
            assert response.status == 200
            response.read()
    seen = house.only(house.anthropic)
    assert seen.header("x-team") == "platform"


def test_an_overloaded_provider_reads_as_the_providers_own(house: House) -> None:
    """What its retries depend on passes unchanged."""
    house.anthropic.misbehave(Misbehaviour(error=529))
    with house.gateway.recorded():
        with asked(house, "POST", "/anthropic/v1/messages?beta=true", HEADERS, turn()) as response:
            answer = said(response)
    assert (response.status, answer["error"]["type"]) == (529, "overloaded_error")
    assert response.headers["x-should-retry"] == "true"
    assert response.headers["request-id"] == anthropic_api.REQUEST_ID
