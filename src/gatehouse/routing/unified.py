"""The unified API: `/v1/…`, `/v1beta/…` for the caller's project, `/api/{uuid}/v1/…` for a named one.

Such a path says which dialect is spoken, and nothing of the provider: that follows from the model, when the body is
read. `provider:model` names it; a bare model goes to a provider of the same dialect that the project may use and whose
price list has it. Azure's own paths (`…/v1/openai/deployments/…`) go to the resource that the project has a credential
for. Nothing is converted from one dialect to another here.

Pure. What a project may use, and what is listed, is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.http.message import Headers
from gatehouse.model.call import Dialect, Origin, Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing import compat
from gatehouse.routing.azure import FIXED_RESOURCE, azure_origin, is_azure, resource_level
from gatehouse.routing.endpoints import place
from gatehouse.routing.paths import split_version
from gatehouse.routing.regions import region_of, region_origin

NOBODY: Final = Origin("builtin", "", 0)
"""Origin of a route whose provider is not known yet."""

AZURE: Final = "azure"
_OWN: Final = re.compile(r"/v1(?:beta\d*)?(?:/|$)")
_PROJECT: Final = re.compile(r"/api/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(/v1(?:beta\d*)?(?:/.*)?)")
_NAMED_GOOGLE: Final = re.compile(r"(.*/models/)([a-z0-9-]+)(?::|%3[Aa])([^/]+(?::|%3[Aa])[A-Za-z]+)")
_ALIAS_PREFIXES: Final = frozenset(("gatehouse", "promptgate"))
"""Reserved provider names: what follows is an alias of the project."""

_SPEAKERS: Final[dict[Dialect, ProviderEntry]] = {
    "openai": ProviderEntry(name="", prefix="", dialect="openai", origin=NOBODY),
    "anthropic": ProviderEntry(name="", prefix="", dialect="anthropic", origin=NOBODY),
    "google": ProviderEntry(name="", prefix="", dialect="google", origin=NOBODY, version="/v1beta"),
}
"""Stand for whichever provider it will be."""


class Place(NamedTuple):
    """A path of the unified API, read."""

    project: str | None
    """The uuid in it, lower case."""
    tail: str
    """As below a provider's prefix: `/v1/chat/completions`."""


class Chosen(NamedTuple):
    """The provider a call goes to."""

    provider: str
    model: str | None
    """As the provider calls it."""
    renamed: bool
    """The caller wrote more than that (`openai:gpt-4o`): the body needs the provider's word for it."""


def placed(path: str) -> Place | None:
    """The path's parts; `None` for what is no path of the unified API."""
    if _OWN.match(path):
        return Place(None, path)
    if path.startswith(compat.PROXY) and path[len(compat.PROXY) :][:1] in ("", "/"):
        return Place(None, path[len(compat.PROXY) :])
    match = _PROJECT.fullmatch(path)
    return None if match is None else Place(match[1].lower(), match[2])


def open_route(place_: Place, post: bool, query: str, headers: Headers) -> Route:
    """The route as far as the path tells, and where three dialects share a path, the headers."""
    claim = compat.claim_by_path(place_.tail) or compat.claim_by_headers(query, headers)
    if claim == "azure":
        return _open_azure(place_, post)
    tail, provider = place_.tail, ""
    named = _NAMED_GOOGLE.fullmatch(tail) if claim == "google" else None
    if named is not None:
        tail, provider = named[1] + named[3], named[2]
    found = place(_SPEAKERS[claim], tail, post)
    return Route(
        surface="unified",
        provider=provider,
        dialect=found.dialect,
        endpoint=found.endpoint,
        path=found.path,
        origin=NOBODY,
        prefix=f"/api/{place_.project}" if place_.project is not None else "",
        model=found.model,
        tail=tail,
        project=place_.project,
    )


def _open_azure(place_: Place, post: bool) -> Route:
    """What `AzureOpenAI` appends to its endpoint. The resource follows from the project's credential."""
    version, rest = split_version(place_.tail)
    if version not in ("", "/v1"):
        raise GatehouseError(errors.NOT_FOUND, "nothing is served here; Azure's deployments are below /v1/openai")
    found = resource_level("", rest.removeprefix("/openai"), post)
    return Route(
        surface="unified",
        provider=AZURE,
        dialect="openai",
        endpoint=found.endpoint,
        path=found.path,
        origin=NOBODY,
        prefix="",
        model=found.model,
        deployment=found.deployment,
        project=place_.project,
    )


