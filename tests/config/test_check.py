"""Rules across keys. I3: a provider's key can go to the provider's own address only, so that address is strict."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gatehouse.config.check import RESERVED, check, is_loopback
from gatehouse.config.settings import Settings


def violations(plain: dict[str, Any]) -> list[tuple[str, str]]:
    return check(msgspec.convert(plain, Settings, strict=True))


def keys(plain: dict[str, Any]) -> list[str]:
    return [key for key, _ in violations(plain)]


def test_the_defaults_are_right() -> None:
    assert check(Settings()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    assert violations({"server": {"host": host}}) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gw.example", "::ffff:10.0.0.1"])  # noqa: S104
def test_other_listeners_need_insecure_without_auth(host: str) -> None:
    ((key, what),) = violations({"server": {"host": host}})
    assert key == "server.host"
    assert "--insecure" in what
    assert violations({"server": {"host": host, "insecure": True}}) == []


@pytest.mark.parametrize("host", ["", "http://x", "a b", "a:80", "1234", "127.1", "-x", "a..b", "[::1]", "x" * 300])
def test_hosts_that_are_none(host: str) -> None:
    assert keys({"server": {"host": host, "insecure": True}}) == ["server.host"]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com",
        "https://api.groq.com/openai",
        "http://127.0.0.1:9001",
        "http://[::1]:9001/base/",
        "https://{resource}.openai.azure.com",
        "http://ollama_1:11434",
    ],
)
def test_base_urls(url: str) -> None:
    assert violations({"providers": {"x": {"base_url": url}}}) == []


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://api.openai.com/v1", "must not end in `/v1`"),
        ("https://api.openai.com/v1/", "must not end in `/v1`"),
        ("https://generativelanguage.googleapis.com/v1beta", "must not end in `/v1beta`"),
        ("api.openai.com", "must start with http:// or https:// and name a host"),
        ("ftp://api.openai.com", "must start with http:// or https:// and name a host"),
        ("https://", "must start with http:// or https:// and name a host"),
        ("https:///x", "must start with http:// or https:// and name a host"),
        ("https://u:p@h", "must not hold a user name or password"),
        ("https://@h", "must not hold a user name or password"),
        ("https://h/?a=b", "must not hold a query or a fragment"),
        ("https://h#x", "must not hold a query or a fragment"),
        ("https://h/a b", "holds a space"),
        ("https://h\n.evil", "holds a space"),
        ("https://h\\@evil", "holds a space, a backslash"),
        ("https://hé", "not ASCII"),
        ("https://h:99999", "is no URL"),
        ("https://h:0", "names no valid host and port"),
        ("https://h..x", "names no valid host and port"),
        ("https://h/a/../b", "must not hold `.` or `..`"),
        ("https://[::1", "is no URL"),
    ],
)
def test_base_urls_that_are_refused(url: str, what: str) -> None:
    found = violations({"providers": {"x": {"base_url": url}}})
    assert [key for key, _ in found] == ["providers.x.base_url"]
    assert what in found[0][1]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_and_prefixes(name: str) -> None:
    assert "providers." + name in keys({"providers": {name: {}}})
    assert keys({"providers": {"x": {"prefix": f"/{name}"}}}) == ["providers.x.prefix"]
    assert keys({"providers": {"x": {"prefix": f"/{name}/y"}}}) == ["providers.x.prefix"]


@pytest.mark.parametrize("name", ["", "My", "a_b", "a.b", "a/b", "ä"])
def test_provider_names(name: str) -> None:
    assert keys({"providers": {name: {}}}) == [f"providers.{name}"]


@pytest.mark.parametrize("prefix", ["", "x", "/", "/x/", "//x", "/x//y", "/x/../y", "/x/.", "/a b", "/a%2fb", "/a?b"])
def test_prefixes_that_are_refused(prefix: str) -> None:
    assert keys({"providers": {"x": {"prefix": prefix}}}) == ["providers.x.prefix"]


def test_prefixes_are_distinct_among_enabled_providers() -> None:
    providers: dict[str, Any] = {"a": {"prefix": "/x/y"}, "b": {"prefix": "/x/y"}, "c": {"prefix": "/d"}, "d": {}}
    assert violations({"providers": providers}) == [
        ("providers.b.prefix", "/x/y is already the prefix of providers.a"),
        ("providers.d.prefix", "/d is already the prefix of providers.c"),
    ]
    providers["b"]["enabled"] = providers["c"]["enabled"] = False
    assert violations({"providers": providers}) == []


@pytest.mark.parametrize(
    ("plain", "key"),
    [
        ({"server": {"tls_cert": "a"}}, "server.tls_cert"),
        ({"server": {"tls_key": "a"}}, "server.tls_key"),
        ({"server": {"public_url": "gw.example"}}, "server.public_url"),
        ({"server": {"allowed_hosts": ["a", "b:80"]}}, "server.allowed_hosts[1]"),
        ({"server": {"allowed_hosts": ["*"]}}, "server.allowed_hosts[0]"),
        ({"server": {"trusted_proxies": ["10.0.0.0/8", "x"]}}, "server.trusted_proxies[1]"),
        ({"limits": {"url_bytes": 100_000}}, "limits.url_bytes"),
        ({"limits": {"body_memory": 1000}}, "limits.body_bytes"),
        ({"routes": [{"match": "openai", "idle": 5}]}, "routes[0].match"),
        ({"routes": [{"match": "/openai"}]}, "routes[0]"),
        ({"prices": {"models": [{"provider": "a", "model": "a*b", "input": "1"}]}}, "prices.models[0].model"),
        ({"prices": {"models": [{"provider": "a", "model": "", "input": "1"}]}}, "prices.models[0].model"),
        ({"journal": {"max_bytes": 64 * 2**20, "segment_bytes": 65 * 2**20}}, "journal.segment_bytes"),
        ({"cors": {"origins": ["*"]}}, "cors.origins[0]"),
        ({"cors": {"origins": ["https://a.example/"]}}, "cors.origins[0]"),
        ({"secrets": {"key_file": "a", "key_env": "B"}}, "secrets.key_env"),
        ({"secrets": {"key_env": "B", "key_command": ["c"]}}, "secrets.key_command"),
        ({"secrets": {"key_env": "GATEHOUSE_KEYS"}}, "secrets.key_env"),
        ({"callouts": {"private": ["https://a.example", "b.example"]}}, "callouts.private[1]"),
        ({"sso": {"issuer": "https://sso.example"}}, "sso.client_id"),
        ({"sso": {"client_id": "x"}}, "sso.issuer"),
        ({"sso": {"issuer": "http://sso.example", "client_id": "x"}}, "sso.issuer"),
        ({"sso": {"issuer": "https://sso.example", "client_id": "x", "scopes": ["email"]}}, "sso.scopes"),
        ({"sso": {"issuer": "https://sso.example", "client_id": "x", "algorithms": ["HS256"]}}, "sso.algorithms"),
        (
            {
                "sso": {
                    "issuer": "https://sso.example",
                    "client_id": "x",
                    "client_secret_file": "/x",
                    "client_secret_env": "X",
                }
            },
            "sso.client_secret_env",
        ),
        ({"callouts": {"private": ["https://a.example/path"]}}, "callouts.private[0]"),
        ({"callouts": {"private": ["http://a.example"]}}, "callouts.private[0]"),
        ({"database": {"url": "mysql://h/db"}}, "database.url"),
        ({"database": {"url": "postgresql://u:p@h"}}, "database.url"),
        ({"database": {"url": "postgresql://u:p@h/?sslmode=require"}}, "database.url"),
        ({"database": {"url": "sqlite:///:memory:"}}, "database.url"),
        ({"database": {"url": "sqlite://"}}, "database.url"),
        ({"database": {"url": "sqlite:///x?mode=ro"}}, "database.url"),
        ({"redis": {"url": "http://h"}}, "redis.url"),
        ({"redis": {"url": "redis://:p@"}}, "redis.url"),
        ({"redis": {"url": "unix://v.sock"}}, "redis.url"),
    ],
)
def test_what_does_not_fit(plain: dict[str, Any], key: str) -> None:
    assert keys(plain) == [key]


def test_what_fits() -> None:
    assert (
        violations(
            {
                "server": {
                    "tls_cert": "a",
                    "tls_key": "b",
                    "public_url": "https://gw.example/ai/",
                    "allowed_hosts": ["gw.example", "10.0.0.1", "::1"],
                    "trusted_proxies": ["10.0.0.0/8", "10.1.1.1/8", "::1"],
                },
                "routes": [{"match": "*/responses", "first_byte": 5}],
                "cors": {"origins": ["https://a.example:8443", "http://localhost:3000"]},
                "database": {"url": "sqlite:///x.db"},
                "secrets": {"key_command": ["vault", "read"]},
                "callouts": {"private": ["https://sso.corp.example", "http://127.0.0.1:9001", "http://[::1]:9001"]},
                "journal": {"max_bytes": 64 * 2**20},
            }
        )
        == []
    )


def test_compliance_lets_nothing_weaken_the_record() -> None:
    strict = {"durability": "disk", "when_full": "refuse"}
    assert keys({"profile": "compliance", "journal": strict}) == []
    assert keys({"profile": "compliance", "journal": {**strict, "keep_days": 182}}) == ["journal.keep_days"]
    assert keys({"profile": "compliance"}) == ["journal.durability", "journal.when_full"]


def test_a_sign_on_provider_on_loopback_is_listed() -> None:
    plain = {
        "sso": {"issuer": "http://127.0.0.1:9001/realm", "client_id": "x"},
        "callouts": {"private": ["http://127.0.0.1:9001"]},
    }
    assert violations(plain) == []
