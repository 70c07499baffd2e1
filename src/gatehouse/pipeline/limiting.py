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
from gatehouse.model.limits import Bound
from gatehouse.model.record import Candidate
from gatehouse.pipeline.call import Call, in_slices
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
_NOTHING: Final = Extent(0)
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
        """Count the call against request rates and concurrency. `model`: as the caller wrote it, which on Azure says
        nothing: there the deployment counts.

        Raises `GatehouseError`; `Ended` if the caller left meanwhile.
        """
        principal = call.principal
        grant = call.facts.grant
        key = grant.key if grant is not None else None
        claim = Claim(
            principal.tenant,
            principal.project,
            None if key is None else key.counts_as or key.id,
            # A token beside somebody's key does not take the call out of their limits.
            principal.user if key is None or key.user is None else key.user,
            call.route.deployment or model,
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
        fault = ask.unread or ask.odd
        if cost in ("metered", "model") and fault is not None:
            raise GatehouseError(errors.BAD_REQUEST, f"a call under limits must be readable: {fault}")
        extent = self._extent(call, endpoint, body, cost)
        if extent is None:
            extent = await self._reader.extent(call, endpoint, body)
        field = None
        if cost == "metered" and body is not None and not call.facts.coding:
            field = output_field(call.route.dialect, call.route.endpoint, call.route.provider, candidates[0].model)
        output = 0
        if cost == "metered":
            prices = call.live.prices
            for each in candidates:
                output = max(output, output_maximum(ask, prices.maxima(each.provider, each.model or ""), extent))
        if field is not None and body is not None:
            body = self._with_output(call, body, field, output) or await self._slowly(call, body, field, output)
        worst = bound(ask, extent, cost, candidates, output, call.live.prices, call.at)
        if field is None and worst.max_output or limited.own:
            worst = _adapted(worst, lowers=field is not None, own=limited.own)
        asked = self._limits.reserve(limited.claim, worst, moment())
        if asked is None:
            return body
        clamp = await self._answer(call, asked) if isinstance(asked, Awaitable) else asked
        if isinstance(clamp, GatehouseError):
            raise clamp
        if clamp is not None and field is not None and body is not None:
            most = clamp.max_output
            body = self._with_output(call, body, field, most) or await self._slowly(call, body, field, most)
        return body

    async def _answer(self, call: Call, asked: Awaitable[T]) -> T:
        """What a shared limiter says, which it always does in time."""
        answer = await call.exchange.fiber.join(asked)
        call.check()
        return answer

    def _extent(self, call: Call, endpoint: Endpoint, body: bytes | None, cost: Cost) -> Extent | None:
        """`None`: the body has to be read in slices."""
        if call.exchange.upgrade:
            return _WEBSOCKET
        return _NOTHING if cost == "free" else self._reader.at_once(call, endpoint, body)

    def _with_output(self, call: Call, body: bytes, field: str, most: int) -> bytes | None:
        """The body, with an output maximum of `most` at most; `None`: that is no matter of a moment."""
        if len(body) > _SET_AT_ONCE:
            return None
        changed = with_output(body, call.route.dialect, call.route.endpoint, field, most)
        return None if changed is None else _noted(call, body, changed, most)

    async def _slowly(self, call: Call, body: bytes, field: str, most: int) -> bytes:
        """The same of any body, in slices. Raises `GatehouseError` (400) where nobody knows what a provider reads."""
        dialect, endpoint = call.route.dialect, call.route.endpoint
        changed = await in_slices(call, with_output_slices(body, dialect, endpoint, field, most))
        if changed is None:
            why = await in_slices(call, ambiguity(body, dialect, endpoint))
            raise GatehouseError(
                errors.BAD_REQUEST, f"a call under limits must be unambiguous: {why or 'its members cannot be told'}"
            )
        return _noted(call, body, changed, most)


def _noted(call: Call, body: bytes, changed: bytes, most: int) -> bytes:
    if changed is not body:
        call.max_output = most
        if _REWRITTEN not in call.rewritten:
            call.rewritten = (*call.rewritten, _REWRITTEN)
    return changed


def _adapted(worst: Bound, *, lowers: bool, own: bool) -> Bound:
    """Without what cannot be lowered, and without what the caller's `own` provider key pays."""
    if not lowers:
        worst = msgspec.structs.replace(worst, max_output=0, output_tokens=0, output_cost=0)
    return msgspec.structs.replace(worst, cost=0, unbounded=None, output_cost=0) if own else worst


def _cost_class(call: Call) -> Cost:
    """By the endpoint table; what is not in it nobody can say anything of."""
    row = call.way.row
    if row is None:
        row = row_of(call.live.providers[call.route.provider], call.route, call.exchange.head.method)
    return "unbounded" if row is None else row.cost
