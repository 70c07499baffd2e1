"""Rules that a single key's type cannot say: what fits together, what is reserved.

Pure: no file, no socket, no look-up. All violations are returned, never only the first. A URL's text is never repeated
in a message: it may carry a password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gatehouse.config import addresses
from gatehouse.config.settings import Callouts, ModelPrice, Provider, RouteTimeouts, Secrets, Server, Settings
from gatehouse.model.access import ALGORITHMS

RESERVED: Final = frozenset(
    "api ui health metrics v1 v1beta v1alpha v1beta1 upload trueportai-services gatehouse promptgate assets static "
    "favicon.ico robots.txt .well-known".split()
)
"""First path segments that belong to the gateway itself, so no provider's name or prefix."""

COMPLIANCE_DAYS: Final = 183
"""Six months: what the EU AI Act asks of a deployer's records (Art. 26(6))."""

Violation = tuple[str, str]
"""Key path and what is wrong with it."""

_NAME: Final = re.compile(r"[a-z0-9-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")


def check(settings: Settings) -> list[Violation]:
    """Everything that is wrong with settings whose single values are right."""
    return [
        *_server(settings),
        *_limits(settings),
        *_providers(settings.providers),
        *(problem for index, route in enumerate(settings.routes) for problem in _route(f"routes[{index}]", route)),
        *(
            problem
            for index, price in enumerate(settings.prices.models)
            for problem in _price(f"prices.models[{index}]", price)
        ),
        *_journal(settings),
        *_origins(settings.cors.origins),
        *_secrets(settings.secrets),
        *_sso(settings),
        *_callouts(settings.callouts),
        *_redis(settings),
        *_database(settings),
    ]


def is_loopback(host: str) -> bool:
    """Whether a listener on `host` is reachable from this machine only."""
    return host.lower().rstrip(".") == "localhost" or addresses.is_loopback(host)


def _server(settings: Settings) -> Iterator[Violation]:
    server = settings.server
    if not _is_host(server.host):
        yield "server.host", "is no address or host name, such as 127.0.0.1 or ::1 (no scheme, no port)"
    elif not (is_loopback(server.host) or settings.auth.enabled or server.insecure):
        yield (
            "server.host",
            "can be reached from other machines, and auth.enabled is false; listen on 127.0.0.1, "
            "or set server.insecure: true (--insecure) if everyone who reaches it may use it",
        )
    if server.public_url is not None:
        for what in _url_problems(server.public_url):
            yield "server.public_url", what
    yield from _names(server)
    if (server.tls_cert is None) != (server.tls_key is None):
        given, missing = ("tls_cert", "tls_key") if server.tls_key is None else ("tls_key", "tls_cert")
        yield f"server.{given}", f"needs server.{missing} beside it; TLS takes both"


def _names(server: Server) -> Iterator[Violation]:
    for index, name in enumerate(server.allowed_hosts):
        if not _is_host(name):
            yield f"server.allowed_hosts[{index}]", "must be a host name alone: no scheme, port, path or `*`"
    for index, network in enumerate(server.trusted_proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield f"server.trusted_proxies[{index}]", "must be an address or a network, such as 10.0.0.0/8"


def _limits(settings: Settings) -> Iterator[Violation]:
    limits = settings.limits
    if limits.url_bytes > limits.header_bytes:
        yield "limits.url_bytes", f"is above limits.header_bytes ({limits.header_bytes}), which includes it"
    if limits.body_bytes > limits.body_memory:
        yield (
            "limits.body_bytes",
            f"is above limits.body_memory ({limits.body_memory}): such a body could never be held",
        )


def _providers(providers: dict[str, Provider]) -> Iterator[Violation]:
    prefixes: dict[str, str] = {}
    for name, provider in providers.items():
        key = f"providers.{name}"
        if not _NAME.fullmatch(name):
            yield key, "a provider's name is made of a–z, 0–9 and `-`"
        elif name in RESERVED:
            yield key, f"`{name}` is reserved for the gateway's own paths; choose another name"
        if provider.base_url is not None:
            for what in _base_url_problems(provider.base_url):
                yield f"{key}.base_url", what
        if provider.prefix is not None:
            for what in _prefix_problems(provider.prefix):
                yield f"{key}.prefix", what
        if provider.enabled:
            prefix = provider.prefix or f"/{name}"
            if prefix in prefixes:
                yield f"{key}.prefix", f"{prefix} is already the prefix of providers.{prefixes[prefix]}"
            prefixes.setdefault(prefix, name)


def _prefix_problems(prefix: str) -> Iterator[str]:
    segments = prefix.split("/")
    if segments[0] or len(segments) < 2:
        yield "must start with `/`: `/openai`"
    elif prefix.endswith("/"):
        yield "must not end with `/`"
    elif not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments[1:]):
        yield "may hold letters, digits and `-._~` between single slashes, and no `.` or `..` segment"
    elif segments[1].lower() in RESERVED:
        yield f"`/{segments[1]}` is reserved for the gateway's own paths; choose another prefix"


