"""The management API as one ASGI application. Its description stands at `/api/v1/openapi.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gatehouse import __version__
from gatehouse.collector.feed import Feed
from gatehouse.collector.tally import Tally
from gatehouse.config.loads import Loads
from gatehouse.control import analytics, answers, explain, exposition, live, traces
from gatehouse.control.answers import ErrorBody, answer
from gatehouse.control.health import Health, told_by_worker
from gatehouse.control.parameters import MEDIA_TYPES
from gatehouse.control.peer import JOURNAL_HEADER, LOCAL, PeerGate
from gatehouse.store import figures, logs
from gatehouse.store.explain import Explanation
from gatehouse.store.reading import Readers
from gatehouse.store.views import Trace, TracePage, TraceSummary

_REF: Final = "#/components/schemas/{name}"
_ANSWERS: Final[dict[tuple[str, str], type[msgspec.Struct]]] = {
    ("/health", "200"): Health,
    ("/health", "503"): Health,
    ("/api/v1/traces", "200"): TracePage,
    ("/api/v1/traces/{id}", "200"): Trace,
    ("/api/v1/analytics/usage", "200"): figures.UsageFigures,
    ("/api/v1/analytics/cost", "200"): figures.CostFigures,
    ("/api/v1/analytics/latency", "200"): figures.LatencyFigures,
    ("/api/v1/analytics/errors", "200"): figures.ErrorFigures,
    ("/api/v1/analytics/models", "200"): figures.ModelFigures,
    ("/api/v1/analytics/keys", "200"): figures.KeyFigures,
    ("/api/v1/analytics/summary", "200"): figures.Summary,
    ("/api/v1/analytics/explain", "200"): Explanation,
    ("/api/v1/analytics/logs", "200"): logs.LogPage,
    ("/api/v1/analytics/stats", "200"): logs.Stats,
}
"""What each route answers with. All other answers are errors."""
_EVENTS: Final[dict[str, tuple[type[msgspec.Struct], ...]]] = {"/api/v1/live": (TraceSummary, live.Lagged)}
"""What the events of a stream hold."""
_EXPORTED: Final = frozenset({"/api/v1/traces"}).union(
    f"/api/v1/analytics/{name}"
    for name in ("usage", "cost", "latency", "errors", "models", "keys", "summary", "explain", "logs")
)
"""Routes that answer in the forms of `export`, too."""
_ERRORS: Final = {"400": "Wrong input", "403": "Not from this machine", "404": "Not found", "503": "Not possible now"}


class ManagementApi(FastAPI):
    """FastAPI, describing itself with our structs and our errors."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema:
            return self.openapi_schema
        document = get_openapi(title=self.title, version=self.version, description=self.description, routes=self.routes)
        events = [struct for structs in _EVENTS.values() for struct in structs]
        structs = [*dict.fromkeys([*_ANSWERS.values(), *events]), ErrorBody]
        document["components"] = {"schemas": msgspec.json.schema_components(structs, ref_template=_REF)[1]}
        for path, methods in document["paths"].items():
            for method in methods.values():
                method["responses"] = _responses(path)
        self.openapi_schema = document
        return document


def create(
    readers: Readers, health: Callable[[], Health], *, tenant: str, tally: Tally, feed: Feed, loads: Loads
) -> ManagementApi:
    """The app. `health`: what the process knows now, at no cost. `tally`, `loads`: what `/metrics` shows of calls, and
    of workers. `feed`: calls as they end."""
    app = ManagementApi(
        title="Gatehouse",
        version=__version__,
        description="The management API of a self-hosted AI gateway.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI brings its own OpenTelemetry, which the environment can switch on: what leaves is for us to decide.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(_health(health))
    app.include_router(exposition.routes(health, tally, loads))
    app.include_router(traces.routes(readers, tenant))
    app.include_router(live.routes(readers, feed, tenant))
    app.include_router(analytics.routes(readers, tenant))
    app.include_router(explain.routes(readers, tenant))
    answers.install(app)
    app.add_middleware(PeerGate)
    return app


def _health(health: Callable[[], Health]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health", summary="What is connected, and how far the store is behind")
    async def show_health(request: Request) -> Response:
        """200 if `healthy`, else 503. Callers elsewhere than on this machine get the first three fields."""
        now = health()
        trouble = request.headers.get(JOURNAL_HEADER)
        if trouble is not None:
            now = told_by_worker(now, trouble)
        status = 200 if now.status == "healthy" else 503
        return answer(now if request.scope[LOCAL] else now.public(), status)

    return router


def _responses(path: str) -> dict[str, Any]:
    described = {
        status: {"description": meaning, "content": _json(_ANSWERS.get((path, status), ErrorBody))}
        for status, meaning in _ERRORS.items()
    }
    if path in _EVENTS:
        one_of = [{"$ref": _REF.format(name=struct.__name__)} for struct in _EVENTS[path]]
        found: dict[str, Any] = {live.MEDIA_TYPE: {"schema": {"oneOf": one_of}}}
    else:
        found = _json(_ANSWERS[path, "200"])
    if path in _EXPORTED:
        found |= {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}
    return {"200": {"description": "Found", "content": found}, **described}


def _json(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}}}
