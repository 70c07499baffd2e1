"""System 001, TruePortAI's gateway: transparent provider routes (T1–T4), a management API (T6–T11), health, errors."""

from __future__ import annotations

import gzip
import json
from typing import Any

import anthropic
import openai
import pytest

from tests.fakes import Answer, Misbehaviour, anthropic_api, gemini_api, openai_api
from tests.running import House
from tests.sdk import node_clients

BASE = "/trueportai-services"
KEY = "sk-your-own-key"
HELLO = {"role": "user", "content": "Hello!"}
PLATFORM = {"authorization": "Bearer scoped-platform-jwt", "content-type": "application/json"}


def test_001_openai_python(house: House) -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{house.url}{BASE}/openai/v1", max_retries=0)
    with client:
        response = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello!"}])
    assert response.choices[0].message.content == openai_api.TEXT
    assert house.only(house.openai).target == "/v1/chat/completions"


def test_001_openai_node_as_sent(house: House) -> None:
    """What openai-node puts on the wire for the page's block."""
    body = json.dumps({"model": "gpt-4o", "messages": [HELLO]}, separators=(",", ":")).encode()
    status, _, answer = house.gateway.call("POST", BASE + "/openai/v1/chat/completions", body, _node_headers(KEY))
    assert status == 200
    # Compressed, as its client accepts.
    assert json.loads(gzip.decompress(answer))["choices"][0]["message"]["content"] == openai_api.TEXT
    seen = house.only(house.openai)
    assert (seen.target, seen.body, seen.header("authorization")) == ("/v1/chat/completions", body, f"Bearer {KEY}")


@node_clients.needed
def test_001_openai_node_with_the_sdk(house: House) -> None:
    assert node_clients.ask("openai", house, KEY, f"{BASE}/openai/v1") == {"text": openai_api.TEXT}
    assert house.only(house.openai).target == "/v1/chat/completions"


@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
def test_001_anthropic_python(house: House) -> None:
    client = anthropic.Anthropic(api_key=KEY, base_url=f"{house.url}{BASE}/anthropic/v1", max_retries=0)
    with client:
        message = client.messages.create(
            model="claude-3-5-sonnet-20241022", max_tokens=1024, messages=[{"role": "user", "content": "Hello!"}]
        )
    assert message.content[0].type == "text" and message.content[0].text == anthropic_api.TEXT
    assert house.only(house.anthropic).target == "/v1/messages"


def test_001_azure_python(house: House) -> None:
    """The page's client; it goes on to call with a model name, which its endpoint's deployment serves."""
    client = openai.AzureOpenAI(
        api_key=KEY,
        azure_endpoint=f"{house.url}{BASE}/azure/my-resource/gpt-4o-deploy",
        api_version="2024-02-01",
        max_retries=0,
    )
    with client:
        response = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello!"}])
    assert response.choices[0].message.content == openai_api.TEXT
    expected = "/openai/deployments/gpt-4o-deploy/chat/completions?api-version=2024-02-01"
    assert house.only(house.azure).target == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("path", "fake", "target"),
    [
        ("/openai/v1/fine_tuning/jobs?limit=2", "openai", "/v1/fine_tuning/jobs?limit=2"),
        ("/anthropic/v1/files/file_1", "anthropic", "/v1/files/file_1"),
        ("/google/v1beta/cachedContents/c1", "gemini", "/v1beta/cachedContents/c1"),
        (
            "/azure/my-resource/gpt-4o-deploy/images/generations?api-version=2024-02-01",
            "azure",
            "/openai/deployments/gpt-4o-deploy/images/generations?api-version=2024-02-01",
        ),
    ],
)
def test_001_provider_route_tables_any_method_any_path(
    house: House, method: str, path: str, fake: str, target: str
) -> None:
    """The tables of provider routes: `ANY` method, any path below."""
    provider = getattr(house, fake)
    provider.respond(Answer(200, (("content-type", "application/json"),), b'{"ok":true}'))
    body = b'{"a": 1}' if method in ("POST", "PUT", "PATCH") else None
    status, _, answer = house.gateway.call(method, BASE + path, body, {"content-type": "application/json"})
    assert (status, answer) == (200, b'{"ok":true}')
    seen = house.only(provider)
    assert (seen.method, seen.target, seen.body) == (method, target, body or b"")


def test_001_google_route_as_the_sdks_send_it(house: House) -> None:
    body = b'{"contents":[{"parts":[{"text":"Hello!"}]}]}'
    path = f"{BASE}/google/v1beta/models/gemini-2.5-flash:generateContent"
    status, _, answer = house.gateway.call("POST", path, body, {"x-goog-api-key": KEY})
    assert status == 200
    assert json.loads(answer)["candidates"][0]["content"]["parts"][0]["text"] == gemini_api.TEXT


