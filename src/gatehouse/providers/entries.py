"""From settings to what a worker routes by: built-in providers, what the configuration changes about them, own ones.

Pure: no file, no look-up. What a single key may say was checked by `config`; here stands what needs the built-in table:
a name nobody knows without `base_url`, two providers on one prefix, a base URL that already holds the version.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from gatehouse.config.settings import Provider, Settings
from gatehouse.errors import ConfigError
from gatehouse.model.call import Dialect, Origin
from gatehouse.model.snapshot import ProviderAuth, ProviderEntry
from gatehouse.providers.builtin import BUILTIN, SIMULATED, Builtin

_SCHEMES: Final[dict[str, tuple[Literal["http", "https"], int]]] = {"http": ("http", 80), "https": ("https", 443)}
_RESOURCE: Final = "{resource}"
_REGION: Final = "{region}"
_TEMPLATE: Final = re.compile(r"\{resource\}(\.[a-z0-9-]+){2,}")
_REGIONAL: Final = re.compile(r"([a-z0-9-]+\.)+\{region\}(\.[a-z0-9-]+){2,}")
_VERSION: Final = re.compile(r"(?P<before>.*)(?P<version>/v\d+(?:(?:alpha|beta)\d*)?)")
_DEFAULT_VERSIONS: Final[dict[Dialect, str]] = {"openai": "/v1", "anthropic": "/v1", "google": "/v1beta"}
_DEFAULT_AUTH: Final[dict[Dialect, ProviderAuth]] = {"openai": "bearer", "anthropic": "anthropic", "google": "google"}
_UNCHANGED: Final = Provider()


def entries(settings: Settings) -> dict[str, ProviderEntry]:
    """Every enabled provider by name.

    Raises `ConfigError`, one line per problem: a new provider without `base_url`, a base URL that is none or ends in
    the version, two providers on one prefix, `providers.simulated` (it has a section of its own).
    """
    builtin = {row.name: row for row in BUILTIN}
    own = {name: Builtin(name, "") for name in settings.providers if name not in builtin}
    found: dict[str, ProviderEntry] = {}
    problems: list[str] = []
    for name, row in (builtin | own).items():
        changed = settings.providers.get(name, _UNCHANGED)
        if name == SIMULATED:
            problems.append(f"providers.{name}: is built in; its settings are the section `{SIMULATED}`")
        elif changed.enabled or (name in own and not changed.base_url):
            # Whoever switches off what nobody is called has misspelt what stays on.
            try:
                found[name] = _entry(row, changed, settings.metering.ask_usage)
            except ValueError as error:
                problems.append(f"providers.{name}.base_url: {error}")
    if settings.simulated.enabled:
        found[SIMULATED] = ProviderEntry(
            name=SIMULATED,
            prefix=f"/{SIMULATED}",
            dialect="openai",
            origin=Origin("builtin", SIMULATED, 0),
            ask_usage=settings.metering.ask_usage,
        )
    problems.extend(_collisions(found))
    if problems:
        raise ConfigError("\n".join(problems))
    return found


class _Base(NamedTuple):
    """A base URL, read."""

    origin: Origin
    path: str
    version: str
    host_template: str | None


def _entry(row: Builtin, changed: Provider, ask_usage: bool) -> ProviderEntry:
    dialect = changed.dialect or row.dialect
    version = row.version if row.base_url else _DEFAULT_VERSIONS[dialect]
    base = _base(changed.base_url or row.base_url, version)
    host_template, regions = base.host_template, _regions(base)
    if row.regional_host is not None and changed.base_url is None:
        host_template, regions = row.regional_host, "path"
    return ProviderEntry(
        name=row.name,
        prefix=changed.prefix or f"/{row.name}",
        dialect=dialect,
        origin=base.origin,
        base_path=base.path,
        version=base.version,
        unversioned=row.unversioned,
        host_template=host_template,
        regions=regions,
        ca_file=changed.ca_file,
        private=changed.private if changed.private is not None else row.local or changed.base_url is not None,
        ask_usage=changed.ask_usage if changed.ask_usage is not None else ask_usage and row.ask_usage,
        propagates=changed.trace_context == "propagate",
        auth=changed.auth or _auth(row, dialect, base),
    )


def _regions(base: _Base) -> Literal["", "prefix", "path"]:
    return "prefix" if base.host_template is not None and _REGION in base.host_template else ""


def _auth(row: Builtin, dialect: Dialect, base: _Base) -> ProviderAuth:
    if row.base_url and dialect == row.dialect:
        return row.auth
    return "azure" if base.host_template is not None and not _regions(base) else _DEFAULT_AUTH[dialect]


def _base(url: str, version: str) -> _Base:
    """Read a base URL. A trailing version that is neither the provider's own nor `/v1` (`…/paas/v4`) takes its place.

    Raises `ValueError` with a sentence that does not repeat the URL: it may hold a password.
    """
    if not url:
        raise ValueError("is missing; a provider that is not built in needs one")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _SCHEMES or not host or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be http:// or https:// with a host, and no user, query or fragment")
    path = parts.path.rstrip("/")
    trailing = _VERSION.fullmatch(path)
    if version and path.endswith(version):
        raise ValueError(f"must not end in the version ({version}): give what precedes it")
    if trailing and trailing["version"] in _DEFAULT_VERSIONS.values():
        raise ValueError(f"must not end in the version ({trailing['version']}): give what precedes it")
    if trailing:
        path, version = trailing["before"], trailing["version"]
    template = None
    if _RESOURCE in url:
        if not _TEMPLATE.fullmatch(host):
            raise ValueError("may hold {resource} only as the first label of the host: https://{resource}.example.com")
        template = host
    if _REGION in url:
        if not _REGIONAL.fullmatch(host):
            raise ValueError("may hold {region} only as a label within the host: https://name.{region}.example.com")
        template = host
    scheme, default_port = _SCHEMES[parts.scheme]
    return _Base(Origin(scheme, host, port or default_port), path, version, template)


def _collisions(found: dict[str, ProviderEntry]) -> list[str]:
    owners: dict[str, str] = {}
    problems = []
    for name, entry in found.items():
        other = owners.setdefault(entry.prefix, name)
        if other != name:
            problems.append(f"providers.{name}.prefix: {entry.prefix} is already the route of provider {other}")
    return problems
