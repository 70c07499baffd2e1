"""`/api/v1/traces`: calls as the store knows them. Metadata only: no prompt or answer leaves through here."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth.roles import Permission
from gatehouse.control.answers import answer
from gatehouse.control.caller import caller_of
from gatehouse.control.export import PIECE, export, following
from gatehouse.control.parameters import Format, Moment, NoParameters, OutcomeName, Word, form_of, once
from gatehouse.errors import GatehouseError
from gatehouse.store import times
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.views import TraceSummary

_LONGEST_MS: Final = 31 * 86_400_000


class CallParameters(BaseModel):
    """Which calls. Filters add up; of one given several times any value may match."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: Annotated[Word | None, Field(description="Project id.")] = None
    team: Annotated[Word | None, Field(description="Team of the project.")] = None
    environment: Annotated[Word | None, Field(description="Environment of the project.")] = None
    service: Annotated[Word | None, Field(description="Service that the caller's identity token names.")] = None
    provider: Annotated[Word | None, Field(description="Provider that served, else the first one asked.")] = None
    model: Annotated[Word | None, Field(description="Model asked or model answered.")] = None
    operation: Annotated[Word | None, Field(description="`chat`, `embeddings` …")] = None
    route: Annotated[Word | None, Field(description="Provider and endpoint, `openai/chat`.")] = None
    key: Annotated[Word | None, Field(description="Id of the gateway key.")] = None
    user: Annotated[Word | None, Field(description="Id of the user.")] = None
    trace: Annotated[str | None, Field(pattern="^[0-9a-fA-F]{32}$", description="W3C trace id.")] = None
    loop: Annotated[Word | None, Field(description="Any call of an agent loop: all of its calls.")] = None
    group: Annotated[Word | None, Field(description="`X-Gatehouse-Group` as sent.")] = None
    thread: Annotated[Word | None, Field(description="`X-Gatehouse-Thread` as sent.")] = None
    run: Annotated[Word | None, Field(description="`X-Gatehouse-Run` as sent.")] = None
    parent: Annotated[
        Word | None, Field(description="`X-Gatehouse-Parent` as sent, or the call that is gone on from.")
    ] = None
    tag: Annotated[
        list[Word], Field(max_length=20, description="One of `X-Gatehouse-Tags`; of several, calls that have them all.")
    ] = []
    job: Annotated[Word | None, Field(description="The provider's id of a batch, file, fine-tuning …")] = None
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
            project=self.project,
            team=self.team,
            environment=self.environment,
            service=self.service,
            provider=self.provider,
            model=self.model,
            operation=self.operation,
            route=self.route,
            key=self.key,
            user=self.user,
            trace=None if self.trace is None else self.trace.lower(),
            loop=None if self.loop is None else self.loop.lower(),
            group=self.group,
            thread=self.thread,
            run=self.run,
            parent=self.parent,
            tag=tuple(self.tag),
            job=self.job,
            stream=self.stream,
            min_latency_us=None if self.min_latency_ms is None else round(self.min_latency_ms * 1000),
            status=tuple(self.status),
            outcome=tuple(self.outcome),
            code=tuple(self.code),
        )


class TraceParameters(CallParameters):
    """And when they began, and how many of them."""

    limit: Annotated[int, Field(ge=1, le=500, description="Calls on a page, or in an export, at most.")] = 50
    cursor: Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before.")] = None
    since: Annotated[Moment | None, Field(description="Calls that began at or after this time.")] = None
    until: Annotated[Moment | None, Field(description="Calls that began before this time.")] = None
    format: Annotated[Format, Field(description="In all forms but `json` all calls come at once, without pages.")] = (
        "json"
    )

    def filter(self) -> TraceFilter:
        """In the store's words."""
        since, until = (None if moment is None else times.of(moment) for moment in (self.since, self.until))
        return msgspec.structs.replace(super().filter(), since=since, until=until)


SEVERAL: Final = frozenset({"status", "outcome", "code", "tag"})


def routes(readers: Readers) -> APIRouter:
    """The routes over the calls that the caller may see."""
    router = APIRouter(prefix="/api/v1", tags=["traces"])

    @router.get("/traces", summary="Calls, newest first")
    async def list_traces(request: Request, asked: Annotated[TraceParameters, Query()]) -> Response:
        """A page may hold fewer calls than asked for although more follow: go on while there is a `next_cursor`."""
        once(request, SEVERAL)
        caller = caller_of(request)
        queries = await readers.queries(caller.sight)
        wanted, form = asked.filter(), form_of(request, asked.format)
        # Without pages there is no limit but the one asked for.
        most = asked.limit if form == "json" or "limit" in request.query_params else None
        pages = partial(queries.page, wanted)
        page = await pages(most or PIECE, asked.cursor)
        if form == "json":
            return answer(page)
        caller.require(Permission.EXPORT_READ)
        return export(form, "traces", TraceSummary, following(page, pages, most))

    @router.get("/traces/{id}", summary="One call with its spans")
    async def show_trace(
        request: Request,
        name: Annotated[
            str, Path(alias="id", description="Id of the call (`x-gatehouse-id`), or W3C trace id.", max_length=64)
        ],
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        """Of several calls with the same W3C trace id, the newest; `?trace=` lists them all."""
        queries = await readers.queries(caller_of(request).sight)
        found = await queries.trace(name)
        if found is None:
            raise GatehouseError(errors.NOT_FOUND, "no call with this id, or not collected yet")
        return answer(found)

    return router
