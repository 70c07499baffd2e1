"""O7: an `ongoingai.yaml` is translated; what cannot be is named, never dropped; secrets are not repeated.

Key names and defaults: the OngoingAI gateway's public configuration reference (docs/reference/config-reference.mdx) and
the later versions' `tracing.retention`, `backup` and `dashboard` sections.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.config.importing import Imported, translate
from gatehouse.config.settings import Capture, Database, Provider, Server, Settings
from gatehouse.errors import ConfigError
from tests.config.loading import load

SECRET = "s3cr3t-value"

BASELINE: dict[str, Any] = {
    "server": {"host": "0.0.0.0", "port": 8080},  # noqa: S104
    "storage": {"driver": "sqlite", "path": "./data/ongoingai.db", "dsn": ""},
    "providers": {
        "openai": {"upstream": "https://api.openai.com", "prefix": "/openai"},
        "anthropic": {"upstream": "https://api.anthropic.com", "prefix": "/anthropic"},
    },
    "tracing": {
        "capture_bodies": False,
        "body_max_size": 1048576,
        "retention": {"days": 14, "cleanup_enabled": False, "cleanup_daily_at": "02:00"},
    },
    "observability": {
        "otel": {"enabled": False, "endpoint": "localhost:4318", "sampling_ratio": 1.0, "prometheus_enabled": False}
    },
    "pii": {
        "mode": "",
        "policy_id": "default/v1",
        "stages": {"request_headers": True},
        "detectors": {"email": True},
        "headers": {"denylist": ["authorization", "cookie"]},
        "body": {"key_denylist": ["email"]},
        "replacement": {"format": "[{type}_REDACTED:{hash}]", "hash_salt": SECRET},
        "scopes": [{"match": {"provider": "openai"}, "mode": "block"}],
    },
    "auth": {
        "enabled": True,
        "header": "X-OngoingAI-Gateway-Key",
        "keys": [{"id": "dev-1", "token": SECRET, "role": "developer", "permissions": ["proxy:write"]}],
    },
    "limits": {"per_key": {"requests_per_minute": 120}, "per_workspace": {"max_cost_usd_per_day": 250}},
    "backup": {"request_details": {"enabled": False, "s3": {"bucket": "b"}}},
    "dashboard": {"enabled": True},
}


def run(theirs: object, folder: Path) -> tuple[Imported, Settings]:
    """Translate, and read the result as the gateway would: it is always valid."""
    imported = translate(yaml.safe_dump(theirs, sort_keys=False), "ongoingai.yaml")
    path = folder / "gatehouse.yaml"
    path.write_text(imported.text)
    return imported, load(path, {})


def leaves(value: object, path: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, f"{path}[{index}]")]
    return [path]


def test_every_key_is_carried_over_or_named(tmp_path: Path) -> None:
    imported, ours = run(BASELINE, tmp_path)
    assert ours == Settings()  # The baseline is both systems' defaults, apart from what is not available yet.
    carried = {
        "server.port",
        "storage.driver",
        "tracing.capture_bodies",
        "tracing.body_max_size",
        "tracing.retention.days",
        "tracing.retention.cleanup_enabled",
        *(f"providers.{name}.{key}" for name in ("openai", "anthropic") for key in ("upstream", "prefix")),
    }
    assert {note.key for note in imported.notes} | carried == {*leaves(BASELINE), "tracing.retention"}
    for note in imported.notes:
        assert f"#   {note.key}: {note.why}\n" in imported.text
    assert SECRET not in imported.text


def test_what_both_have_is_translated(tmp_path: Path) -> None:
    _, ours = run(
        {
            "server": {"host": "localhost", "port": 9090},
            "providers": {
                "openai": {"upstream": "https://proxy.example/base/", "prefix": "/oa"},
                "my_llm": {"upstream": "https://llm.example", "prefix": "/llm"},
                "claude": {"upstream": "https://api.anthropic.com", "prefix": "/claude"},
            },
            "tracing": {
                "capture_bodies": True,
                "body_max_size": 12345,
                "retention": {"days": 14, "cleanup_enabled": True},
            },
            "pii": {"mode": "off"},
        },
        tmp_path,
    )
    assert ours == Settings(
        server=Server(host="localhost", port=9090),
        providers={
            "openai": Provider(base_url="https://proxy.example/base", prefix="/oa"),
            "my-llm": Provider(base_url="https://llm.example", prefix="/llm"),
            "claude": Provider(base_url="https://api.anthropic.com", dialect="anthropic"),
        },
        capture=Capture(bodies=True, max_bytes=12345),
        database=Database(keep_days=14),
    )


@pytest.mark.parametrize(
    ("theirs", "key", "why"),
    [
        ({"server": {"port": 1}}, "server.host", "is not set; OngoingAI then listens on all addresses"),
        ({"server": {"host": "10.0.0.1"}}, "server.host", "can be reached from other machines"),
        ({"server": {"port": "x"}}, "server.port", "is no whole number"),
        ({"server": {"port": 99999}}, "server.port", "left out: Expected `int` <= 65535"),
        ({"storage": {"driver": "postgres"}}, "storage.driver", "set database.url, postgresql://"),
        ({"storage": {"dsn": f"postgres://u:{SECRET}@h"}}, "storage.dsn", "holds a password, and is not repeated"),
        ({"tracing": {"capture_bodies": True}}, "tracing.capture_bodies", "bodies were redacted before"),
        ({"tracing": {"capture_bodies": "maybe"}}, "tracing.capture_bodies", "is neither true nor false"),
        ({"tracing": {"body_max_size": 0}}, "tracing.body_max_size", "is not positive"),
        (
            {"providers": {"openai": {"upstream": "https://x/v1"}}},
            "providers.openai.upstream",
            "loses its trailing /v1",
        ),
        ({"providers": {"x": {"prefix": "/x"}}}, "providers.x", "has no upstream; left out"),
        (
            {"providers": {"x": {"upstream": f"https://u:{SECRET}@h"}}},
            "providers.x.upstream",
            "left out: must not hold a user name or password",
        ),
        ({"providers": {"x": {"upstream": "https://h", "prefix": "/"}}}, "providers.x.prefix", "is the whole host"),
        (
            {"providers": {"x": {"upstream": "https://h", "prefix": "/api/x"}}},
            "providers.x.prefix",
            "left out: `/api` is reserved",
        ),
        (
            {"providers": {"a_b": {"upstream": "https://h"}, "a-b": {"upstream": "https://i"}}},
            "providers.a-b",
            "becomes `a-b`, which another provider is called already",
        ),
        ({"providers": {"health": {"upstream": "https://h"}}}, "providers.health", "left out: `health` is reserved"),
        ({"auth": {"enabled": True}}, "auth.enabled", "accounts are not in the configuration"),
        ({"whatever": {"x": 1}}, "whatever.x", "is no key that OngoingAI documents"),
        ({"server": 5}, "server", "is no key that OngoingAI documents"),
    ],
)
def test_what_is_not_translated_is_named(tmp_path: Path, theirs: object, key: str, why: str) -> None:
    imported, _ = run(theirs, tmp_path)
    assert [note.why for note in imported.notes if note.key == key and note.why.startswith(why)]
    assert SECRET not in imported.text


def test_an_import_opens_no_listener_to_the_network(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "10.0.0.1", "gw.example"):  # noqa: S104
        for auth in (True, False):
            _, ours = run({"server": {"host": host}, "auth": {"enabled": auth}}, tmp_path)
            assert (ours.server.host, ours.server.insecure) == ("127.0.0.1", False)


def test_a_provider_whose_address_is_refused_does_not_fall_back_to_the_default(tmp_path: Path) -> None:
    """I3: keys meant for the caller's own proxy must not go to api.openai.com instead."""
    _, ours = run({"providers": {"openai": {"upstream": "https://u:p@proxy.example"}}}, tmp_path)
    assert ours.providers == {"openai": Provider(enabled=False)}


