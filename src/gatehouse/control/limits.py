"""`/api/v1/limits`: caps on requests, tokens, calls at a time and spend, in their one declarative form, and how much of
those on spend is used.

What is used is what the store has by now: rates and calls at a time only workers know, who tell each caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.auth.roles import Permission
from gatehouse.control.administration import Administration
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.parameters import Body, Id, NoParameters, Paging, once, referred
from gatehouse.control.projects import flags
from gatehouse.limits.calendar import Calendar
from gatehouse.model.limits import (
    DEFAULT_SHARE,
    LARGEST_CAP,
    WINDOWS,
    AtCap,
    LimitEntry,
    Measure,
    OnUnknown,
    ScopeKind,
    WhenDown,
    Window,
)
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import KeyFilter, LimitChange, LimitFilter, NewLimit
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.views import Limit
from gatehouse.store.engine import StoreError
from gatehouse.store.reading import Readers
from gatehouse.store.spent import Amounts
from gatehouse.store.views import Time


class Used(msgspec.Struct, frozen=True):
    """How much of a limit on spend is used in its present period, nano-dollars, about a second ago."""

    settled: int
    """By calls that are over."""
    reserved: int
    """The most that running ones can use."""
    ends_at: Time | None
    """When the period is over; `null`: never."""


class LimitInUse(Limit, frozen=True):
    """A limit, and how much of it is used."""

    used: Used | None = None
    """`null`: of other limits than on spend, where the caller may not see it, or the store is away."""


class LimitsInUse(msgspec.Struct, frozen=True):
    """A page of them."""

    items: list[LimitInUse]
    next_cursor: str | None


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/limits"): (200, LimitsInUse),
    ("POST", "/api/v1/limits"): (201, Limit),
    ("GET", "/api/v1/limits/{id}"): (200, LimitInUse),
    ("PATCH", "/api/v1/limits/{id}"): (200, Limit),
    ("DELETE", "/api/v1/limits/{id}"): (204, None),
}
_EVERYBODYS: Final = frozenset(("tenant", "project", "model"))
_OWN_KEYS: Final = 1_000

LimitId = Annotated[Id, Path(alias="id", description="Id of the limit.")]
Cap = Annotated[
    int,
    Field(
        ge=0, le=LARGEST_CAP, description="Requests, tokens, calls at a time, or nano-dollars; 0 lets nothing through."
    ),
]
Scope = Annotated[ScopeKind, Field(description="What is limited.")]
ScopeName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]
Assumed = Annotated[int, Field(ge=1, le=LARGEST_CAP)]
Share = Annotated[int, Field(ge=1, le=100)]


class LimitTerms(Body):
    """A limit, but for what it is on."""

    measure: Measure
    window: Annotated[
        Window,
        Field(
            description="`requests`: minute, hour, day. `tokens`: minute, day. `concurrency`: now. `spend`: day, "
            "month, total."
        ),
    ]
    cap: Cap
    hard: Annotated[bool, Field(description="Never exceeded; else exceeding it is an event.")] = True
    at_cap: Annotated[
        AtCap, Field(description="`clamp`: the output maximum is lowered to what is left (tokens and spend).")
    ] = "reject"
    on_unknown: Annotated[OnUnknown, Field(description="What a call whose usage nobody knows settles by.")] = "bound"
    when_down: Annotated[
        WhenDown | None,
        Field(description="Where the shared ledger is away; `null`: hard spend closed, all else open."),
    ] = None
    assumed: Annotated[
        Assumed | None,
        Field(description="Nano-dollars reserved for a call without a bound (spend); `null`: it is refused."),
    ] = None
    max_reserved_share: Annotated[
        Share, Field(description="Per cent of the cap that running calls of one key may hold.")
    ] = DEFAULT_SHARE


class LimitBody(LimitTerms):
    """A new limit."""

    scope: Scope
    scope_id: Annotated[
        ScopeName | None,
        Field(description="Its id; of `model` the model as callers write it; of `tenant` nothing need be said."),
    ] = None


class LimitUpdate(Body):
    """What changes; what is left out stays."""

    cap: Cap = 0
    hard: bool = True
    at_cap: AtCap = "reject"
    on_unknown: OnUnknown = "bound"
    when_down: WhenDown | None = None
    assumed: Assumed | None = None
    max_reserved_share: Share = DEFAULT_SHARE


class LimitParameters(Paging):
    """Which limits."""

    scope: Scope | None = None
    scope_id: Annotated[ScopeName | None, Field(description="Of a key that was rotated: any of its rotations.")] = None
    measure: Measure | None = None
    window: Window | None = None


def routes(administration: Administration, readers: Readers) -> APIRouter:
    """The routes over one tenant's limits."""
    router = APIRouter(prefix="/api/v1/limits", tags=["limits"])

    @router.get("", summary="Limits, newest first")
    async def list_limits(request: Request, asked: Annotated[LimitParameters, Query()]) -> Response:
        """Who sees only their own keys sees, beside what is everybody's, only limits on themselves and on these."""
        once(request)
        caller = caller_of(request)
        directory = administration.reading(caller)
        wanted = LimitFilter(scope=asked.scope, scope_id=asked.scope_id, measure=asked.measure, window=asked.window)
        page = await directory.limits(wanted, asked.limit, asked.cursor)
        seen = await _seen(caller, directory, page.items)
        return answer(LimitsInUse(await _in_use(readers, caller, seen), page.next_cursor))

    @router.post("", summary="Make a limit")
    async def create_limit(request: Request, body: LimitBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        check_terms(body.model_dump())
        name = body.scope_id if body.scope_id is not None or body.scope != "tenant" else caller.tenant
        if name is None:
            raise InputError(FieldError("scope_id", f"which {body.scope} it is on"))
        new = limit_of(body, body.scope, name)
        event = caller.event("limit.create", "limit", new.id, scope=new.scope, **told(new))
        made = await referred("scope_id", administration.directory(caller).create_limit(new, event))
        await administration.changed()
        return answer(made, 201)

    @router.get("/{id}", summary="One limit")
    async def show_limit(request: Request, name: LimitId, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        directory = administration.reading(caller)
        found = await _seen(caller, directory, [await directory.limit(name)])
        if not found:
            raise NotThere(f"there is no limit {name}")
        return answer((await _in_use(readers, caller, found))[0])

    @router.patch("/{id}", summary="Change a limit")
    async def update_limit(
        request: Request, name: LimitId, body: LimitUpdate, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """It answers when every worker goes by it. What was counted stays counted."""
        caller = caller_of(request)
        given = body.given()
        directory = administration.directory(caller)
        check_terms(msgspec.structs.asdict(await directory.limit(name)) | given)
        event = caller.event("limit.update", "limit", name, **flags(given))
        changed = await directory.update_limit(name, LimitChange(**given), event)
        await administration.revoked()
        return answer(changed)

    @router.delete("/{id}", summary="Delete a limit", status_code=204)
    async def delete_limit(request: Request, name: LimitId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """What was counted stays counted: a new one like it begins with that."""
        caller = caller_of(request)
        await administration.directory(caller).delete_limit(name, caller.event("limit.delete", "limit", name))
        await administration.changed()
        return done()

    return router


def check_terms(terms: Mapping[str, Any], prefix: str = "") -> None:
    """What single fields cannot say. Raises `InputError`."""
    problems = []
    measure: Measure = terms["measure"]
    if terms["window"] not in WINDOWS[measure]:
        problems.append(FieldError(f"{prefix}window", f"{measure} counts by {', '.join(WINDOWS[measure])}"))
    if terms["at_cap"] == "clamp" and measure not in ("tokens", "spend"):
        problems.append(FieldError(f"{prefix}at_cap", "only a limit on tokens or spend can lower an output maximum"))
    if terms["assumed"] is not None and measure != "spend":
        problems.append(FieldError(f"{prefix}assumed", "only for a limit on spend"))
    if problems:
        raise InputError(*problems)


def limit_of(terms: LimitTerms, scope: ScopeKind, name: str) -> NewLimit:
    """A new limit on something."""
    fields = {field: getattr(terms, field) for field in LimitTerms.model_fields}
    return NewLimit(id=ids.new("limit"), scope=scope, scope_id=name, **fields)


def told(new: NewLimit) -> dict[str, Any]:
    """What the journal says of a limit. A model's name, or a person's of identity tokens, is no id, and left out."""
    named = new.scope == "model" or (new.scope == "user" and not ids.is_id("user", new.scope_id))
    on = {} if named else {"scope_id": new.scope_id}
    return on | {"measure": new.measure, "window": new.window, "cap": new.cap, "hard": new.hard}


async def _seen(caller: Caller, directory: Directory, limits: list[Limit]) -> list[Limit]:
    """Those that the caller may see."""
    if _sees_all(caller):
        return limits
    own = {caller.user}
    if any(limit.scope == "key" for limit in limits) and caller.user is not None:
        keys = await directory.keys(KeyFilter(user=caller.user, revoked=None), _OWN_KEYS)
        own |= {key.counts_as for key in keys.items}
    return [
        limit
        for limit in limits
        if limit.scope in _EVERYBODYS or (limit.scope in ("user", "key") and limit.scope_id in own)
    ]


def _sees_all(caller: Caller) -> bool:
    return caller.may(Permission.LIMITS_MANAGE) or caller.may(Permission.ACCESS_READ)


async def _in_use(readers: Readers, caller: Caller, limits: list[Limit]) -> list[LimitInUse]:
    """These limits, which the caller may see, with what is used of them. Who sees their own calls alone is told of
    limits on themselves and their keys alone."""
    calendar = Calendar()
    calendar.turn(times.now())
    counters = {
        limit.id: (_counter(caller.tenant, limit), calendar.period(limit.window))
        for limit in limits
        if limit.measure == "spend" and _may_see_use(caller, limit)
    }
    found: dict[tuple[str, str], Amounts] = {}
    if counters:
        try:
            found = await (await readers.spent(caller.sight)).on(counters.values())
        except StoreError:
            counters = {}  # nobody can say

    def used(limit: Limit) -> Used | None:
        if limit.id not in counters:
            return None
        ends = calendar.ends(limit.window)
        amounts = found.get(counters[limit.id], Amounts(0, 0))
        return Used(amounts.settled, amounts.reserved, None if ends is None else times.rfc3339(ends))

    return [LimitInUse(**msgspec.structs.asdict(limit), used=used(limit)) for limit in limits]


def _may_see_use(caller: Caller, limit: Limit) -> bool:
    if caller.may(Permission.ANALYTICS_READ):
        return True
    own = limit.scope in ("user", "key") and not _sees_all(caller)
    return own and caller.may(Permission.TRACES_READ_OWN)


def _counter(tenant: str, limit: Limit) -> str:
    entry = LimitEntry(limit.id, tenant, limit.scope, limit.scope_id, limit.measure, limit.window, limit.cap)
    return entry.counter
