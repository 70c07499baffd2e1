"""A reservation on its way: what the call needs of each fund, and what it makes of a refusal.

Rules: as in one process (`limits.reserving`): a limit that clamps lowers the output maximum to what it affords; what
is lowered for one is lowered for all. The numbers are the server's as it last said; so a call may have to ask again.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gatehouse.errors import GatehouseError
from gatehouse.limits.calendar import Calendar
from gatehouse.limits.claim import Claim
from gatehouse.limits.funds import Hold
from gatehouse.limits.refusals import Shortage
from gatehouse.limits.reserving import Want, lowered
from gatehouse.limits.shared.course import Course
from gatehouse.limits.shared.holdings import SPEND, Stake
from gatehouse.limits.shared.parts import Part
from gatehouse.limits.shared.scripts import State
from gatehouse.model.limits import Bound, Clamp
from gatehouse.model.moment import Moment

ATTEMPTS: Final = 3
"""How often a call is told no before it is refused in any case."""

Reply = GatehouseError | Clamp | None


class Reserving:
    """One call's reservation."""

    def __init__(self, claim: Claim, course: Course, bound: Bound, needed: list[int], now: Moment) -> None:
        self.claim = claim
        self.course = course
        self.bound = bound
        self.now = now
        self.needed = needed
        """By fund, in all."""
        self.clamp: Clamp | None = None
        self.attempts = 0
        self.future: asyncio.Future[Any] | None = None
        """What the caller waits for, if it does."""

    def lower(self, calendar: Calendar, now: Moment, short: dict[Stake, State]) -> list[Shortage]:
        """After a refusal: needs less from now on, or tells what is in the way."""
        wants = [self._want(index, part) for index, part in enumerate(self.course.line.parts)]
        most = lowered(wants, self.bound)
        shortages = []
        for part, want in zip(self.course.line.parts, wants, strict=True):
            for found in want.shortages(most, now):
                if found.wait != 0 and part.stake.kind == SPEND:
                    ends = calendar.ends(part.counter.window)
                    found.wait = None if ends is None else ends - now.unix
                elif found.wait and part.stake in short:
                    found.wait = short[part.stake].wait
                shortages.append(found)
        needed = [want.needed(most) for want in wants]
        if not shortages and (needed == self.needed or self.attempts >= ATTEMPTS):
            # What was in the way has gone meanwhile, or comes and goes.
            return self._anyhow(short, needed) if self.attempts >= ATTEMPTS else []
        if needed != self.needed:
            self.needed, self.clamp = needed, Clamp(most)
        return shortages

    def _want(self, index: int, part: Part) -> Want:
        fund = part.fund
        taken = self.course.holds[index] if self.course.holds else None
        stake = part.stake if taken is None else taken.stake
        seen = part.seen(stake, self.course.line.shares[index], self.claim.holder)
        hold = None if taken is None else Hold(fund, seen, taken.amount, 0, None)
        return Want(fund, seen, self.claim.holder, self.bound, hold)

    def _anyhow(self, short: dict[Stake, State], needed: list[int]) -> list[Shortage]:
        """By the server's word alone."""
        found = []
        for part, share, amount in zip(self.course.line.parts, self.course.line.shares, needed, strict=True):
            if part.stake in short or (share is not None and share in short):
                used = part.stake.used + part.stake.settled
                caps = sorted((cap for cap in part.counter.caps if cap.hard), key=lambda cap: cap.cap)
                found += [Shortage(part.counter, cap, amount, used, 0) for cap in caps[:1]]
        return found
