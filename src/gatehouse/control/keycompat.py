"""Gateway keys in the words of two systems that Gatehouse replaces. The same keys, rules and permissions as `keys`.

`/api/v1/gateway/keys` (AuditTrail): a rate per minute and a monthly cap on spend. `/api/v1/services/keys`, which is
`/trueportai-services/api/v1/keys` to callers (TruePortAI): exactly their fields, pages by offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gatehouse.auth.keys import masked
from gatehouse.control import minting
from gatehouse.control.administration import Administration
from gatehouse.control.answers import Answers, answer, answer_list, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.keys import KeyId, revoke
from gatehouse.control.limits import LimitTerms
from gatehouse.control.minting import DEFAULT_RATE, KeyBody
from gatehouse.control.parameters import Body, NoParameters, Paging, Text, once
from gatehouse.store import times
from gatehouse.store.directory.changes import KeyFilter, LimitFilter
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.views import Key, Limit, Page
from gatehouse.store.views import Time

_NANO: Final = 1_000_000_000
_LIMITS: Final = 1_000

Rate = Annotated[int, Field(ge=1, le=1_000_000_000)]


class GatewayKey(msgspec.Struct, frozen=True):
    """A key, as AuditTrail lists it."""

    id: str
    name: str | None
    key: str
    """Masked; the whole key in the answer that made it."""
    last4: str
    user: str | None
    is_active: bool
    rate_limit_per_minute: int | None
    monthly_spend_cap_usd: float | None
    created_at: Time


class GatewayKeys(msgspec.Struct, frozen=True):
    """A page of them."""

    items: list[GatewayKey]
    next_cursor: str | None


class ServiceKey(msgspec.Struct, frozen=True):
    """A key, as TruePortAI has it."""

    id: str
    key: str
    """Masked; the whole key in the answer that made it."""
    owner: str | None
    is_active: bool
    rate_limit_rpm: int | None
    created_at: Time


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/gateway/keys"): (200, GatewayKeys),
    ("POST", "/api/v1/gateway/keys"): (201, GatewayKey),
    ("DELETE", "/api/v1/gateway/keys/{id}"): (204, None),
    ("GET", "/api/v1/services/keys"): (200, list[ServiceKey]),
    ("POST", "/api/v1/services/keys"): (201, ServiceKey),
}


class GatewayKeyBody(Body):
    """A new key, in AuditTrail's words."""

    name: Annotated[Text | None, Field(description="A label.")] = None
    rate_limit_per_minute: Annotated[Rate, Field(description="Requests per minute.")] = DEFAULT_RATE
    monthly_spend_cap_usd: Annotated[
        float | int | None,
        Field(
            gt=0, le=1_000_000_000, allow_inf_nan=False, description="US dollars per calendar month; `null`: no cap."
        ),
    ] = None


class ServiceKeyBody(Body):
    """A new key, in TruePortAI's words."""

    owner: Annotated[Text | None, Field(description="A label.")] = None
    rate_limit_rpm: Annotated[Rate, Field(description="Requests per minute.")] = DEFAULT_RATE


class ServiceKeyParameters(BaseModel):
    """A page by offset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=100, description="Keys on a page, at most.")] = 20
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="Keys to leave out, newest first.")] = 0


class _Caps(msgspec.Struct, frozen=True):
    """What of a key's limits these systems know."""

    rate: int | None
    spend: int | None
    """Nano-dollars a month."""


