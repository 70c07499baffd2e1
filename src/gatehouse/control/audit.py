"""`/api/v1/audit`: who changed what, and who came in. Ids, numbers and flags: names stand in the directory."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.auth.roles import Permission
from gatehouse.control.answers import Answers, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.export import PIECE, export, following
from gatehouse.control.parameters import Format, Moment, Paging, Word, form_of, once
from gatehouse.store import times
from gatehouse.store.audit import AuditFilter, AuditItem, AuditPage
from gatehouse.store.directory.changes import ActorKind
from gatehouse.store.reading import Readers

ANSWERS: Final[Answers] = {("GET", "/api/v1/audit"): (200, AuditPage)}
EXPORTED: Final = frozenset({"/api/v1/audit"})


class AuditParameters(Paging):
    """Which events. Filters add up; of one given several times any value may match."""

    since: Annotated[Moment | None, Field(description="At or after this time.")] = None
    until: Annotated[Moment | None, Field(description="Before this time.")] = None
    action: Annotated[list[Word], Field(max_length=20, description="`key.create`, `auth.login` …")] = []
    actor_kind: Annotated[list[ActorKind], Field(max_length=5, description="Who acted.")] = []
    actor: Annotated[Word | None, Field(description="Id of the user, key or token.")] = None
    target_kind: Annotated[Word | None, Field(description="`key`, `project` …")] = None
    target: Annotated[Word | None, Field(description="Id of what was changed.")] = None
    include: Annotated[
        list[Literal["calls"]],
        Field(max_length=1, description="`calls`: with an event `auth.token.used` for each call of a key or a token."),
    ] = []
    format: Annotated[Format, Field(description="In all forms but `json` all events come at once, without pages.")] = (
        "json"
    )


_SEVERAL: Final = frozenset({"action", "actor_kind"})


def routes(readers: Readers) -> APIRouter:
    """The route over the events that the caller may see."""
    router = APIRouter(prefix="/api/v1", tags=["audit"])

    @router.get("/audit", summary="Changes and log-ins, newest first")
    async def list_audit(request: Request, asked: Annotated[AuditParameters, Query()]) -> Response:
        """A page may hold fewer events than asked for although more follow: go on while there is a `next_cursor`."""
        once(request, _SEVERAL)
        caller, form = caller_of(request), form_of(request, asked.format)
        if form != "json":
            caller.require(Permission.EXPORT_READ)
        audit = await readers.audit(caller.sight)
        wanted = AuditFilter(
            since=None if asked.since is None else times.of(asked.since),
            until=None if asked.until is None else times.of(asked.until),
            actions=tuple(asked.action),
            actor_kinds=tuple(asked.actor_kind),
            actor=asked.actor,
            target_kind=asked.target_kind,
            target=asked.target,
        )
        most = asked.limit if form == "json" or "limit" in request.query_params else None
        pages = partial(audit.page, wanted, include_calls=bool(asked.include))
        page = await pages(most or PIECE, asked.cursor)
        if form == "json":
            return answer(page)
        return export(form, "audit", AuditItem, following(page, pages, most))

    return router
