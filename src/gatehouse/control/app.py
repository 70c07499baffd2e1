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
from gatehouse.config import control_headers
from gatehouse.config.loads import Loads
from gatehouse.control import (
    analytics,
    answers,
    audit,
    credentials,
    entrance,
    events,
    explain,
    exposition,
    issued,
    issuers,
    keycompat,
    keys,
    limits,
    live,
    people,
    projects,
    sealing,
    tenants,
    traces,
)
from gatehouse.control import sso as single_sign_on
from gatehouse.control.answers import Answers, ErrorBody, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.cookies import Origins
from gatehouse.control.doors import Doors
from gatehouse.control.duties import Duties
from gatehouse.control.gate import Gate, oversees
from gatehouse.control.health import Health, told_by_worker
from gatehouse.control.masks import Masks
from gatehouse.control.parameters import MEDIA_TYPES
from gatehouse.control.permissions import Rules
from gatehouse.control.recognition import Recognition
from gatehouse.store import figures, logs
from gatehouse.store.explain import Explanation
from gatehouse.store.reading import Readers
from gatehouse.store.views import Trace, TracePage, TraceSummary

_REF: Final = "#/components/schemas/{name}"
_HEALTH: Final[Answers] = {("GET", "/health"): (200, Health)}
_UNHEALTHY: Final = ("/health", "503")
_FIGURES: Final[Answers] = {
    ("GET", "/api/v1/traces"): (200, TracePage),
    ("GET", "/api/v1/traces/{id}"): (200, Trace),
    ("GET", "/api/v1/analytics/usage"): (200, figures.UsageFigures),
    ("GET", "/api/v1/analytics/cost"): (200, figures.CostFigures),
    ("GET", "/api/v1/analytics/latency"): (200, figures.LatencyFigures),
    ("GET", "/api/v1/analytics/errors"): (200, figures.ErrorFigures),
    ("GET", "/api/v1/analytics/models"): (200, figures.ModelFigures),
    ("GET", "/api/v1/analytics/keys"): (200, figures.KeyFigures),
    ("GET", "/api/v1/analytics/summary"): (200, figures.Summary),
    ("GET", "/api/v1/analytics/explain"): (200, Explanation),
    ("GET", "/api/v1/analytics/logs"): (200, logs.LogPage),
    ("GET", "/api/v1/analytics/stats"): (200, logs.Stats),
}
_PEOPLE: Final[Answers] = entrance.ANSWERS | issued.ANSWERS | people.ANSWERS | tenants.ANSWERS | single_sign_on.ANSWERS
_ADMINISTERED: Final[Answers] = (
    projects.ANSWERS
    | credentials.ANSWERS
    | keys.ANSWERS
    | keycompat.ANSWERS
    | limits.ANSWERS
    | issuers.ANSWERS
    | audit.ANSWERS
    | events.ANSWERS
    | sealing.ANSWERS
)
ANSWERS: Final[Answers] = {**_HEALTH, **_FIGURES, **_PEOPLE, **_ADMINISTERED}
"""What each route answers with. All other answers are errors."""
_EVENTS: Final[dict[str, tuple[type[msgspec.Struct], ...]]] = {"/api/v1/live": (TraceSummary, live.Lagged)}
"""What the events of a stream hold."""
_EXPORTED: Final = (audit.EXPORTED | {"/api/v1/traces"}).union(
    f"/api/v1/analytics/{name}"
    for name in ("usage", "cost", "latency", "errors", "models", "keys", "summary", "explain", "logs")
)
"""Routes that answer in the forms of `export`, too."""
_ERRORS: Final = {
    "400": "Wrong input",
    "401": "Nobody known asks",
    "403": "Not allowed",
    "404": "Not found",
    "503": "Not possible now",
}
_SAYS: Final = {200: "Found", 201: "Made", 204: "Done", 302: "To the provider", 303: "Done, and on"}