def _base_url_problems(url: str) -> Iterator[str]:
    yield from _url_problems(url)
    path = url.partition("://")[2].partition("/")[2].rstrip("/")
    last = path.rpartition("/")[2]
    if last in ("v1", "v1beta"):
        yield f"must not end in `/{last}`: give what precedes it; the version comes with the caller's path"


def _url_problems(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield "is no URL; must look like https://host or https://host:port/path"
        return
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url):
        yield "holds a space, a backslash or a character that is not ASCII"
    elif parts.scheme not in ("http", "https") or not parts.hostname:
        yield "must start with http:// or https:// and name a host"
    elif not _is_host(_resource(parts)) or port == 0:
        yield "names no valid host and port"
    elif parts.username is not None or parts.password is not None:
        yield "must not hold a user name or password"
    elif "?" in url or "#" in url:
        yield "must not hold a query or a fragment"
    elif any(not segment.strip(".") and segment for segment in parts.path.split("/")):
        yield "must not hold `.` or `..` in its path"


def _resource(parts: SplitResult) -> str:
    """The host, with the placeholders that are known (`https://{resource}.openai.azure.com`, `{region}`) filled in."""
    return (parts.hostname or "").replace("{resource}", "x").replace("{region}", "x")


def _is_host(host: str) -> bool:
    if ":" in host or host.replace(".", "").isdigit():
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None and ".." not in host


def _route(key: str, route: RouteTimeouts) -> Iterator[Violation]:
    if not route.match.startswith(("/", "*")):
        yield f"{key}.match", "must start with `/` or `*`: it is matched against the whole path"
    if route.connect is None and route.first_byte is None and route.idle is None:
        yield key, "changes nothing; give connect, first_byte or idle"


def _price(key: str, price: ModelPrice) -> Iterator[Violation]:
    if "*" in price.model[:-1]:
        yield f"{key}.model", "`*` may stand only at the end"
    if not price.model:
        yield f"{key}.model", "is empty; must name a model"


def _journal(settings: Settings) -> Iterator[Violation]:
    journal = settings.journal
    if journal.segment_bytes > journal.max_bytes:
        yield "journal.segment_bytes", f"is above journal.max_bytes ({journal.max_bytes}), which bounds all segments"
    if settings.profile == "compliance":
        if journal.durability != "disk":
            yield "journal.durability", "must be disk under profile: compliance"
        if journal.when_full != "refuse":
            yield "journal.when_full", "must be refuse under profile: compliance"
        if journal.keep_days < COMPLIANCE_DAYS:
            yield "journal.keep_days", f"must be at least {COMPLIANCE_DAYS} under profile: compliance"


