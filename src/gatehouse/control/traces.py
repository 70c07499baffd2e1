"""`/api/v1/traces`: calls as the store knows them. Metadata only: no prompt or answer leaves through here."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.control.answers import FieldError, InputError, answer
from gatehouse.errors import GatehouseError
from gatehouse.store import present, times
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers

_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_LONGEST_MS: Final = 31 * 86_400_000

OutcomeName = Literal["open", "ok", "refused", "upstream_error", "cut", "client_gone", "blocked", "interrupted"]


def _moment(value: object) -> object:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        # In a query string an unescaped plus is a space.
        return datetime.fromisoformat(value.upper())
    raise ValueError("not RFC 3339 with a zone, such as 2026-11-20T08:00:00Z (write + as %2B)")


Moment = Annotated[datetime, BeforeValidator(_moment)]
Word = Annotated[str, Field(min_length=1, max_length=512)]


class TraceParameters(BaseModel):
    """Filters add up; of one given several times any value may match."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=500, description="Calls on a page, at most.")] = 50
    cursor: Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before.")] = None
    since: Annotated[Moment | None, Field(description="Calls that began at or after this time.")] = None
    until: Annotated[Moment | None, Field(description="Calls that began before this time.")] = None
    project: Annotated[Word | None, Field(description="Project id.")] = None
    provider: Annotated[Word | None, Field(description="Provider that served, else the first one asked.")] = None
    model: Annotated[Word | None, Field(description="Model asked or model answered.")] = None
    operation: Annotated[Word | None, Field(description="`chat`, `embeddings` …")] = None
    route: Annotated[Word | None, Field(description="Provider and endpoint, `openai/chat`.")] = None
    key: Annotated[Word | None, Field(description="Id of the gateway key.")] = None
    user: Annotated[Word | None, Field(description="Id of the user.")] = None
    trace: Annotated[str | None, Field(pattern="^[0-9a-fA-F]{32}$", description="W3C trace id.")] = None
    stream: Annotated[bool | None, Field(description="Only streams, or none.")] = None
    min_latency_ms: Annotated[
        float | None, Field(ge=0, le=_LONGEST_MS, allow_inf_nan=False, description="Calls that took as long or longer.")
    ] = None
    status: Annotated[
        list[Annotated[int, Field(ge=100, le=999)]], Field(max_length=20, description="HTTP status the caller got.")
    ] = []
    outcome: Annotated[list[OutcomeName], Field(max_length=20, description="How the call ended; `open`: not yet.")] = []
    code: Annotated[list[Word], Field(max_length=20, description="Gatehouse's error code.")] = []

    def filter(self) -> TraceFilter:
        """In the store's words."""
        return TraceFilter(
            since=None if self.since is None else times.of(self.since),
            until=None if self.until is None else times.of(self.until),
            project=self.project,
            provider=self.provider,
            model=self.model,
            operation=self.operation,
            route=self.route,
            key=self.key,
            user=self.user,
            trace=None if self.trace is None else self.trace.lower(),
            stream=self.stream,
            min_latency_us=None if self.min_latency_ms is None else round(self.min_latency_ms * 1000),
            status=tuple(self.status),
            outcome=tuple(self.outcome),
            code=tuple(self.code),
        )


class NoParameters(BaseModel):
    """A route that takes none says so."""

    model_config = ConfigDict(extra="forbid")


_SEVERAL: Final = frozenset({"status", "outcome", "code"})


def routes(readers: Readers, tenant: str) -> APIRouter:
    """The routes over one tenant's calls."""
    router = APIRouter(prefix="/api/v1", tags=["traces"])

    @router.get("/traces", summary="Calls, newest first")
    async def list_traces(request: Request, asked: Annotated[TraceParameters, Query()]) -> Response:
        """A page may hold fewer calls than asked for although more follow: go on while there is a `next_cursor`."""
        _once(request)
        queries = await readers.queries(tenant)
        try:
            return answer(await queries.page(asked.filter(), asked.limit, asked.cursor))
        except present.CursorError as error:
            raise InputError(FieldError("cursor", str(error))) from error

    @router.get("/traces/{id}", summary="One call with its spans")
    async def show_trace(
        name: Annotated[
            str, Path(alias="id", description="Id of the call (`x-gatehouse-id`), or W3C trace id.", max_length=64)
        ],
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        """Of several calls with the same W3C trace id, the newest; `?trace=` lists them all."""
        queries = await readers.queries(tenant)
        found = await queries.trace(name)
        if found is None:
            raise GatehouseError(errors.NOT_FOUND, "no call with this id, or not collected yet")
        return answer(found)

    return router


def _once(request: Request) -> None:
    """A parameter with one value given twice is a mistake: which of them was meant?"""
    counted = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in counted.items() if count > 1 and name not in _SEVERAL]
    if twice:
        raise InputError(*(FieldError(name, "given more than once") for name in twice))