def azure_route(route: Route, entry: ProviderEntry | None, origins: Collection[str]) -> Route:
    """The whole route of a call to Azure. `origins`: those the project has credentials for. Raises `GatehouseError`."""
    if entry is None:
        raise GatehouseError(errors.NOT_FOUND, "provider azure is switched off: providers.azure.enabled is false")
    if not origins:
        raise _no_credential(AZURE)
    if len(origins) > 1:
        raise GatehouseError(
            errors.BAD_REQUEST,
            "this project has credentials for several Azure resources; name one by its own route, "
            f"{entry.prefix}/{{resource}}/{{deployment}}",
        )
    [text] = origins
    resource = text.partition("://")[2].partition(".")[0] if entry.host_template is not None else FIXED_RESOURCE
    return Route(
        surface="unified",
        provider=AZURE,
        dialect="openai",
        endpoint=route.endpoint,
        path=entry.base_path + route.path,
        origin=azure_origin(entry, resource),
        prefix=f"{entry.prefix}/{resource}",
        model=route.model,
        deployment=route.deployment,
        project=route.project,
    )


def choose(
    route: Route,
    model: str | None,
    entries: Mapping[str, ProviderEntry],
    usable: Callable[[str], bool],
    listed: Callable[[str, str], bool],
) -> Chosen:
    """The provider for a model. `usable`: whether the project may use a provider by this name; `listed`: whether
    (provider, model) has a price. Raises `GatehouseError`."""
    name = model
    if route.provider:
        name = f"{route.provider}:{model or ''}"
    prefix, colon, rest = (name or "").partition(":")
    if colon and prefix in _ALIAS_PREFIXES:
        raise GatehouseError(errors.NOT_FOUND, f"this project has no alias `{rest}`")
    if colon and (route.provider or prefix in entries) and not rest:
        raise GatehouseError(errors.BAD_REQUEST, f"`{name}` names no model of the provider")
    if route.provider and prefix not in entries:
        raise GatehouseError(errors.NOT_FOUND, f"there is no provider {prefix} here")
    if colon and prefix in entries:
        if not entries[prefix].origin.builtin:
            _check(prefix, usable)
        return Chosen(prefix, rest, renamed=not route.provider)
    if model is not None and model in entries and entries[model].origin.builtin:
        return Chosen(model, model, renamed=False)
    speakers = [each for each, entry in entries.items() if entry.dialect == route.dialect and usable(each)]
    if not speakers:
        raise GatehouseError(
            errors.NO_CREDENTIAL,
            f"this project has no credential for a provider that speaks {route.dialect}; "
            "bind one: gatehouse project enable PROVIDER --credential NAME",
        )
    listing = [each for each in speakers if model is not None and listed(each, model)]
    candidates = listing or speakers
    default = route.dialect if route.dialect in candidates else candidates[0]
    if not listing and model is not None and len(speakers) > 1 and route.dialect not in speakers:
        known = ", ".join(speakers)
        raise GatehouseError(
            errors.NOT_FOUND,
            f"no provider of this project is known to have the model `{model}`; "
            f"write PROVIDER:{model}, with one of {known}",
        )
    return Chosen(default, model, renamed=False)


def route_to(route: Route, entry: ProviderEntry, post: bool, origins: Collection[str] = ()) -> Route:
    """The whole route of a call to this provider. Raises `GatehouseError` where it speaks another dialect.

    `origins`: those the project has credentials for, where the provider has one for each region.
    """
    if is_azure(entry):
        raise GatehouseError(
            errors.BAD_REQUEST,
            f"provider {entry.name} is reached by its own route, {entry.prefix}/{{resource}}/{{deployment}}",
        )
    found = place(entry, route.tail, post)
    if found.dialect != route.dialect:
        raise GatehouseError(
            errors.BAD_REQUEST,
            f"provider {entry.name} does not speak {route.dialect}, which this path does; "
            f"its own route is {entry.prefix}",
        )
    return Route(
        surface="unified",
        provider=entry.name,
        dialect=found.dialect,
        endpoint=found.endpoint,
        path=found.path,
        origin=entry.origin if entry.regions != "prefix" else _only_region(entry, origins),
        prefix=route.prefix,
        model=found.model,
        tail=route.tail,
        project=route.project,
    )


def _only_region(entry: ProviderEntry, origins: Collection[str]) -> Origin:
    """Raises `GatehouseError`."""
    if not origins:
        raise _no_credential(entry.name)
    if len(origins) > 1:
        raise GatehouseError(
            errors.BAD_REQUEST,
            f"this project has credentials for several regions of {entry.name}; name one by its own route, "
            f"{entry.prefix}/{{region}}",
        )
    [text] = origins
    return region_origin(entry, region_of(entry, text))


def _check(provider: str, usable: Callable[[str], bool]) -> None:
    if not usable(provider):
        raise _no_credential(provider)


def _no_credential(provider: str) -> GatehouseError:
    return GatehouseError(
        errors.NO_CREDENTIAL,
        f"this project has no credential for provider {provider}; "
        f"bind one: gatehouse project enable {provider} --credential NAME",
    )