class ManagementApi(FastAPI):
    """FastAPI, describing itself with our structs and our errors."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema:
            return self.openapi_schema
        document = get_openapi(title=self.title, version=self.version, description=self.description, routes=self.routes)
        events = [struct for structs in _EVENTS.values() for struct in structs]
        answered = [struct for _, struct in ANSWERS.values() if struct is not None]
        structs = [*dict.fromkeys([*answered, *events]), ErrorBody]
        asked = document.get("components", {}).get("schemas", {})
        bodies = {name: _asked(name, schema) for name, schema in asked.items() if "ValidationError" not in name}
        described = msgspec.json.schema_components(structs, ref_template=_REF)[1]
        document["components"] = {"schemas": bodies | described}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                operation["responses"] = _responses(method.upper(), path)
        self.openapi_schema = document
        return document


def create(
    readers: Readers,
    health: Callable[[], Health],
    *,
    tally: Tally,
    feed: Feed,
    loads: Loads,
    doors: Doors | None = None,
) -> ManagementApi:
    """The app. `health`: what the process knows now, at no cost. `tally`, `loads`: what `/metrics` shows of calls, and
    of workers. `feed`: calls as they end. Without `doors` nobody comes in, and whoever is on this machine may read."""
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
    accounts = None if doors is None else doors.accounts
    recognition = Recognition(accounts)
    app.include_router(_health(health))
    app.include_router(exposition.routes(health, tally, loads))
    app.include_router(traces.routes(readers))
    app.include_router(live.routes(readers, feed, recognition.still))
    app.include_router(analytics.routes(readers, Masks(None if doors is None else doors.duties.administration)))
    app.include_router(explain.routes(readers))
    if doors is not None:
        app.include_router(entrance.routes(doors.accounts))
        app.include_router(issued.routes(doors.accounts))
        app.include_router(people.routes(doors.accounts))
        app.include_router(tenants.routes(doors.accounts))
        app.include_router(single_sign_on.routes(doors.sso))
        _administer(app, readers, doors.duties)
    answers.install(app)
    origins = Origins(None) if accounts is None else accounts.origins
    app.add_middleware(Gate, recognition=recognition, origins=origins, rules=Rules())
    return app


def _administer(app: FastAPI, readers: Readers, duties: Duties) -> None:
    administration = duties.administration
    app.include_router(projects.routes(administration))
    app.include_router(credentials.routes(administration, duties.upkeep))
    app.include_router(keys.routes(administration))
    app.include_router(keycompat.routes(administration))
    app.include_router(limits.routes(administration, readers))
    app.include_router(issuers.routes(administration, duties.key_sets))
    app.include_router(audit.routes(readers))
    app.include_router(events.routes(administration, readers, duties.notifying))
    app.include_router(sealing.routes(administration, duties.master_keys))


def _health(health: Callable[[], Health]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health", summary="What is connected, and how far the store is behind")
    async def show_health(request: Request) -> Response:
        """200 if `healthy`, else 503. Callers elsewhere than on this machine get the first three fields."""
        now = health()
        trouble = request.headers.get(control_headers.JOURNAL)
        if trouble is not None:
            now = told_by_worker(now, trouble)
        status = 200 if now.status == "healthy" else 503
        caller = caller_of(request)
        return answer(now if caller.kind == "local" or oversees(caller) else now.public(), status)

    return router


def _responses(method: str, path: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        status: {"description": meaning, "content": _json(Health if (path, status) == _UNHEALTHY else ErrorBody)}
        for status, meaning in _ERRORS.items()
    }
    if path in _EVENTS:
        one_of = [{"$ref": _REF.format(name=struct.__name__)} for struct in _EVENTS[path]]
        content: dict[str, Any] = {live.MEDIA_TYPE: {"schema": {"oneOf": one_of}}}
        return {"200": {"description": _SAYS[200], "content": content}, **described}
    status, struct = ANSWERS[method, path]
    said: dict[str, Any] = {"description": _SAYS[status]}
    if struct is not None:
        said["content"] = _json(struct)
    if path in _EXPORTED:
        said["content"] |= {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}
    return {str(status): said, **described}


def _asked(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A request's body. What a change leaves out has no default: it stays."""
    if name.endswith("Update"):
        for field in schema["properties"].values():
            field.pop("default", None)
    return schema


def _json(struct: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([struct], ref_template=_REF)
    return {"application/json": {"schema": schema}}