def _origins(origins: tuple[str, ...]) -> Iterator[Violation]:
    for index, origin in enumerate(origins):
        if list(_url_problems(origin)) or urlsplit(origin).path:
            yield f"cors.origins[{index}]", "must be scheme and host alone, https://app.example.com; `*` is not allowed"


def _secrets(secrets: Secrets) -> Iterator[Violation]:
    named = [name for name in ("key_file", "key_env", "key_command") if getattr(secrets, name)]
    for name in named[1:]:
        yield f"secrets.{name}", f"only one place can hold the master keys, and secrets.{named[0]} is set too"
    if secrets.key_env is not None and secrets.key_env.upper().startswith("GATEHOUSE_"):
        yield "secrets.key_env", "must not begin with GATEHOUSE_: such variables are settings"


def _sso(settings: Settings) -> Iterator[Violation]:
    sso = settings.sso
    if sso.issuer is None:
        if sso.client_id is not None:
            yield "sso.issuer", "is needed beside sso.client_id"
        return
    origin = "/".join(sso.issuer.split("/")[:3])
    for what in _url_problems(sso.issuer):
        yield "sso.issuer", what
    if sso.issuer.startswith("http:") and origin not in settings.callouts.private:
        yield "sso.issuer", "must be https://, or on loopback and listed in callouts.private"
    if not sso.client_id:
        yield "sso.client_id", "is needed beside sso.issuer"
    if sso.client_secret_file is not None and sso.client_secret_env is not None:
        yield "sso.client_secret_env", "only one place can hold the secret, and sso.client_secret_file is set too"
    if sso.client_secret_env is not None and sso.client_secret_env.upper().startswith("GATEHOUSE_"):
        yield "sso.client_secret_env", "must not begin with GATEHOUSE_: such variables are settings"
    if "openid" not in sso.scopes:
        yield "sso.scopes", "must hold openid"
    if not sso.algorithms or not ALGORITHMS.issuperset(sso.algorithms):
        yield "sso.algorithms", f"may hold {', '.join(sorted(ALGORITHMS))}"


def _callouts(callouts: Callouts) -> Iterator[Violation]:
    for index, origin in enumerate(callouts.private):
        key = f"callouts.private[{index}]"
        if list(_url_problems(origin)) or urlsplit(origin).path:
            yield key, "must be scheme and host alone: https://sso.corp.example"
        elif origin.startswith("http:") and not is_loopback(urlsplit(origin).hostname or ""):
            yield key, "must be https://: plain http is for loopback only"


def _redis(settings: Settings) -> Iterator[Violation]:
    """What can be told without connecting; `limits.shared.connection` looks closer."""
    if settings.redis.url is None:
        return
    scheme, _, rest = settings.redis.url.partition("://")
    if scheme not in ("redis", "rediss", "valkey", "valkeys", "unix"):
        yield "redis.url", "must begin with redis://, rediss:// or unix:///"
    elif scheme == "unix" and not rest.startswith("/"):
        yield "redis.url", "must name a socket's whole path: unix:///run/valkey.sock"
    elif scheme != "unix" and not rest.rpartition("@")[2].partition("/")[0].partition(":")[0]:
        yield "redis.url", "must name a host: redis://host:6379/0"


def _database(settings: Settings) -> Iterator[Violation]:
    """What can be told without the drivers; `store.engine.locate` looks closer."""
    if settings.database.url is None:
        return
    backend, _, rest = settings.database.url.partition("://")
    if backend in ("postgresql", "postgres", "postgresql+asyncpg"):
        if not rest.partition("?")[0].rpartition("@")[2].partition("/")[2]:
            yield "database.url", "must name a database: postgresql://user:password@host:5432/database"
    elif backend not in ("sqlite", "sqlite+aiosqlite"):
        yield "database.url", "must begin with postgresql:// or sqlite:///"
    elif not rest.startswith("/") or not rest[1:] or rest.startswith(("/:memory:", "/file:")) or "?" in rest:
        yield "database.url", "must name a file, without options: sqlite:////var/lib/gatehouse/store.db"