@pytest.mark.pending(stage="Stage 3 (T5, T7)")
def test_001_post_keys(house: House) -> None:
    made = _management(house, "POST", "/keys", {"owner": "production-app", "rate_limit_rpm": 120}, 201)
    assert set(made) >= {"id", "key", "owner", "is_active", "rate_limit_rpm", "created_at"}


@pytest.mark.pending(stage="Stage 3 (T7)")
def test_001_get_keys(house: House) -> None:
    assert isinstance(_management(house, "GET", "/keys?limit=20&offset=0"), list)


def test_001_get_analytics_logs(house: House) -> None:
    """T8: the page's answer, field by field; the key the caller brought is nowhere in it."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "accept-encoding": "identity"}
    body = json.dumps({"model": "gpt-4o", "messages": [HELLO]}).encode()
    with house.gateway.recorded() as records:
        house.gateway.call("POST", BASE + "/openai/v1/chat/completions", body, headers)
    trace = house.gateway.stored(records[0].call)
    page = _management(house, "GET", "/analytics/logs?limit=50&offset=0&provider=openai")
    assert set(page) == {"items", "total", "offset", "limit"}
    item = next(each for each in page["items"] if each["id"] == records[0].call)
    assert item == {
        "id": records[0].call,
        "timestamp": trace["started_at"],
        "api_key": trace["provider_key_hash"],
        "path": "/chat/completions",
        "method": "POST",
        "status_code": 200,
        "latency_ms": trace["duration_us"] / 1000,
        "request_size_bytes": len(body),
        "response_size_bytes": trace["response_bytes"],
        "provider": "openai",
        "model": "gpt-4o",
        "prompt_tokens": trace["tokens"]["input_total"],
        "completion_tokens": trace["tokens"]["output_total"],
        "cost_usd": trace["cost_nano_usd"] / 1_000_000_000,
    }
    mine = _management(house, "GET", f"/analytics/logs?api_key={item['api_key']}&start_date=2024-01-15T10:30:00Z")
    assert records[0].call in [each["id"] for each in mine["items"]]
    assert _management(house, "GET", "/analytics/logs?end_date=2024-01-15T10:30:00Z")["total"] == 0
    assert KEY not in json.dumps(page)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "azure"])
def test_001_get_analytics_logs_of_every_provider(house: House, provider: str) -> None:
    """T8: the parameter table, its names and its dates in whichever form of ISO 8601."""
    query = f"limit=500&offset=0&provider={provider}&start_date=2024-01-15&end_date=2999-01-15T10:30:00%2B02:00"
    page = _management(house, "GET", f"/analytics/logs?{query}")
    assert {item["provider"] for item in page["items"]} <= {provider}
    assert (page["limit"], page["offset"], page["total"] >= len(page["items"])) == (500, 0, True)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("logs?limit=501", 400),
        ("logs?offset=-1", 400),
        ("logs?start_date=yesterday", 400),
        ("logs?api_key=sk-0123456789abcdef0123456789", 400),
        ("stats?period=1y", 400),
    ],
)
def test_001_errors_of_the_management_api(house: House, query: str, status: int) -> None:
    """T13's shape. A raw key in a URL is refused, and not repeated."""
    error = _management(house, "GET", f"/analytics/{query}", None, status)
    assert (error["code"], error["retry_after"]) == ("BAD_REQUEST", None)
    assert error["detail"] and "0123456789abcdef" not in json.dumps(error)


@pytest.mark.parametrize("period", ["24h", "7d", "30d", "90d"])
def test_001_get_analytics_stats_of_every_period(house: House, period: str) -> None:
    assert _management(house, "GET", f"/analytics/stats?period={period}")["period"] == period


def test_001_get_analytics_stats(house: House) -> None:
    """T9."""
    with house.gateway.recorded() as records:
        house.gateway.call("GET", BASE + "/openai/v1/models", None, {"authorization": f"Bearer {KEY}"})
    house.gateway.stored(records[0].call)
    stats = _management(house, "GET", "/analytics/stats?period=7d")
    assert set(stats) == {
        "period",
        "total_requests",
        "total_cost_usd",
        "total_tokens",
        "avg_latency_ms",
        "error_rate_pct",
        "by_provider",
        "by_model",
        "violations",
    }
    assert stats["period"] == "7d" and set(stats["total_tokens"]) == {"prompt", "completion", "total"}
    assert 1 <= stats["by_provider"]["openai"] <= stats["total_requests"]
    assert set(stats["violations"]) == {"total", "by_type", "critical", "high"}
    assert _management(house, "GET", "/analytics/stats")["period"] == "7d"


