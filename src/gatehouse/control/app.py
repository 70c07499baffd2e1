"""The management API as one ASGI application. Its description stands at `/api/v1/openapi.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gatehouse import __version__
from gatehouse.control import answers, traces
from gatehouse.control.answers import ErrorBody, answer
from gatehouse.control.health import Health, told_by_worker
from gatehouse.control.peer import JOURNAL_HEADER, LOCAL, PeerGate
from gatehouse.store.reading import Readers
from gatehouse.store.views import Trace, TracePage

_REF: Final = "#/components/schemas/{name}"
_ANSWERS: Final[dict[tuple[str, str], type[msgspec.Struct]]] = {
    ("/health", "200"): Health,
    ("/health", "503"): Health,
    ("/api/v1/traces", "200"): TracePage,
    ("/api/v1/traces/{id}", "200"): Trace,
}
"""What each route answers with. All other answers are errors."""
_ERRORS: Final = {"400": "Wrong input", "403": "Not from this machine", "404": "Not found", "503": "Not possible now"}


class ManagementApi(FastAPI):
    """FastAPI, describing itself with our structs and our errors."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema:
            return self.openapi_schema
        document = get_openapi(title=self.title, version=self.version, description=self.description, routes=self.routes)
        structs = [*dict.fromkeys(_ANSWERS.values()), ErrorBody]
        document["components"] = {"schemas": msgspec.json.schema_components(structs, ref_template=_REF)[1]}
        for path, methods in document["paths"].items():
            for method in methods.values():
                method["responses"] = _responses(path)
        self.openapi_schema = document
        return document


def create(readers: Readers, health: Callable[[], Health], *, tenant: str) -> ManagementApi:
    """The app. `health`: what the process knows now, at no cost."""
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
    app.include_router(traces.routes(readers, tenant))
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
    return {"200": {"description": "Found", "content": _json(_ANSWERS[path, "200"])}, **described}


def _json(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}}}
