"""`ports.Limits` of one worker alone: the ledger in its own memory.

What lives here: a call's steps, in order. What does not: which counters it has (`ledger`), what fits (`reserving`),
what it is told (`refusals`, `standing`).

Rules
- Each method is one step: no `await`, no clock, no I/O. All limits of a call, or none.
- I4: nothing is held that does not fit. Use above a cap comes only from a cap that was lowered, and from a call that
  used more than its bound; both are told.
- What survives a restart is in the journal and the store: `restore` takes what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.counters import Notices, Requests
from gatehouse.limits.funds import UNBOUNDED, Balance, Fund, Hold, Spend, Tokens, limited
from gatehouse.limits.ledger import Ledger, Pledge
from gatehouse.limits.refusals import Shortage, longest, refusal, unbounded
from gatehouse.limits.reserving import Want, lowered, shut
from gatehouse.limits.standing import standing
from gatehouse.model.limits import Bound, Clamp, LimitEntry, LimitEvent, Reserved, Settled
from gatehouse.model.moment import Moment

_EVENTS: Final = 10_000


class LocalLimits:
    """All limits of a worker that is alone."""

    def __init__(self) -> None:
        self._notices = Notices(_EVENTS)
        self._ledger = Ledger(self._notices)

    @property
    def active(self) -> bool:
        return bool(self._ledger.tenants)

    def configure(self, entries: Mapping[str, LimitEntry], now: Moment) -> None:
        self._ledger.configure(entries, now)

    # -- a call's steps

    def admit(self, claim: Claim, now: Moment) -> GatehouseError | None:
        plan = self._ledger.plan(claim)
        if plan is None:
            return None
        steady = now.steady
        for door in plan.doors:
            if door.used(steady) >= door.least:
                return self._refuse(shut(plan.doors, now), now)
        for door in plan.doors:
            door.enter(steady, now)
        claim.kept = Pledge(plan, claim.holder)
        claim.reserves = limited(plan.funds)
        return None

    def reserve(self, claim: Claim, bound: Bound, now: Moment) -> GatehouseError | Clamp | None:
        pledge = claim.kept
        if not isinstance(pledge, Pledge) or pledge.over or not pledge.plan.funds:
            return None
        if pledge.holds:
            return self._raise(claim, pledge, bound, now)
        self._ledger.calendar.turn(now.unix)
        steady, holder, funds = now.steady, pledge.holder, pledge.plan.funds
        tokens, cost = bound.tokens, UNBOUNDED if bound.cost is None else bound.cost
        balances: list[Balance] = []
        for fund in funds:
            amount = fund.needs(tokens, cost)
            if amount < 0:
                return unbounded(fund, bound)
            balance = fund.balance(steady)
            if not fund.fits(balance, holder, amount):
                break
            balances.append(balance)
        else:
            for index, fund in enumerate(funds):
                amount = fund.needs(tokens, cost)
                pledge.holds.append(fund.take(balances[index], holder, amount, steady, None))
            claim.reserved = _told(pledge.holds)
            return None
        wants = [Want(fund, fund.balance(steady), holder, bound, None) for fund in funds]
        return self._lower(claim, pledge, wants, bound, now)

    def _raise(self, claim: Claim, pledge: Pledge, bound: Bound, now: Moment) -> GatehouseError | Clamp | None:
        """A dearer candidate: what it needs beyond what is held, in the period where the call was admitted."""
        self._ledger.calendar.turn(now.unix)
        for hold in pledge.holds:
            hold.fund.balance(now.steady)
        wants = [Want(hold.fund, hold.balance, pledge.holder, bound, hold) for hold in pledge.holds]
        return self._lower(claim, pledge, wants, bound, now)

    def _lower(
        self, claim: Claim, pledge: Pledge, wants: list[Want], bound: Bound, now: Moment
    ) -> GatehouseError | Clamp | None:
        """Hold what is wanted, with an output maximum that is lowered if need be; or refuse."""
        for want in wants:
            if want.unbounded:
                return unbounded(want.fund, bound)
        most = lowered(wants, bound)
        shortages = [short for want in wants for short in want.shortages(most, now)]
        if shortages:
            return self._refuse(shortages, now)
        steady = now.steady
        pledge.holds = [want.take(most, pledge.holder, steady) for want in wants]
        claim.reserved = _told(pledge.holds)
        return Clamp(most) if most < bound.max_output else None

    def settle(
        self, claim: Claim, tokens: int | None, cost: int | None, now: Moment, *, estimated: bool = False
    ) -> None:
        pledge = claim.kept
        if not isinstance(pledge, Pledge) or pledge.over:
            return
        steady, holder = now.steady, pledge.holder
        settled: list[Settled] = []
        for hold in pledge.holds:
            fund, held = hold.fund, hold.whole()
            truth = fund.settles(tokens, cost, held, estimated=estimated)
            hold.settle(holder, truth, steady, now)
            settled.append(Settled(fund.name, hold.balance.period, held, truth))
        claim.settled = tuple(settled)
        _leave(pledge)

    def withdraw(self, claim: Claim, now: Moment) -> None:
        pledge = claim.kept
        if not isinstance(pledge, Pledge) or pledge.over:
            return
        for hold in pledge.holds:
            hold.settle(pledge.holder, 0, now.steady, now)
        _leave(pledge)

    def correct(self, changes: Sequence[Settled], ago: int, now: Moment) -> None:
        self._ledger.calendar.turn(now.unix)
        for one in changes:
            fund = self._ledger.known(one.counter)
            if isinstance(fund, Fund):
                fund.correct(one.period, one.amount, now.steady - ago, now)

    def lines(self, claim: Claim, now: Moment) -> bytes:
        pledge = claim.kept
        plan = pledge.plan if isinstance(pledge, Pledge) else self._ledger.plan(claim)
        if plan is None:
            return b""
        self._ledger.calendar.turn(now.unix)
        return standing(plan, now)

    def events(self) -> Sequence[LimitEvent]:
        return self._notices.take()

    def _refuse(self, shortages: list[Shortage], now: Moment) -> GatehouseError:
        for short in shortages:
            if short.own < 0 and not short.never:
                short.counter.refused(short.cap, now)
        return refusal(longest(shortages))

    # -- what was counted before

    def restore(
        self, settled: Mapping[tuple[str, str], int], recent: Mapping[str, Sequence[tuple[int, int]]], now: Moment
    ) -> None:
        """Take over what the journal and the store say, after `configure` and before any call.

        `settled`: nano-dollars by (counter, period). `recent`: by counter of requests or tokens what was counted within
        its window, as (Unix microseconds, amount). What calls held that have no outcome is in both: their process died.
        Raises `ValueError` for a name that is no counter's.
        """
        self._ledger.calendar.turn(now.unix)
        for (name, period), amount in settled.items():
            fund = self._ledger.named(name)
            if isinstance(fund, Spend):
                fund.restore(period, amount)
        for name, counted in recent.items():
            counter = self._ledger.named(name)
            if isinstance(counter, (Requests, Tokens)):
                counter.restore([(_steady(at, now), amount) for at, amount in sorted(counted)], now)


def _told(holds: list[Hold]) -> tuple[Reserved, ...]:
    return tuple([Reserved(hold.fund.name, hold.balance.period, hold.whole()) for hold in holds])


def _leave(pledge: Pledge) -> None:
    pledge.over = True
    for door in pledge.plan.doors:
        door.leave()


def _steady(unix: int, now: Moment) -> int:
    """That moment on the steady clock; now, if it were to come."""
    return now.steady - max(0, now.unix - unix)
