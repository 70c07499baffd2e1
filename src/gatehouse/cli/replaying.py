"""How a call on record is sent again: from the record and its captured body to one request. Pure: no I/O.

Rules: what was captured is sent as it was, content coding included; with another model only the model's own bytes
change (I1), in the body or, where the path names it, there. A key is never taken from a record. What the record does
not hold (headers, most of a query) is said, not guessed; `anthropic-version`, which Anthropic wants, is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from gatehouse.cli.difference import complete, decoded
from gatehouse.cli.words import size
from gatehouse.dialects.rename import rename_model
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing.azure import is_azure
from gatehouse.routing.table import Router
from gatehouse.store.views import Body, Trace

_ANTHROPIC: Final = (("anthropic-version", "2023-06-01"),)
_SAFE: Final = "-._~"
_SWITCHED: Final = 101


class Impossible(Exception):
    """A call cannot be sent again as asked. Says why, and what to do."""


class Plan(NamedTuple):
    """One request to the gateway. `path` holds the query; `headers` no credential."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    route: Route
    entry: ProviderEntry
    notes: tuple[str, ...]


def plan(
    trace: Trace,
    request: Body | None,
    providers: Mapping[str, ProviderEntry],
    *,
    provider: str | None = None,
    model: str | None = None,
) -> Plan:
    """What to send. `provider`, `model`: others than the call's own. Raises `Impossible`."""
    body = _sendable(trace, request)
    method, received = trace.method or "", trace.path or ""
    path, _, query = received.partition("?")
    route = _route(Router(providers), trace, method, path)
    notes = ["headers and query of the original are not on record, apart from what this gateway must know of them"]
    target = route
    if provider is not None and provider != route.provider:
        path, target = _moved(trace, method, route, providers, provider)
    coding = request.content_encoding if request is not None else None
    if model is not None:
        if target.deployment is not None or target.dialect == "google":
            path = _renamed_path(target, providers[target.provider], path, model)
        else:
            body, coding = _renamed_body(body, request, model, notes)
    headers = [("accept", "text/event-stream" if trace.stream else "application/json")]
    if body is not None:
        headers.append(("content-type", (request and request.content_type) or "application/json"))
    if coding:
        headers.append(("content-encoding", coding))
    if target.dialect == "anthropic":
        headers += _ANTHROPIC
    headers += [("x-gatehouse-parent", trace.id), ("x-gatehouse-run", f"replay-{trace.id}")]
    return Plan(
        method=method,
        path=f"{path}?{query}" if query else path,
        headers=tuple(headers),
        body=body,
        route=target,
        entry=providers[target.provider],
        notes=tuple(notes),
    )


def _sendable(trace: Trace, request: Body | None) -> bytes | None:
    """The captured body, if all of it is there; `None` for a call without one."""
    if trace.decision_record == trace.outcome_record:
        raise Impossible("it ended before it was forwarded; bodies of such calls are not kept")
    if trace.status == _SWITCHED:
        raise Impossible("it was a WebSocket: what went over it is not captured")
    if trace.streamed and trace.request_bytes:
        raise Impossible("its body was an upload that streamed through the gateway; such bodies are not captured")
    if not trace.request_bytes:
        return None
    if request is None:
        raise Impossible(
            "its request was not captured. Set capture.bodies: true and restart the gateway: "
            "calls made from then on can be replayed"
        )
    if not complete(request):
        raise Impossible(
            f"only {size(len(request.data))} of its {size(request.size)} were captured; raise capture.max_bytes "
            "for calls to come"
        )
    return request.data


def _route(router: Router, trace: Trace, method: str, path: str) -> Route:
    # What tells three dialects apart on a path they share.
    named = {"anthropic": (b"anthropic-version", b""), "google": (b"x-goog-api-key", b"")}
    headers = [named[trace.dialect]] if trace.dialect in named else []
    try:
        route = router.resolve(method.encode(), path, "", headers).route
    except GatehouseError as error:
        raise Impossible(f"its path {path} is no longer served: {error.detail}") from error
    if route is None:
        raise Impossible(f"its path {path} is not one of a provider")
    return route


def _moved(
    trace: Trace, method: str, route: Route, providers: Mapping[str, ProviderEntry], name: str
) -> tuple[str, Route]:
    """The same call at another provider: its path there, and the route that leads to it."""
    entry, own = providers.get(name), providers[route.provider]
    if entry is None:
        raise Impossible(f"there is no provider {name}; there are {', '.join(sorted(providers))}")
    if is_azure(own) or is_azure(entry):
        raise Impossible("Azure's paths name a resource and a deployment: a call cannot move there or away from there")
    tail = route.path.removeprefix(own.base_path)
    if route.dialect == "anthropic" and own.dialect == "openai":
        tail = tail.removeprefix("/anthropic")
    if own.version != entry.version:
        # Without one, the gateway puts the other provider's own before the path.
        tail = tail.removeprefix(own.version)
    path = entry.prefix + tail
    moved = _route(Router(providers), trace, method, path)
    if moved.dialect == route.dialect and moved.endpoint != route.endpoint:
        raise Impossible(f"{name} serves no {route.endpoint} at {path}")
    if moved.dialect != route.dialect:
        raise Impossible(
            f"the call speaks {route.dialect} ({route.endpoint}) and {name} speaks {entry.dialect}: not possible until "
            "Gatehouse converts between dialects; choose a provider of the same dialect"
        )
    return path, moved


def _renamed_path(route: Route, entry: ProviderEntry, path: str, model: str) -> str:
    """Google and Azure name the model in the path."""
    if route.deployment is not None:
        inner = route.path.removeprefix(f"{entry.base_path}/openai/deployments/").partition("/")[2]
        return f"{route.prefix}/openai/deployments/{quote(model, safe=_SAFE)}/{inner}"
    if route.model is None:
        raise Impossible(f"the path {path} names no model that could be another one")
    before, _, last = path.rpartition("/")
    colon = next((mark for mark in (":", "%3A", "%3a") if mark in last), ":")
    verb = last.partition(colon)[2]
    return f"{before}/{quote(model.removeprefix('models/'), safe=_SAFE)}{colon}{verb}"


def _renamed_body(body: bytes | None, request: Body | None, model: str, notes: list[str]) -> tuple[bytes, str | None]:
    """The body with another model, and its coding: what is rewritten goes unencoded."""
    if body is None or request is None:
        raise Impossible("it has no body that names a model")
    if request.content_encoding:
        body, why = decoded(request)
        if why is not None:
            raise Impossible(f"its body cannot be decoded: {why}")
        notes.append(f"sent without its content coding ({request.content_encoding}), since the model is another one")
    try:
        return rename_model(body, model), None
    except ValueError as error:
        raise Impossible(str(error)) from error


def with_headers(plan: Plan, further: Sequence[tuple[str, str]]) -> Plan:
    """The plan with headers of the caller's, which win over those of the same name."""
    named = {name.lower() for name, _ in further}
    kept = [pair for pair in plan.headers if pair[0] not in named]
    return plan._replace(headers=(*kept, *further))
