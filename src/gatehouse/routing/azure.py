"""Azure OpenAI's paths: a resource in the host, a deployment in the path, and three surfaces.

Below our prefix, with resource R and deployment D:

| received | sent |
|---|---|
| `R/D/{path}` | `/openai/deployments/D/{path}` |
| `R/D/openai/deployments/M/{path}`, `R/D/deployments/M/{path}` | `/openai/deployments/D/{path}`; M is the model asked |
| `R/D/openai/{path}`, `R/openai/{path}` | `/openai/{path}` (models, responses, files: the resource's own) |
| `R/D/openai/v1/{path}`, `R/D/v1/{path}`, `R/openai/v1/{path}` | `/openai/v1/{path}` |
| `R/openai/deployments/D/{path}` | `/openai/deployments/D/{path}`; D is the model asked too |

The clients: `AzureOpenAI` appends `/openai/deployments/{model}/…` or `/openai/…` to its endpoint, `@ai-sdk/azure`
`/v1/…` or `/deployments/{model}/…` to its base URL. A deployment cannot be called `openai`: that name is the surface.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Origin
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing.endpoints import openai_endpoint
from gatehouse.routing.paths import split_version

FIXED_RESOURCE: Final = "default"
"""Stands for the resource in our own addresses where Azure's host is fixed and nobody named one."""

_RESOURCE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FORM: Final = "/{resource}/{deployment}/{path}"


class AzurePlaced(NamedTuple):
    """Where an Azure path goes. `path` is without the provider's base path."""

    resource: str
    path: str
    endpoint: str
    deployment: str | None
    model: str | None


def is_azure(entry: ProviderEntry) -> bool:
    """Whether a provider's paths have Azure's form: the built-in one, also at a fixed host, and templates."""
    return (entry.host_template is not None and not entry.regions) or entry.name == "azure"


def place_azure(entry: ProviderEntry, tail: str, post: bool) -> AzurePlaced:
    """A path below Azure's prefix. Raises `GatehouseError`: 404 without a resource, 400 for one that is no name."""
    resource, _, below = tail[1:].partition("/")
    deployment, slash, rest = below.partition("/")
    if not resource or not deployment:
        raise GatehouseError(errors.NOT_FOUND, f"an Azure route is {entry.prefix}{_FORM}")
    if not _RESOURCE.fullmatch(resource):
        raise GatehouseError(
            errors.BAD_REQUEST,
            f"an Azure resource name is made of a-z, 0-9 and `-`, at most 63 of them: {entry.prefix}{_FORM}",
        )
    rest = slash + rest
    if deployment == "openai":
        return resource_level(resource, rest, post)
    if rest == "/openai" or rest.startswith("/openai/"):
        rest = rest.removeprefix("/openai")
        if not rest.startswith("/deployments/"):
            return resource_level(resource, rest, post)
    if rest.startswith("/deployments/"):
        model, slash, inner = rest.removeprefix("/deployments/").partition("/")
        return _deployed(resource, deployment, unquote(model) or None, slash + inner, post)
    if split_version(rest)[0] == "/v1":
        return resource_level(resource, rest, post)
    return _deployed(resource, deployment, None, rest, post)


def resource_level(resource: str, rest: str, post: bool) -> AzurePlaced:
    """A path below `/openai` of a resource."""
    if rest.startswith("/deployments/"):
        deployment, slash, inner = rest.removeprefix("/deployments/").partition("/")
        return _deployed(resource, deployment, unquote(deployment) or None, slash + inner, post)
    found, inner = split_version(rest)
    return AzurePlaced(resource, f"/openai{found}{inner}", openai_endpoint(inner, post), None, None)


def azure_origin(entry: ProviderEntry, resource: str) -> Origin:
    """The host that serves a resource: from the template, or the fixed one that replaces it."""
    if entry.host_template is None:
        return entry.origin
    return Origin(entry.origin.scheme, entry.host_template.replace("{resource}", resource), entry.origin.port)


def _deployed(resource: str, deployment: str, model: str | None, inner: str, post: bool) -> AzurePlaced:
    path = f"/openai/deployments/{deployment}{inner}"
    return AzurePlaced(resource, path, openai_endpoint(inner, post), unquote(deployment) or None, model)