def test_unreadable_files_name_the_line() -> None:
    with pytest.raises(ConfigError, match=r"^o\.yaml:2: "):
        translate("a: 1\n  b: 2\n", "o.yaml")
    with pytest.raises(ConfigError, match=r"^o\.yaml:2: a: is written twice"):
        translate("a: 1\na: 2\n", "o.yaml")
    with pytest.raises(ConfigError, match="holds no mapping of sections"):
        translate("- a\n", "o.yaml")


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
_LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-5, 100_000)
    | _TEXT
    | st.sampled_from(["https://h", "https://h/v1", "/x", "/api", "off", "localhost", "sqlite"])
)
_SECTION = st.dictionaries(
    st.sampled_from(["host", "port", "driver", "dsn", "capture_bodies", "body_max_size", "upstream", "prefix", "x.y"]),
    _LEAF | st.lists(_LEAF, max_size=2),
    max_size=4,
)
_FILES = st.dictionaries(
    st.sampled_from(["server", "storage", "providers", "tracing", "auth", "pii"]) | _TEXT,
    _LEAF | _SECTION | st.dictionaries(_TEXT | st.sampled_from(["openai", "api", "a_b"]), _LEAF | _SECTION, max_size=3),
    max_size=4,
)


@given(theirs=_FILES)
@settings(max_examples=200)
def test_whatever_the_file_says_the_result_is_valid(tmp_path_factory: pytest.TempPathFactory, theirs: Any) -> None:
    run(theirs, tmp_path_factory.getbasetemp())


@pytest.mark.parametrize(
    "section", [{"pii": {"mode": "off", "headers": {"denylist": ["x"]}}}, {"auth": {"enabled": False}}]
)
def test_what_was_off_is_not_missed(tmp_path: Path, section: object) -> None:
    imported, _ = run(section, tmp_path)
    assert [note.key for note in imported.notes if note.key.startswith(("pii", "auth"))] == []
