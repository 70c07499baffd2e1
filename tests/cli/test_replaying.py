"""From a record to the request that is sent again: where it goes, and what cannot go anywhere. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from gatehouse.cli.provider_keys import Key, environment_key, key_header, variables
from gatehouse.cli.replaying import Impossible, Plan, plan, with_headers
from gatehouse.config.settings import Provider, Settings
from gatehouse.providers.entries import entries
from gatehouse.store.views import Body, Position, Trace

PROVIDERS = entries(Settings(providers={"mine": Provider(base_url="https://llm.example.com", dialect="anthropic")}))
BODY = b'{"model":"m","messages":[]}'


def trace(path: str, dialect: str = "openai", **facts: Any) -> Trace:
    """A call that was forwarded and ended."""
    known = {
        "id": "call-1",
        "method": "POST",
        "path": path,
        "dialect": dialect,
        "request_bytes": len(BODY),
        "stream": False,
        "streamed": False,
        "decision_record": Position("lane", 1, "t"),
        "outcome_record": Position("lane", 2, "t"),
        **facts,
    }
    return Trace(**{name: None for name in Trace.__struct_fields__} | known)


def body(data: bytes = BODY, **facts: Any) -> Body:
    known = {"content_type": "application/json", "content_encoding": None, "size": len(data), "truncated": False}
    return Body(data=data, **known | facts)


def planned(path: str, dialect: str = "openai", **asked: Any) -> Plan:
    return plan(trace(path, dialect), body(), PROVIDERS, **asked)


@pytest.mark.parametrize(
    ("path", "dialect", "provider", "moved"),
    [
        ("/openai/v1/chat/completions", "openai", "groq", "/groq/v1/chat/completions"),
        ("/openai/chat/completions", "openai", "zai", "/zai/chat/completions"),
        ("/zai/v4/chat/completions", "openai", "openai", "/openai/chat/completions"),
        ("/openai/v1/chat/completions", "openai", "deepinfra", "/deepinfra/chat/completions"),
        ("/trueportai-services/openai/v1/chat/completions", "openai", "groq", "/groq/v1/chat/completions"),
        ("/anthropic/v1/messages?beta=true", "anthropic", "openrouter", "/openrouter/v1/messages?beta=true"),
        ("/anthropic/messages", "anthropic", "mine", "/mine/v1/messages"),
        ("/deepseek/anthropic/v1/messages", "anthropic", "anthropic", "/anthropic/v1/messages"),
    ],
)
def test_another_provider(path: str, dialect: str, provider: str, moved: str) -> None:
    found = planned(path, dialect, provider=provider)
    assert (found.path, found.route.provider, found.body) == (moved, provider, BODY)
    assert found.route.path.startswith(PROVIDERS[provider].base_path + PROVIDERS[provider].version)


@pytest.mark.parametrize(
    ("path", "dialect", "provider", "why"),
    [
        ("/openai/v1/chat/completions", "openai", "anthropic", "not possible until Gatehouse converts"),
        ("/google/v1beta/models/m:generateContent", "google", "openai", "not possible until Gatehouse converts"),
        (
            "/google/v1beta/openai/chat/completions",
            "openai",
            "openai",
            "openai serves no chat at /openai/",
        ),
        ("/openai/v1/chat/completions", "openai", "azure", "Azure's paths name a resource"),
        ("/openai/v1/chat/completions", "openai", "nobody", "there is no provider nobody; there are anthropic, azure"),
        ("/gone/v1/chat/completions", "openai", None, "its path /gone/v1/chat/completions is no longer served"),
        ("/api/v1/traces", "openai", None, "not one of a provider"),
    ],
)
def test_where_it_cannot_go(path: str, dialect: str, provider: str | None, why: str) -> None:
    with pytest.raises(Impossible, match=why):
        planned(path, dialect, provider=provider)


RENAMED = b'{"model":"n","messages":[]}'
GOOGLE = "/google/v1beta/models/"


@pytest.mark.parametrize(
    ("path", "dialect", "model", "renamed", "sent"),
    [
        ("/openai/v1/chat/completions", "openai", "n", "/openai/v1/chat/completions", RENAMED),
        (f"{GOOGLE}m%2D1:generateContent?alt=sse", "google", "n", f"{GOOGLE}n:generateContent?alt=sse", BODY),
        (f"{GOOGLE}m%3AcountTokens", "google", "models/n/1", f"{GOOGLE}n%2F1%3AcountTokens", BODY),
        (
            "/azure/r/d/openai/deployments/m/chat/completions?api-version=2024-10-21",
            "openai",
            "n",
            "/azure/r/openai/deployments/n/chat/completions?api-version=2024-10-21",
            BODY,
        ),
        ("/azure/r/openai/v1/responses", "openai", "n", "/azure/r/openai/v1/responses", RENAMED),
    ],
)
def test_another_model(path: str, dialect: str, model: str, renamed: str, sent: bytes) -> None:
    """I1: in the body its own bytes, in the path its own segment."""
    found = planned(path, dialect, model=model)
    assert (found.path, found.body) == (renamed, sent)


@pytest.mark.parametrize(
    ("facts", "request_body", "why"),
    [
        ({"status": 101, "method": "GET", "request_bytes": 0}, None, "it was a WebSocket"),
        ({"streamed": True}, body(), "an upload that streamed through"),
        ({"outcome_record": Position("lane", 1, "t")}, body(), "ended before it was forwarded"),
        ({}, None, "Set capture.bodies: true"),
        ({}, body(size=99), "only 27 B of its 99 B were captured; raise capture.max_bytes"),
        ({}, body(truncated=True), "raise capture.max_bytes"),
    ],
)
def test_what_is_not_there_to_be_sent(facts: dict[str, Any], request_body: Body | None, why: str) -> None:
    with pytest.raises(Impossible, match=why):
        plan(trace("/openai/v1/responses", **facts), request_body, PROVIDERS)


def test_a_path_that_three_dialects_share() -> None:
    """Who was asked there is told by the header that its clients send, and that is sent again."""
    path = "/api/v1/gateway/proxy/v1/models"
    found = plan(trace(path, "anthropic", method="GET", request_bytes=0), None, PROVIDERS)
    assert (found.path, found.route.provider, found.body) == (path, "anthropic", None)
    assert ("anthropic-version", "2023-06-01") in found.headers
    assert "content-type" not in dict(found.headers)
    assert plan(trace(path, "openai", method="GET", request_bytes=0), None, PROVIDERS).route.provider == "openai"


def test_headers_of_the_caller_win() -> None:
    found = with_headers(planned("/anthropic/v1/messages", "anthropic"), [("Anthropic-Version", "2024-01-01")])
    assert [value for name, value in found.headers if name.lower() == "anthropic-version"] == ["2024-01-01"]
    assert dict(found.headers)["x-gatehouse-parent"] == "call-1"


@pytest.mark.parametrize(
    ("provider", "dialect", "environ", "header"),
    [
        ("openai", "openai", {"OPENAI_API_KEY": "k"}, ("authorization", "Bearer k")),
        ("anthropic", "anthropic", {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, ("x-api-key", "k")),
        ("anthropic", "anthropic", {"ANTHROPIC_AUTH_TOKEN": "t"}, ("authorization", "Bearer t")),
        ("anthropic", "anthropic", {"ANTHROPIC_API_KEY": "sk-ant-oat01-k"}, ("authorization", "Bearer sk-ant-oat01-k")),
        ("google", "google", {"GEMINI_API_KEY": "k"}, ("x-goog-api-key", "k")),
        ("google", "openai", {"GOOGLE_API_KEY": "k"}, ("authorization", "Bearer k")),
        ("azure", "openai", {"AZURE_OPENAI_API_KEY": "k"}, ("api-key", "k")),
        ("my-llm", "openai", {"MY_LLM_API_KEY": "k"}, ("authorization", "Bearer k")),
        ("deepseek", "anthropic", {"DEEPSEEK_API_KEY": "k", "ANTHROPIC_API_KEY": "no"}, ("x-api-key", "k")),
    ],
)
def test_a_key_from_its_providers_own_variable(
    provider: str, dialect: str, environ: dict[str, str], header: tuple[str, str]
) -> None:
    """I3: whatever else is set."""
    everything = {name: "another's" for name in ("OPENAI_API_KEY", "GROQ_API_KEY") if name not in environ}
    if provider == "openai":
        everything = {}
    key = environment_key(provider, {**everything, **environ})
    assert key is not None
    assert key_header(key, dialect, azure=provider == "azure") == header


def test_no_variable_no_key() -> None:
    assert environment_key("groq", {"OPENAI_API_KEY": "k"}) is None
    assert variables("groq") == ("GROQ_API_KEY",)
    assert key_header(Key("gth_live_x"), "anthropic", azure=False) == ("authorization", "Bearer gth_live_x")
