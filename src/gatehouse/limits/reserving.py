"""Whether what a call may need fits all its limits, how far it would have to be lowered, and what is in its way.

Rules: nothing here changes a counter. A limit with `at_cap: clamp` lowers the output maximum to what it affords, never
below `FLOOR`; what is lowered for one limit is lowered for all.
"""

from __future__ import annotations

from typing import Final

from gatehouse.limits.counters import Cap, Door
from gatehouse.limits.funds import Balance, Fund, Hold
from gatehouse.limits.refusals import Shortage
from gatehouse.model.limits import Bound
from gatehouse.model.moment import Moment

FLOOR: Final = 256
"""Tokens. Less output is of no use to anybody, so the call is refused instead."""


class Want:
    """What a call needs of one fund."""

    __slots__ = ("_bound", "_fixed", "_growing", "_hold", "_limited", "_shared", "balance", "fund", "had", "unbounded")

    def __init__(self, fund: Fund, balance: Balance, holder: str, bound: Bound, hold: Hold | None) -> None:
        self.fund = fund
        self.balance = balance
        self.had = 0 if hold is None else hold.whole()
        """What the call holds already."""
        self._hold = hold
        self._limited = fund.shared and holder != ""
        """No key holds more than its share; a caller without one shares with nobody in particular."""
        self._shared = balance.shares.get(holder, 0)
        self._bound = bound
        self._growing = fund.growing(bound) if bound.max_output else 0
        amount = fund.amount(bound)
        self.unbounded = amount < 0
        self._fixed = amount - self._growing

    def take(self, max_output: int, holder: str, steady: int) -> Hold:
        """Hold what is needed with this output maximum. Nothing is given back of what is held already."""
        more = self.needed(max_output) - self.had
        if self._hold is not None and more <= 0:
            return self._hold
        return self.fund.take(self.balance, holder, more, steady, self._hold)

    def needed(self, max_output: int) -> int:
        """All told, with this output maximum."""
        if not self._growing:
            return self._fixed
        return self._fixed - (-self._growing * max_output // self._bound.max_output)

    def afforded(self) -> int:
        """The output maximum that the limits which clamp still afford."""
        whole = most = self._bound.max_output
        if not self._growing:
            return whole
        for cap in self.fund.caps:
            if cap.hard and cap.clamps:
                room = cap.cap - self.balance.used()
                if self._limited:
                    room = min(room, cap.share - self._shared)
                room += self.had
                most = min(most, max(0, room - self._fixed) * whole // self._growing)
        return most

    def shortages(self, max_output: int, now: Moment) -> list[Shortage]:
        """The limits that are in the way, even with this output maximum."""
        needed = self.needed(max_output)
        more = needed - self.had
        if more <= 0:
            return []
        used = self.balance.used()
        found = []
        for cap in self.fund.caps:
            if not cap.hard:
                continue
            if used + more > cap.cap:
                wait = self.fund.wait(cap, more, self.balance, now)
                found.append(self._short(cap, needed, wait, own=False))
            if self._limited and self._shared + more > cap.share:
                found.append(self._short(cap, needed, 0, own=True))
        return found

    def _short(self, cap: Cap, needed: int, wait: int | None, *, own: bool) -> Shortage:
        short = Shortage(self.fund, cap, needed, self.balance.used(), wait)
        short.held = self.balance.held
        if own:
            short.own = self._shared
        return short


def lowered(wants: list[Want], bound: Bound) -> int:
    """The highest output maximum that all limits afford, but at least `FLOOR`: limits may refuse that."""
    whole = bound.max_output
    return max(min((want.afforded() for want in wants), default=whole), min(FLOOR, whole))


def shut(doors: tuple[Door, ...], now: Moment) -> list[Shortage]:
    """The limits on request rates and concurrency that are in the way."""
    found = []
    for door in doors:
        used = door.used(now.steady)
        for cap in door.caps:
            if cap.hard and used >= cap.cap:
                short = Shortage(door, cap, 1, used, door.wait(cap.cap, now))
                short.held = used if door.measure == "concurrency" else 0
                found.append(short)
    return found
