"""Spans in OpenTelemetry's GenAI conventions.

Names and meanings: open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md and its registry (November
2026); well-known values of `gen_ai.provider.name` from the same registry.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from gatehouse.store import ids, spans
from tests.store.samples import START, call_id, concluded, decided

CALL = call_id()


def _attributes(ask: dict[str, Any], end: dict[str, Any]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(span.attributes) for span in spans.build(decided(CALL, **ask), concluded(CALL, **end))]


def test_a_call_is_a_server_span_with_a_client_child() -> None:
    """A6."""
    root, child = spans.build(decided(CALL, parent_span="b" * 16), concluded(CALL))
    assert (root.kind, root.name, root.parent_span_id) == ("SERVER", "POST openai/chat", "b" * 16)
    assert (child.kind, child.name, child.parent_span_id) == ("CLIENT", "chat gpt-4o-mini", root.span_id)
    assert root.trace_id == child.trace_id == CALL.replace("-", "")
    assert (root.started, root.ended) == (START, START + 123_456)
    assert (child.started, child.ended) == (START + 321, START + 123_456)
    assert root.status == child.status == "unset"
    assert all(re.fullmatch("[0-9a-f]{16}", span.span_id) for span in (root, child))
    assert root.span_id != child.span_id


def test_required_and_recommended_attributes_of_a_client_span() -> None:
    _, client = _attributes({"user_id": "u1", "choices": 2, "top_p": 0.9, "stream": True}, {})
    assert client == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.stream": True,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.max_tokens": 256,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.1005,
        "http.response.status_code": 200,
        "user.id": "u1",
        "gatehouse.upstream.request_id": "req_1",
        "gatehouse.cost.nano_usd": 12_345,
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.usage.input_tokens": 100,  # 70 fresh, 20 from cache, 10 audio
        "gen_ai.usage.output_tokens": 50,  # 40 text, 10 reasoning
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 10,
    }


def test_attributes_of_the_server_span() -> None:
    server, _ = _attributes({"path": "/openai/v1/x?api-version=1", "key_id": "k1", "user_id": "u1"}, {})
    assert server["url.path"] == "/openai/v1/x"
    assert server["http.request.method"] == "POST"
    assert server["http.response.status_code"] == 200
    assert (server["http.request.body.size"], server["http.response.body.size"]) == (1024, 2048)
    assert server["gatehouse.call.id"] == CALL
    assert (server["gatehouse.tenant"], server["gatehouse.project"]) == ("default", "default")
    assert (server["gatehouse.key.id"], server["user.id"]) == ("k1", "u1")
    assert "error.type" not in server


def test_usage_counts_every_part_once() -> None:
    """FIELD: cached tokens counted twice or not at all."""
    _, client = _attributes(
        {},
        {
            "tokens_input": 1,
            "tokens_cache_read": 10,
            "tokens_cache_write": 100,
            "tokens_cache_write_1h": 1000,
            "tokens_output": 1,
            "tokens_reasoning": 10,
            "tokens_audio_input": 10_000,
            "tokens_audio_output": 100,
            "tokens_image_input": 100_000,
            "tokens_image_output": 1000,
            "tokens_image_cache_read": 1_000_000,
            "tokens_audio_cache_read": 10_000_000,
            "usage_source": "estimated",
        },
    )
    assert client["gen_ai.usage.input_tokens"] == 11_111_111
    assert client["gen_ai.usage.output_tokens"] == 1_111
    assert client["gen_ai.usage.cache_read.input_tokens"] == 11_000_010
    assert client["gen_ai.usage.cache_write.input_tokens"] == 1100
    assert client["gatehouse.usage.estimated"] is True


def test_unknown_usage_is_absent_not_zero() -> None:
    _, client = _attributes({}, {"tokens_input": None, "cost": None})
    assert not [name for name in client if "usage" in name or "cost" in name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("azure", "azure.ai.openai"),
        ("google", "gcp.gemini"),
        ("mistral", "mistral_ai"),
        ("xai", "x_ai"),
        ("groq", "groq"),
        ("my-vllm", "my-vllm"),
    ],
)
def test_providers_have_the_conventions_names(name: str, says: str) -> None:
    _, client = _attributes({}, {"provider": name})
    assert client["gen_ai.provider.name"] == says


@pytest.mark.parametrize(
    ("end", "failure", "root", "child"),
    [
        ({"status": 429, "upstream_status": 429}, "429", "unset", "error"),
        ({"status": 500, "upstream_status": 500}, "500", "error", "error"),
        ({"outcome": "upstream_error", "status": 502, "code": "UPSTREAM_ERROR"}, "UPSTREAM_ERROR", "error", "error"),
        ({"outcome": "cut", "status": 200}, "cut", "unset", "error"),
        ({"outcome": "client_gone", "status": None}, "client_gone", "error", "error"),
        ({"outcome": "interrupted", "status": None, "duration_us": None}, "interrupted", "error", "error"),
    ],
)
def test_failures_have_an_error_type(end: dict[str, Any], failure: str, root: str, child: str) -> None:
    both = spans.build(decided(CALL), concluded(CALL, **end))
    assert [msgspec.json.decode(span.attributes)["error.type"] for span in both] == [failure, failure]
    assert [span.status for span in both] == [root, child]
    assert all(span.started <= span.ended for span in both)


def test_an_aborted_stream_ends_with_finish_reason_error() -> None:
    _, client = _attributes({"stream": True}, {"outcome": "cut", "finish_reasons": None})
    assert client["gen_ai.response.finish_reasons"] == ["error"]


def test_a_refused_call_was_attempted_nowhere() -> None:
    end = {"outcome": "refused", "status": 401, "code": "UNAUTHORIZED", "attempts": 0, "tokens_input": None}
    [root] = spans.build(decided(CALL, method=None, route=None, path=None), concluded(CALL, **end))
    assert (root.name, root.status) == ("HTTP", "unset")  # the caller's fault is no error of a server span
    assert msgspec.json.decode(root.attributes)["error.type"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("origin", "address", "port"),
    [
        ("https://api.openai.com", "api.openai.com", 443),
        ("http://127.0.0.1:9001", "127.0.0.1", 9001),
        ("http://[::1]", "::1", 80),
        ("builtin:simulated", None, None),
        (None, None, None),
    ],
)
def test_the_address_is_the_origins(origin: str | None, address: str | None, port: int | None) -> None:
    _, client = _attributes({"origin": origin}, {"origin": None})
    assert (client.get("server.address"), client.get("server.port")) == (address, port)


def test_ids_say_when_a_call_began() -> None:
    assert ids.started(CALL) == START
    assert ids.started("not a uuid") is None
    assert ids.started("019a7000-0000-4000-8000-000000000000") is None  # version 4 says nothing of time
    assert ids.call_of(ids.trace_id(CALL)) == CALL
    assert len(ids.trace_id("anything else")) == 32
    assert ids.first_call(START) <= CALL < ids.first_call(START + 1000)
    assert ids.first_call(-1) == "00000000-0000-"
    assert ids.first_call(10**20) == "ffffffff-ffff-"