def routes(administration: Administration) -> APIRouter:
    """The routes of both."""
    router = APIRouter(prefix="/api/v1", tags=["keys"])

    @router.get("/gateway/keys", summary="Gateway keys (AuditTrail's words)")
    async def list_gateway_keys(request: Request, asked: Annotated[Paging, Query()]) -> Response:
        once(request)
        caller = caller_of(request)
        directory = administration.reading(caller)
        page = await _listed(directory, caller, asked.limit, asked.cursor)
        caps = await _caps(directory, page.items)
        items = [_gateway_key(key, caps[key.id]) for key in page.items]
        return answer(GatewayKeys(items, page.next_cursor))

    @router.post("/gateway/keys", summary="Make a gateway key (AuditTrail's words)")
    async def create_gateway_key(
        request: Request, body: GatewayKeyBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """Its text is in this answer only."""
        limits = [LimitTerms(measure="requests", window="minute", cap=body.rate_limit_per_minute)]
        if body.monthly_spend_cap_usd is not None:
            cap = max(1, round(body.monthly_spend_cap_usd * _NANO))
            limits.append(LimitTerms(measure="spend", window="month", cap=cap))
        wanted = KeyBody(name=body.name or None, limits=limits)
        minted = await minting.mint(administration, caller_of(request), wanted)
        return answer(_gateway_key(minted.key, _known(minted.limits), minted.text), 201)

    @router.delete("/gateway/keys/{id}", summary="Revoke a gateway key (AuditTrail's path)", status_code=204)
    async def revoke_gateway_key(request: Request, name: KeyId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """It answers when no worker takes the key any more."""
        await revoke(administration, caller_of(request), name)
        return done()

    @router.get("/services/keys", summary="Gateway keys (TruePortAI's words)")
    async def list_service_keys(request: Request, asked: Annotated[ServiceKeyParameters, Query()]) -> Response:
        """To callers `/trueportai-services/api/v1/keys`."""
        once(request)
        caller = caller_of(request)
        directory = administration.reading(caller)
        page = await _listed(directory, caller, asked.limit, None, asked.offset)
        caps = await _caps(directory, page.items)
        return answer_list([_service_key(key, caps[key.id]) for key in page.items])

    @router.post("/services/keys", summary="Make a gateway key (TruePortAI's words)")
    async def create_service_key(
        request: Request, body: ServiceKeyBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """To callers `/trueportai-services/api/v1/keys`. The key's text is in this answer only."""
        limits = [LimitTerms(measure="requests", window="minute", cap=body.rate_limit_rpm)]
        minted = await minting.mint(administration, caller_of(request), KeyBody(owner=body.owner, limits=limits))
        return answer(_service_key(minted.key, _known(minted.limits), minted.text), 201)

    return router


async def _listed(directory: Directory, caller: Caller, limit: int, cursor: str | None, offset: int = 0) -> Page[Key]:
    if caller.only_key is not None:
        own = [await directory.key(caller.only_key)] if cursor is None and offset == 0 else []
        return Page(own, None)
    return await directory.keys(KeyFilter(user=caller.only_user), limit, cursor, offset=offset)


async def _caps(directory: Directory, keys: Sequence[Key]) -> dict[str, _Caps]:
    """By key."""
    found: dict[str, list[Limit]] = {key.counts_as: [] for key in keys}
    cursor: str | None = None
    while found:
        wanted = LimitFilter(scope="key", scope_ids=tuple(found))
        page = await directory.limits(wanted, _LIMITS, cursor)
        for limit in page.items:
            found[limit.scope_id].append(limit)
        cursor = page.next_cursor
        if cursor is None:
            break
    return {key.id: _known(found[key.counts_as]) for key in keys}


def _known(limits: Sequence[Limit]) -> _Caps:
    rates = [limit.cap for limit in limits if limit.hard and (limit.measure, limit.window) == ("requests", "minute")]
    spends = [limit.cap for limit in limits if limit.hard and (limit.measure, limit.window) == ("spend", "month")]
    return _Caps(min(rates, default=None), min(spends, default=None))


def _is_active(key: Key) -> bool:
    now = times.rfc3339(times.now())
    ends = [end for end in (key.expires_at, key.retires_at) if end is not None]
    return key.disabled_at is None and key.revoked_at is None and all(now < end for end in ends)


def _gateway_key(key: Key, caps: _Caps, text: str | None = None) -> GatewayKey:
    return GatewayKey(
        id=key.id,
        name=key.name,
        key=text or masked(key.environment, key.last4),
        last4=key.last4,
        user=key.user,
        is_active=_is_active(key),
        rate_limit_per_minute=caps.rate,
        monthly_spend_cap_usd=None if caps.spend is None else caps.spend / _NANO,
        created_at=key.created_at,
    )


def _service_key(key: Key, caps: _Caps, text: str | None = None) -> ServiceKey:
    return ServiceKey(
        id=key.id,
        key=text or masked(key.environment, key.last4),
        owner=key.owner,
        is_active=_is_active(key),
        rate_limit_rpm=caps.rate,
        created_at=key.created_at,
    )
