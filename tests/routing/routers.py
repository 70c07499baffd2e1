"""Routers for the tests here, and one line to ask them."""

from __future__ import annotations

from gatehouse.config.settings import Provider, Settings
from gatehouse.model.call import Route
from gatehouse.providers.entries import entries
from gatehouse.routing.table import Router


def router(**providers: Provider) -> Router:
    """The built-in table, with `providers` changed (`_` in a name means `-`)."""
    return Router(entries(Settings(providers={name.replace("_", "-"): value for name, value in providers.items()})))


def route(table: Router, path: str, method: bytes = b"POST", query: str = "", *names: bytes) -> Route:
    """The data-plane route of a path; `names` are headers that are present."""
    resolution = table.resolve(method, path, query, [(name, b"x") for name in names])
    assert resolution.plane == "data"
    assert resolution.route is not None
    return resolution.route


def upstream_url(found: Route) -> str:
    """Where a request on this route goes."""
    return f"{found.origin}{found.path}"
