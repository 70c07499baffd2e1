"""Addresses in answers: what names the provider's origin is rewritten to our own route, anything else is left out.

A client that follows `Location`, `Operation-Location` or `x-goog-upload-url` must come back through the gateway, with
its key going nowhere else (I3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from gatehouse.errors import GatehouseError
from gatehouse.model.call import Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing.paths import refuse_unsafe
from gatehouse.routing.unified import placed

_PORTS: Final = {"http": 80, "https": 443}


def rewrite_location(value: bytes, route: Route, base_path: str, own_url: str) -> bytes | None:
    """`https://api.example.com/openai/v1/files/f` → `{own_url}/example/v1/files/f`; `None` where it leads elsewhere.

    `route`: where the answer came from. `base_path`: that provider's (`ProviderEntry.base_path`). `own_url`: scheme and
    host as the caller sees us, no trailing slash. Relative addresses count as the origin's own if they start with `/`.
    """
    try:
        text = value.decode("ascii").strip()
        parts = urlsplit(text)
        port = parts.port
        refuse_unsafe(parts.path or "/")
    except (ValueError, GatehouseError):
        return None
    origin = route.origin
    if parts.scheme or parts.netloc:
        scheme = parts.scheme or origin.scheme
        if scheme != origin.scheme or parts.username is not None or parts.hostname != origin.host.lower():
            return None
        if (port or _PORTS.get(scheme)) != origin.port:
            return None
    elif not parts.path:
        return None
    path = parts.path
    if base_path:
        if path != base_path and not path.startswith(f"{base_path}/"):
            return None
        path = path[len(base_path) :]
    if not route.prefix and placed(path) is None:
        return None  # on the unified API, which has no prefix, this would be an address of the management API
    rest = f"?{parts.query}" if parts.query else ""
    return f"{own_url}{route.prefix}{path}{rest}".encode("ascii")


class AddressRewriter:
    """`rewrite_location` for a worker: knows the providers' base paths and how callers see this gateway."""

    __slots__ = ("_base_paths", "_public_url", "_scheme")

    def __init__(self, providers: Mapping[str, ProviderEntry], public_url: str | None, *, tls: bool) -> None:
        self._base_paths = {name: entry.base_path for name, entry in providers.items()}
        self._public_url = public_url.rstrip("/") if public_url else None
        self._scheme = "https" if tls else "http"

    def __call__(self, value: bytes, route: Route, host: bytes) -> bytes | None:
        """`host`: the `Host` the caller used, checked by the guard."""
        own_url = self._public_url or f"{self._scheme}://{host.decode('ascii', 'replace')}"
        return rewrite_location(value, route, self._base_paths[route.provider], own_url)
