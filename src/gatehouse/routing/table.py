"""Which request goes where: one ordered table over the raw path, first match wins.

1. faults of the path itself → 400
2. worker: `/health/live`, `/health/ready`
3. other systems' paths (`compat`)
4. control: `/`, `/ui…`, `/health`, `/metrics`, `/api/v1…`
5. providers by prefix, the longest first → data
6. with accounts: the unified API (`/v1…`, `/api/{project}/v1…`, and before 4. the proxy path of `compat`) → data
7. else → 404 that says what is served, or what a path that is known needs

Pure. Decisions are remembered per path within a bound, so a warm path costs one look-up; what was refused never is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Headers
from gatehouse.model.call import Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing import compat, unified
from gatehouse.routing.azure import FIXED_RESOURCE, AzurePlaced, azure_origin, is_azure, place_azure, resource_level
from gatehouse.routing.endpoints import place
from gatehouse.routing.paths import refuse_unsafe, split_version
from gatehouse.routing.regions import location_of, routed_origin, split_region

Plane = Literal["worker", "control", "data"]

_REMEMBERED: Final = 4096
_REMEMBERED_LENGTH: Final = 512

_WORKER: Final = frozenset(("/health/live", "/health/ready"))
_CONTROL: Final = frozenset(("/", "/health", "/metrics", "/ui", "/api/v1"))
_CONTROL_BELOW: Final = ("/api/v1/", "/ui/")
_UNIFIED: Final = re.compile(r"/v1(?:beta)?(?:/|$)")
_PROJECT: Final = re.compile(r"/api/[^/]+/v1(?:beta)?(?:/|$)")


class Resolution(msgspec.Struct, frozen=True):
    """Who answers. `path`: the canonical path on the worker's or the control plane; on data what `route` says."""

    plane: Plane
    path: str
    route: Route | None = None


