"""`/api/v1/analytics`: figures over many calls, and calls in the words of the TruePortAI gateway.

Rules: metadata only, as in `traces`. A question that is too much is refused with what to do about it; no figure is
ever of a part of the calls.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from gatehouse.auth.roles import Permission
from gatehouse.control.answers import FieldError, InputError, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.export import PIECE, export, following, in_pieces
from gatehouse.control.masks import Masks
from gatehouse.control.parameters import Format, MomentOrAgo, OutcomeName, Word, at, form_of, once
from gatehouse.store import figures, logs, times
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.statements import GROUPS
from gatehouse.store.views import TraceSummary

MOST_ITEMS: Final = 10_000
MOST_OFFSET: Final = 1_000_000_000
_SEVERAL: Final = frozenset({"outcome"})
_SECRET: Final = re.compile(r"(?:sk-|gth_|AIza)[^.…]{16,}")
"""What no mask looks like."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAYS: Final = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
_FORM: Final = "In all forms but `json` the items alone."

BucketName = Literal["hour", "day", "week"]


def _dimensions(value: str) -> str:
    names = value.split(",")
    unknown = [name for name in names if name not in GROUPS]
    if unknown or len(set(names)) < len(names):
        raise ValueError(f"{'unknown' if unknown else 'named twice'}; allowed, with commas: {', '.join(GROUPS)}")
    return value


class WindowParameters(BaseModel):
    """Which calls. Filters add up; of outcomes any may match."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Annotated[
        MomentOrAgo,
        Field(alias="from", description="Calls that began at or after this time: RFC 3339, or a span before now."),
    ] = "24h"
    until: Annotated[
        MomentOrAgo | None, Field(alias="to", description="Calls that began before this time; now, if not given.")
    ] = None
    provider: Annotated[Word | None, Field(description="Provider that served, else the first one asked.")] = None
    model: Annotated[Word | None, Field(description="Model asked or model answered.")] = None
    route: Annotated[Word | None, Field(description="Provider and endpoint, `openai/chat`.")] = None
    key: Annotated[
        Word | None, Field(description="Id of the gateway key, else hash of the provider key the caller brought.")
    ] = None
    project: Annotated[Word | None, Field(description="Project id.")] = None
    team: Annotated[Word | None, Field(description="Team of the project.")] = None
    environment: Annotated[Word | None, Field(description="Environment of the project.")] = None
    service: Annotated[Word | None, Field(description="Service that the caller's identity token names.")] = None
    user: Annotated[Word | None, Field(description="Id of the user.")] = None
    outcome: Annotated[list[OutcomeName], Field(max_length=20, description="How the call ended; `open`: not yet.")] = []
    format: Annotated[Format, Field(description=_FORM)] = "json"

    def asked(self, now: int) -> Asked:
        """In the store's words. Raises `InputError`."""
        since, until = at(self.since, now), now if self.until is None else at(self.until, now)
        if since >= until:
            raise InputError(FieldError("from", "is not before `to`"))
        wanted = TraceFilter(
            provider=self.provider,
            model=self.model,
            route=self.route,
            caller=self.key,
            project=self.project,
            team=self.team,
            environment=self.environment,
            service=self.service,
            user=self.user,
            outcome=tuple(self.outcome),
        )
        return Asked(since=since, until=until, filter=wanted)


class ListParameters(WindowParameters):
    """How many items."""

    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS, description="Items, at most.")] = 1000

    def asked(self, now: int) -> Asked:
        """In the store's words. Raises `InputError`."""
        return msgspec.structs.replace(super().asked(now), limit=self.limit)


class SeriesParameters(ListParameters):
    """And told apart by what."""

    group_by: Annotated[
        str | None,
        AfterValidator(lambda value: value if value is None else _dimensions(value)),
        Field(description=f"With commas between: {', '.join(f'`{name}`' for name in GROUPS)}."),
    ] = None
    bucket: Annotated[BucketName | None, Field(description="By time as well, in UTC; weeks from Monday.")] = None

    def asked(self, now: int) -> Asked:
        """In the store's words. Raises `InputError`."""
        by = () if self.group_by is None else tuple(self.group_by.split(","))
        return msgspec.structs.replace(super().asked(now), group_by=by, bucket=self.bucket)


def _date(value: object, days: int) -> object:
    """ISO 8601 in whichever form; without a zone UTC; of a date alone the beginning, or `days` later."""
    if not isinstance(value, str):
        raise ValueError("not ISO 8601")
    moment = datetime.fromisoformat(value)
    if _DATE.fullmatch(value):
        # The last day there is has no end that can be written.
        moment = moment + timedelta(days=days) if moment.date() < date.max else datetime.max
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _no_secret(value: str | None) -> str | None:
    if value is not None and _SECRET.match(value):
        raise ValueError("name a key by its id or as it is shown here, never by the key itself")
    return value