@pytest.mark.pending(stage="Stage 5 (T10)")
def test_001_get_violations(house: House) -> None:
    assert set(_management(house, "GET", "/analytics/violations?severity=critical&limit=20")) == {"items", "total"}


@pytest.mark.pending(stage="Stage 5 (T10)")
def test_001_get_one_violation(house: House) -> None:
    assert "redacted_payload" in _management(house, "GET", "/analytics/violations/VIO-001")


@pytest.mark.pending(stage="Stage 5 (T11)")
def test_001_get_policies(house: House) -> None:
    assert isinstance(_management(house, "GET", "/policies"), list)


@pytest.mark.pending(stage="Stage 5 (T11)")
def test_001_post_policies(house: House) -> None:
    rule = {
        "name": "Redact phone numbers",
        "action": "redact",
        "trigger_type": "regex",
        "pattern": r"\b\d{3}[-.]?\d{3}[-.]?\d{4}\b",
        "is_active": True,
        "priority": 2,
    }
    assert _management(house, "POST", "/policies", rule, 201)["action"] == "redact"


@pytest.mark.parametrize("path", ["/health", BASE + "/health"])
def test_001_get_health(house: House, path: str) -> None:
    """T12."""
    health = house.gateway.healthy(path)
    assert health["status"] == "healthy"
    assert isinstance(health["version"], str)
    assert "connected" in health["services"].values()


@pytest.mark.parametrize(
    ("plan", "headers", "path", "status", "code"),
    [
        (None, {"authorization": "Bearer gth_live_" + "x" * 36}, "/openai/v1/models", 401, "UNAUTHORIZED"),
        (None, {"origin": "https://elsewhere.example"}, "/openai/v1/models", 403, "FORBIDDEN"),
        (Misbehaviour(close=True), {"authorization": f"Bearer {KEY}"}, "/openai/v1/models", 502, "UPSTREAM_ERROR"),
        (None, {"authorization": f"Bearer {KEY}"}, "/azure/Not_A_Name/d/models", 400, "BAD_REQUEST"),
    ],
)
def test_001_error_response_shape(
    house: House, plan: Misbehaviour | None, headers: dict[str, str], path: str, status: int, code: str
) -> None:
    """T13: `detail`, `code` and `retry_after` at the top of every error the gateway makes."""
    if plan is not None:
        house.openai.misbehave(plan, times=2)
    answered, sent, body = house.gateway.call("GET", BASE + path, None, headers)
    error = json.loads(body)
    assert (answered, error["code"]) == (status, code)
    assert isinstance(error["detail"], str) and error["detail"]
    assert "retry_after" in error
    assert sent["x-gatehouse-error"] == "gateway"


@pytest.mark.pending(stage="Stage 3 (T5: a gateway key in x-api-key, and nothing else)")
def test_001_a_call_without_a_key_is_401(house: House) -> None:
    status, headers, body = house.gateway.call("GET", BASE + "/openai/v1/models")
    assert (status, headers["x-gatehouse-error"]) == (401, "gateway")
    assert json.loads(body)["code"] == "UNAUTHORIZED"


@pytest.mark.pending(
    stage="Stage 3 (limits): 429 RATE_LIMITED; Stage 4 (circuit breaker): 503 CIRCUIT_OPEN", runs=False
)
def test_001_error_codes_of_later_stages() -> None: ...


def _management(house: House, method: str, path: str, body: dict[str, Any] | None = None, expected: int = 200) -> Any:
    sent = json.dumps(body).encode() if body is not None else None
    status, _, answer = house.gateway.call(method, BASE + "/api/v1" + path, sent, PLATFORM)
    assert status == expected, answer[:300]
    return json.loads(answer)


def _node_headers(key: str) -> dict[str, str]:
    """openai-node 6's, as measured."""
    return {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": "OpenAI/JS 6.49.0",
        "x-stainless-retry-count": "0",
        "x-stainless-lang": "js",
        "x-stainless-package-version": "6.49.0",
        "x-stainless-os": "Linux",
        "x-stainless-arch": "x64",
        "x-stainless-runtime": "node",
        "x-stainless-runtime-version": "v22.11.0",
        "authorization": f"Bearer {key}",
        "accept-language": "*",
        "sec-fetch-mode": "cors",
        "accept-encoding": "gzip, deflate",
    }