class Router:
    """The route table of one snapshot. Build a new one beside it when providers change."""

    __slots__ = ("_entries", "_other", "_post", "_prefixes", "_unified")

    def __init__(self, providers: Mapping[str, ProviderEntry], *, unified: bool = False) -> None:
        """`unified`: serve the unified API, which needs accounts."""
        self._entries = dict(providers)
        self._unified = unified
        prefixes = sorted(providers.values(), key=lambda entry: len(entry.prefix), reverse=True)
        self._prefixes = [(entry.prefix, entry.prefix + "/", entry) for entry in prefixes]
        self._post: dict[str, Resolution] = {}
        self._other: dict[str, Resolution] = {}

    def resolve(self, method: bytes, raw_path: str, query: str, headers: Headers) -> Resolution:
        """Who answers a request. `raw_path` and `query` as received, without `?`.

        Raises `GatehouseError`: BAD_REQUEST for a path no upstream should see, NOT_FOUND for one nobody serves.
        """
        post = method == b"POST"
        memo = self._post if post else self._other
        known = memo.get(raw_path)
        if known is not None:
            return known
        refuse_unsafe(raw_path)
        resolution = self._shared(raw_path, query, headers, post)
        if resolution is not None:
            return resolution
        resolution = self._decide(raw_path, post, query, headers)
        if len(raw_path) <= _REMEMBERED_LENGTH:
            if len(memo) >= _REMEMBERED:
                memo.clear()  # the paths in use come back at once; ids that are asked for once do not stay
            memo[raw_path] = resolution
        return resolution

    def _shared(self, path: str, query: str, headers: Headers, post: bool) -> Resolution | None:
        """The paths whose route depends on more than the path: three dialects on one base."""
        if self._unified:
            place = unified.placed(path)
            if place is None or compat.claim_by_path(place.tail) is not None:
                return None
            return _open(place, post, query, headers)
        if not _below(path, compat.PROXY):
            return None
        tail = path[len(compat.PROXY) :]
        if compat.claim_by_path(tail) is not None:
            return None
        return self._provider(compat.claim_by_headers(query, headers), tail, post)

    def _decide(self, path: str, post: bool, query: str, headers: Headers) -> Resolution:
        place = unified.placed(path) if self._unified else None
        if place is not None:
            return _open(place, post, query, headers)
        if path in _WORKER:
            return Resolution("worker", path)
        control = compat.control_path(path)
        if control is not None:
            return Resolution("control", control)
        if _below(path, compat.PROXY):
            return self._proxy(path[len(compat.PROXY) :], post)
        for prefix, name in compat.DATA.items():
            if _below(path, prefix):
                return self._provider(name, path if prefix == compat.KEEPS_PREFIX else path[len(prefix) :], post)
        if path in _CONTROL or path.startswith(_CONTROL_BELOW):
            return Resolution("control", path)
        for prefix, below, entry in self._prefixes:
            if path.startswith(below) or path == prefix:
                return _data(entry, path[len(prefix) :], post)
        raise GatehouseError(errors.NOT_FOUND, self._absent(path))

    def _proxy(self, tail: str, post: bool) -> Resolution:
        claim = compat.claim_by_path(tail) or "openai"
        if claim != "azure":
            return self._provider(claim, tail, post)
        entry = self._entries.get(claim)
        if entry is None or entry.host_template is not None:
            raise GatehouseError(
                errors.NOT_FOUND,
                f"Azure calls on {compat.PROXY} need to know your resource: set providers.azure.base_url to its "
                "address, https://NAME.openai.azure.com, or use the route /azure/NAME/DEPLOYMENT",
            )
        _, rest = split_version(tail)
        return _azure(entry, resource_level(FIXED_RESOURCE, rest.removeprefix("/openai"), post))

    def _provider(self, name: str, tail: str, post: bool) -> Resolution:
        entry = self._entries.get(name)
        if entry is None:
            raise GatehouseError(
                errors.NOT_FOUND, f"provider {name} is switched off: providers.{name}.enabled is false"
            )
        return _data(entry, tail, post)

    def _absent(self, path: str) -> str:
        served = ", ".join(sorted(entry.prefix for entry in self._entries.values()))
        if _UNIFIED.match(path):
            return (
                "the unified API (/v1) needs accounts (gatehouse init, then serve); use a provider's own route: "
                f"{self._suggestion('openai', '/v1')}, {self._suggestion('anthropic', '')} or "
                f"{self._suggestion('google', '')} (providers: {served})"
            )
        if _PROJECT.match(path):
            if self._unified:
                return "a project's base URL is /api/UUID/v1 (gatehouse project show NAME); /v1 is the key's own"
            return f"/api/UUID/v1 needs accounts (gatehouse init, then serve); use a provider's own route: {served}"
        return f"nothing is served here; there are {served}, the API below /api/v1, /health and /metrics"

    def _suggestion(self, name: str, below: str) -> str:
        entry = self._entries.get(name)
        return f"{entry.prefix if entry else '/' + name}{below}"


def _open(place: unified.Place, post: bool, query: str, headers: Headers) -> Resolution:
    route = unified.open_route(place, post, query, headers)
    return Resolution("data", route.path, route)


def _below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


def _data(entry: ProviderEntry, tail: str, post: bool) -> Resolution:
    if is_azure(entry):
        return _azure(entry, place_azure(entry, tail, post))
    origin, prefix = entry.origin, entry.prefix
    if entry.regions == "prefix":
        region, tail = split_region(entry, tail)
        origin, prefix = routed_origin(entry, region), f"{prefix}/{region}"
    placed = place(entry, tail, post)
    if entry.regions == "path":
        origin = routed_origin(entry, location_of(placed.path))
    route = Route(
        surface="transparent",
        provider=entry.name,
        dialect=placed.dialect,
        endpoint=placed.endpoint,
        path=placed.path,
        origin=origin,
        prefix=prefix,
        model=placed.model,
    )
    return Resolution("data", placed.path, route)


def _azure(entry: ProviderEntry, placed: AzurePlaced) -> Resolution:
    path = entry.base_path + placed.path
    route = Route(
        surface="transparent",
        provider=entry.name,
        dialect="openai",
        endpoint=placed.endpoint,
        path=path,
        origin=azure_origin(entry, placed.resource),
        prefix=f"{entry.prefix}/{placed.resource}",
        model=placed.model,
        deployment=placed.deployment,
    )
    return Resolution("data", path, route)
