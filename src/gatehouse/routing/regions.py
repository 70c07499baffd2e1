"""Providers whose host names a region: Bedrock, where our path begins with it; Vertex AI, whose own path says it.

| received | sent to |
|---|---|
| `/bedrock/{region}/{path}` | `https://bedrock-runtime.{region}.amazonaws.com/{path}` |
| `/vertex/v1/projects/P/locations/{region}/{path}` | `https://{region}-aiplatform.googleapis.com/v1/projects/P/…` |
| the same with `locations/us` or `eu` | `https://aiplatform.{us, eu}.rep.googleapis.com/v1/projects/P/…` |
| the same with `locations/global`, and any other path | `https://aiplatform.googleapis.com/…` |

Rules: pure. A region is a name of letters, digits and `-`; the rest of a host is the provider's entry's (I3).
Sources: docs.aws.amazon.com (Bedrock endpoints), google-genai 3.4 `_api_client`, anthropic-py 2.11 `lib.vertex`.
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Origin
from gatehouse.model.snapshot import ProviderEntry

PLACEHOLDER: Final = "{region}"
_REGION: Final = re.compile(r"[a-z]{2,16}(?:-[a-z]{2,16}){0,3}-?[0-9]{0,2}")
_LOCATION: Final = re.compile(r"/projects/[^/]+/locations/([^/]*)")
_GLOBAL: Final = "global"
_MULTIPLE: Final = {"us": "aiplatform.us.rep.googleapis.com", "eu": "aiplatform.eu.rep.googleapis.com"}


def region_origin(entry: ProviderEntry, region: str | None) -> Origin:
    """The origin of a region; `None`: the one without. Raises `ValueError`: a sentence."""
    template = entry.host_template or ""
    if entry.regions == "path" and region in (None, _GLOBAL):
        return entry.origin
    if region is None:
        raise ValueError(f"a credential of provider {entry.name} is for one region; name it")
    if not _REGION.fullmatch(region):
        raise ValueError("is no region, such as us-west-2 or europe-west4")
    host = _MULTIPLE.get(region) if entry.regions == "path" else None
    return Origin(entry.origin.scheme, host or template.replace(PLACEHOLDER, region), entry.origin.port)


def region_of(entry: ProviderEntry, origin: str) -> str:
    """The region that a host from the template names: what `region_origin` made of it."""
    before, _, after = (entry.host_template or "").partition(PLACEHOLDER)
    return origin.partition("://")[2].partition(":")[0].removeprefix(before).removesuffix(after)


def split_region(entry: ProviderEntry, tail: str) -> tuple[str, str]:
    """`/us-west-2/model/m/invoke` → (`us-west-2`, `/model/m/invoke`). Raises `GatehouseError` (404)."""
    region, slash, rest = tail[1:].partition("/")
    if not region:
        raise GatehouseError(errors.NOT_FOUND, f"a route to {entry.name} is {entry.prefix}/{{region}}/{{path}}")
    return region, slash + rest


def routed_origin(entry: ProviderEntry, region: str | None) -> Origin:
    """As `region_origin`, of a region that a caller named. Raises `GatehouseError` (400)."""
    try:
        return region_origin(entry, region)
    except ValueError as error:
        raise GatehouseError(errors.BAD_REQUEST, f"the region in this path {error}") from None


def location_of(path: str) -> str | None:
    """The location that a path of Vertex AI names."""
    found = _LOCATION.search(path)
    return None if found is None else found[1]
