"""From settings to provider entries: built-ins, overrides, own providers, and what is refused with its key named."""

from __future__ import annotations

import re

import pytest

from gatehouse.config.check import RESERVED
from gatehouse.config.settings import Metering, Provider, Settings, Simulated
from gatehouse.errors import ConfigError
from gatehouse.model.call import Origin
from gatehouse.providers.builtin import BUILTIN
from gatehouse.providers.entries import entries

LOCAL = {"ollama", "vllm", "lmstudio"}


def test_built_in_providers() -> None:
    found = entries(Settings())
    assert list(found) == [*(row.name for row in BUILTIN), "simulated"]
    assert {name for name, entry in found.items() if entry.private} == LOCAL
    for name, entry in found.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert name not in RESERVED
        assert entry.name == name
        assert entry.prefix == f"/{name}"
        assert not entry.base_path.endswith("/")
        assert entry.version == "" or re.fullmatch(r"(/[a-z0-9]+)+", entry.version)
        assert entry.origin.scheme == ("builtin" if name == "simulated" else "http" if name in LOCAL else "https")
    assert found["simulated"].origin == Origin("builtin", "simulated", 0)
    assert found["azure"].host_template == "{resource}.openai.azure.com"
    assert {name for name, entry in found.items() if not entry.ask_usage} == {
        "cerebras", "cohere", "mistral", "openrouter", "perplexity", "zai",
    }  # fmt: skip
    for name, url in (
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1"),
        ("google", "https://generativelanguage.googleapis.com/v1beta"),
        ("groq", "https://api.groq.com/openai/v1"),
        ("openrouter", "https://openrouter.ai/api/v1"),
        ("fireworks", "https://api.fireworks.ai/inference/v1"),
        ("cohere", "https://api.cohere.ai/compatibility/v1"),
        ("ollama", "http://127.0.0.1:11434/v1"),
    ):
        entry = found[name]
        assert f"{entry.origin}{entry.base_path}{entry.version}" == url


def test_overrides_change_only_what_they_say() -> None:
    changed = Provider(base_url="http://[::1]:9001/proxy/", prefix="/llm", ca_file="/ca.pem", ask_usage=False)
    entry = entries(Settings(providers={"openai": changed}))["openai"]
    assert entry.origin == Origin("http", "::1", 9001)
    assert (entry.base_path, entry.version, entry.prefix, entry.ca_file) == ("/proxy", "/v1", "/llm", "/ca.pem")
    assert entry.private, "the operator wrote the address down"
    assert not entry.ask_usage
    assert not entries(Settings(providers={"openai": Provider(prefix="/o")}))["openai"].private
    guarded = Provider(base_url="https://api.openai.com", private=False)
    assert not entries(Settings(providers={"openai": guarded}))["openai"].private


def test_switched_off() -> None:
    found = entries(Settings(providers={"openai": Provider(enabled=False)}, simulated=Simulated(enabled=False)))
    assert "openai" not in found
    assert "simulated" not in found
    assert "anthropic" in found


def test_asking_for_usage() -> None:
    assert not any(entry.ask_usage for entry in entries(Settings(metering=Metering(ask_usage=False))).values())
    on = Settings(metering=Metering(ask_usage=False), providers={"mistral": Provider(ask_usage=True)})
    assert entries(on)["mistral"].ask_usage


def test_own_providers() -> None:
    found = entries(
        Settings(
            providers={
                "my-llm": Provider(base_url="https://LLM.example.com:8443"),
                "claude": Provider(base_url="https://c.example.com/api", dialect="anthropic"),
                "gem": Provider(base_url="https://g.example.com", dialect="google"),
                "four": Provider(base_url="https://f.example.com/api/paas/v4/"),
                "azure-gov": Provider(base_url="https://{resource}.openai.azure.us"),
            }
        )
    )
    assert found["my-llm"].origin == Origin("https", "llm.example.com", 8443)
    assert (found["my-llm"].dialect, found["my-llm"].version) == ("openai", "/v1")
    assert (found["claude"].dialect, found["claude"].version, found["claude"].base_path) == ("anthropic", "/v1", "/api")
    assert found["gem"].version == "/v1beta"
    assert (found["four"].base_path, found["four"].version) == ("/api/paas", "/v4")
    assert found["azure-gov"].host_template == "{resource}.openai.azure.us"


def test_how_stored_credentials_go_into_requests() -> None:
    changed = {
        "openai-like": Provider(base_url="https://a.example"),
        "claude": Provider(base_url="https://b.example", dialect="anthropic"),
        "gem": Provider(base_url="https://c.example", dialect="google"),
        "azure-gov": Provider(base_url="https://{resource}.openai.azure.us"),
        "bedrock": Provider(base_url="https://bedrock-runtime.us-west-2.amazonaws.com", auth="bedrock"),
        "azure": Provider(base_url="https://mine.openai.azure.com"),
        "groq": Provider(base_url="https://d.example", dialect="anthropic"),
    }
    found = {name: entry.auth for name, entry in entries(Settings(providers=changed)).items()}
    assert {name: found[name] for name in changed} == {
        "openai-like": "bearer",
        "claude": "anthropic",
        "gem": "google",
        "azure-gov": "azure",
        "bedrock": "bedrock",
        "azure": "azure",
        "groq": "anthropic",
    }


@pytest.mark.parametrize(
    ("name", "provider", "says"),
    [
        ("mine", Provider(), r"providers\.mine\.base_url: is missing"),
        ("opnai", Provider(enabled=False), r"providers\.opnai\.base_url: is missing"),
        ("openai", Provider(base_url="https://api.openai.com/v1"), r"providers\.openai\.base_url: .*\(/v1\)"),
        ("google", Provider(base_url="https://x.example/v1beta/"), r"\(/v1beta\)"),
        ("zai", Provider(base_url="https://api.z.ai/api/paas/v4"), r"\(/v4\)"),
        ("deepinfra", Provider(base_url="https://api.deepinfra.com/v1/openai"), r"\(/v1/openai\)"),
        ("mine", Provider(base_url="ftp://x.example"), "http"),
        ("mine", Provider(base_url="https://"), "http"),
        ("mine", Provider(base_url="https://u:hunter2@x.example"), "no user"),
        ("mine", Provider(base_url="https://x.example:hunter2"), "is no URL"),
        ("mine", Provider(base_url="https://x.example/?a=hunter2"), "query"),
        ("mine", Provider(base_url="https://x.example/{resource}"), "first label"),
        ("mine", Provider(base_url="https://x-{resource}.example.com"), "first label"),
        ("mine", Provider(base_url="https://{resource}.com"), "first label"),
        (
            "mine",
            Provider(base_url="https://x.example", prefix="/openai"),
            r"mine\.prefix: /openai is already .* openai",
        ),
        ("simulated", Provider(), r"providers\.simulated: is built in"),
    ],
)
def test_what_is_refused_is_named(name: str, provider: Provider, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        entries(Settings(providers={name: provider}))
    assert "hunter2" not in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        entries(Settings(providers={"one": Provider(), "two": Provider(base_url="x")}))
    assert len(str(caught.value).splitlines()) == 2