class LogParameters(BaseModel):
    """Which calls, as the TruePortAI gateway asks for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=500, description="Calls on a page, or in an export, at most.")] = 50
    offset: Annotated[int, Field(ge=0, le=MOST_OFFSET, description="Calls to leave out, newest first.")] = 0
    api_key: Annotated[
        Word | None,
        AfterValidator(_no_secret),
        Field(description="A key's id, or its mask; never the key itself."),
    ] = None
    provider: Annotated[Word | None, Field(description="`openai`, `anthropic`, `google`, `azure` …")] = None
    start_date: Annotated[
        datetime | None,
        BeforeValidator(lambda value: _date(value, 0)),
        Field(description="Calls that began at or after this time: ISO 8601, UTC where no zone is given."),
    ] = None
    end_date: Annotated[
        datetime | None,
        BeforeValidator(lambda value: _date(value, 1)),
        Field(description="Calls that began before this time; of a date alone, before its end."),
    ] = None
    format: Annotated[Format, Field(description=f"{_FORM} All calls come at once, without pages.")] = "json"

    def filter(self, keys: tuple[str, ...]) -> TraceFilter:
        """In the store's words. `keys`: ids of those that are shown as `api_key`."""
        return TraceFilter(
            since=None if self.start_date is None else times.of(self.start_date),
            until=None if self.end_date is None else times.of(self.end_date),
            caller=None if keys else self.api_key,
            keys=keys,
            provider=self.provider,
        )


class StatsParameters(BaseModel):
    """Which period, as the TruePortAI gateway asks for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: Annotated[Literal["24h", "7d", "30d", "90d"], Field(description="The time until now.")] = "7d"


def routes(readers: Readers, masks: Masks) -> APIRouter:
    """The routes over the calls that the caller may see."""
    router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])
    for question in _QUESTIONS:
        router.get(f"/{question.name}", summary=question.summary, name=f"analytics_{question.name}")(
            _show(readers, question)
        )

    @router.get("/summary", summary="Head figures, and how they changed", name="analytics_summary")
    async def show_summary(request: Request, asked: Annotated[WindowParameters, Query()]) -> Response:
        """Against the window of the same length before."""
        once(request, _SEVERAL)
        found = await (await readers.analytics(caller_of(request).sight)).summary(asked.asked(times.now()))
        form = form_of(request, asked.format)
        if form == "json":
            return answer(found)
        return export(form, "summary", figures.Summary, in_pieces([found]))

    @router.get("/logs", summary="Calls, newest first, by offset", name="analytics_logs")
    async def show_logs(request: Request, asked: Annotated[LogParameters, Query()]) -> Response:
        """For clients of the TruePortAI gateway; `/api/v1/traces` says more, and finds its pages faster."""
        once(request)
        form, caller = form_of(request, asked.format), caller_of(request)
        wanted = asked.filter(await masks.named(caller, asked.api_key))
        if form == "json":
            found = await (await readers.analytics(caller.sight)).log(wanted, asked.limit, asked.offset)
            return answer(msgspec.structs.replace(found, items=await masks.shown(caller, found.items)))
        if "offset" in request.query_params:
            raise InputError(FieldError("offset", "goes with `format=json` only"))
        caller.require(Permission.EXPORT_READ)
        queries = await readers.queries(caller.sight)
        most = asked.limit if "limit" in request.query_params else None
        pages = partial(queries.page, wanted)
        items = _log_items(following(await pages(most or PIECE), pages, most), partial(masks.shown, caller))
        return export(form, "logs", logs.LogItem, items)

    @router.get("/stats", summary="A period's numbers", name="analytics_stats")
    async def show_stats(request: Request, asked: Annotated[StatsParameters, Query()]) -> Response:
        """For clients of the TruePortAI gateway; `/api/v1/analytics/summary` says more."""
        once(request)
        until = times.now()
        analytics = await readers.analytics(caller_of(request).sight)
        return answer(await analytics.stats(asked.period, until - _DAYS[asked.period] * times.DAY, until))

    return router


class Question(NamedTuple):
    """One of the routes that answer with items."""

    name: str
    summary: str
    ask: Callable[[Analytics, Asked], Awaitable[Any]]
    row: type[msgspec.Struct]


_SERIES: Final = (
    Question("usage", "Calls and tokens", Analytics.usage, figures.UsageRow),
    Question("cost", "What was spent", Analytics.cost, figures.CostRow),
    Question("latency", "How long calls took", Analytics.latency, figures.LatencyRow),
    Question("errors", "How calls ended", Analytics.errors, figures.ErrorRow),
)
_QUESTIONS: Final = (
    *_SERIES,
    Question("models", "Every model asked", Analytics.models, figures.ModelRow),
    Question("keys", "Every key used", Analytics.keys, figures.KeyRow),
)


def _show(readers: Readers, question: Question) -> Callable[..., Awaitable[Response]]:
    async def series(request: Request, asked: Annotated[SeriesParameters, Query()]) -> Response:
        return await answered(request, asked)

    async def items(request: Request, asked: Annotated[ListParameters, Query()]) -> Response:
        return await answered(request, asked)

    async def answered(request: Request, given: ListParameters) -> Response:
        once(request, _SEVERAL)
        asked = given.asked(times.now())
        found = await question.ask(await readers.analytics(caller_of(request).sight), asked)
        form = form_of(request, given.format)
        if form == "json":
            return answer(found)
        return export(form, question.name, question.row, in_pieces(found.items), asked.group_by)

    return series if question in _SERIES else items


async def _log_items(
    pages: AsyncIterator[Sequence[TraceSummary]],
    shown: Callable[[list[logs.LogItem]], Awaitable[list[logs.LogItem]]],
) -> AsyncIterator[list[logs.LogItem]]:
    async for page in pages:
        yield await shown([logs.item(call) for call in page])
