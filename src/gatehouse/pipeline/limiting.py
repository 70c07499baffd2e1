"""A call's steps through the limits: admitted before any rule looks at it, reserved for on its final body.

What lives here: who a call is counted for, what it can use at most, and the output maximum that is put into its body.
What does not: what fits (`limits`), and settling (`limited`, called by `record`).

Rules
- A call that no limit concerns costs one look-up here; without any limit, one test of `active` by whoever asks.
- What is reserved is the worst case of the bytes that go upstream (I4). Where nobody knows what the provider will read
  of them, the call is refused.
- The moment whose prices count is the same for the bound and the cost: `Call.at`.
- What the limiter has to be asked for is waited for; a caller that leaves meanwhile gets all of it back to the limits.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec

from gatehouse import errors
from gatehouse.dialects.output import ambiguity, output_field, with_output, with_output_slices
from gatehouse.dialects.registry import Endpoint
from gatehouse.errors import GatehouseError
from gatehouse.limits.bound import Cost, bound, output_maximum
from gatehouse.limits.claim import Claim
from gatehouse.model.call import Ask, Extent
from gatehouse.model.limits import Bound, Clamp
from gatehouse.model.record import Candidate
from gatehouse.pipeline.call import Call
from gatehouse.pipeline.limited import Limited, moment
from gatehouse.pipeline.reading import Reader
from gatehouse.ports import Limits
from gatehouse.routing.scopes import access as row_of

T = TypeVar("T")

_SET_AT_ONCE: Final = 1024 * 1024
"""Above, finding the place in a body may hold the loop for too long."""
_REWRITTEN: Final = "max_output"
"""The member's name differs by dialect and model."""
_BUILTIN: Final = "builtin"
_WEBSOCKET: Final = Extent(0, unbounded="what is asked over a WebSocket shows only as it is asked")


class Limiting:
    """Asks the limits, for one worker's pipeline."""

    def __init__(self, limits: Limits[Claim], reader: Reader) -> None:
        self._limits = limits
        self._reader = reader

    @property
    def active(self) -> bool:
        """Whether anything is limited."""
        return self._limits.active

    async def admit(self, call: Call, model: str | None, candidates: tuple[Candidate, ...]) -> None:
        """Count the call against request rates and concurrency. `model`: as the caller wrote it.

        Raises `GatehouseError`; `Ended` if the caller left meanwhile.
        """
        principal = call.principal
        grant = call.facts.grant
        key = grant.key if grant is not None else None
        claim = Claim(
            principal.tenant,
            principal.project,
            None if key is None else key.counts_as or key.id,
            principal.user,
            model,
            candidates[0].credential,
        )
        limited = Limited(self._limits, claim)
        asked = self._limits.admit(claim, moment())
        if asked is None and claim.kept is None:
            return
        call.limited = limited
        limited.own = candidates[0].credential is None and call.route.origin.scheme != _BUILTIN
        if asked is not None:
            error = await self._answer(call, asked) if isinstance(asked, Awaitable) else asked
            if error is not None:
                raise error

    async def reserve(
        self, call: Call, endpoint: Endpoint, ask: Ask, candidates: tuple[Candidate, ...], body: bytes | None
    ) -> bytes | None:
        """Hold the worst case of tokens and spend. Returns the body as it may go upstream.

        Raises `GatehouseError`; `Ended` if the caller left meanwhile.
        """
        limited = call.limited
        if limited is None or not limited.claim.reserves:
            return body
        cost = _cost_class(call)
        if cost in ("metered", "model") and ask.unread is not None:
            raise GatehouseError(errors.BAD_REQUEST, f"a call under limits must be readable: {ask.unread}")
        extent = await self._extent(call, endpoint, body, cost)
        field = None
        if cost == "metered" and body is not None and not call.facts.coding:
            field = output_field(call.route.dialect, call.route.endpoint, call.route.provider, candidates[0].model)
        output = 0
        if cost == "metered":
            prices = call.live.prices
            maxima = [prices.maxima(each.provider, each.model or "") for each in candidates]
            output = max([output_maximum(ask, most, extent) for most in maxima])
        if field is not None and body is not None:
            body = await self._with_output(call, body, field, output)
        worst = bound(ask, extent, cost, candidates, output, call.live.prices, call.at)
        if field is None and worst.max_output:
            worst = msgspec.structs.replace(worst, max_output=0, output_tokens=0, output_cost=0)  # nothing to lower
        if limited.own:
            worst = msgspec.structs.replace(worst, cost=0, unbounded=None, output_cost=0)
        clamp = await self._reserve(call, limited, worst)
        if clamp is not None and field is not None and body is not None:
            body = await self._with_output(call, body, field, clamp.max_output)
        return body

    async def _reserve(self, call: Call, limited: Limited, worst: Bound) -> Clamp | None:
        asked = self._limits.reserve(limited.claim, worst, moment())
        if asked is None:
            return None
        found = await self._answer(call, asked) if isinstance(asked, Awaitable) else asked
        if isinstance(found, GatehouseError):
            raise found
        return found

    async def _answer(self, call: Call, asked: Awaitable[T]) -> T:
        """What a shared limiter says, which it always does in time."""
        answer = await call.exchange.fiber.join(asked)
        call.check()
        return answer

    async def _extent(self, call: Call, endpoint: Endpoint, body: bytes | None, cost: Cost) -> Extent:
        if call.exchange.upgrade:
            return _WEBSOCKET
        if cost == "free":
            return Extent(0)
        return await self._reader.extent(call, endpoint, body)

    async def _with_output(self, call: Call, body: bytes, field: str, most: int) -> bytes:
        """The body, with an output maximum of `most` at most. Raises `GatehouseError` (400)."""
        dialect, endpoint = call.route.dialect, call.route.endpoint
        if len(body) <= _SET_AT_ONCE:
            changed = with_output(body, dialect, endpoint, field, most)
        else:
            changed = await self._reader.in_slices(call, with_output_slices(body, dialect, endpoint, field, most))
        if changed is None:
            why = await self._reader.in_slices(call, ambiguity(body, dialect, endpoint))
            raise GatehouseError(
                errors.BAD_REQUEST, f"a call under limits must be unambiguous: {why or 'its members cannot be told'}"
            )
        if changed is not body:
            call.max_output = most
            if _REWRITTEN not in call.rewritten:
                call.rewritten = (*call.rewritten, _REWRITTEN)
        return changed


def _cost_class(call: Call) -> Cost:
    """By the endpoint table; what is not in it nobody can say anything of."""
    row = call.way.row
    if row is None:
        row = row_of(call.live.providers[call.route.provider], call.route, call.exchange.head.method)
    return "unbounded" if row is None else row.cost
