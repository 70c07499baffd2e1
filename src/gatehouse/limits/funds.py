"""The counters a call reserves on before it is forwarded, and settles when it is over: tokens and spend.

What lives here: what one counter holds for running calls, and what it counts as used. What does not: all limits of a
call together (`local`), how a refusal is worded (`refusals`).

Rules
- A `Hold` stays with the balance it was taken from: a call counts in the period, and the granule, it was admitted in.
- What is held becomes what was used in one step: nothing is counted twice, nor lost between.
- Truth is counted even where it is above what was held. That is told (`LimitEvent.kind` `exceeded`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.counters import ENDLESS, LENGTHS, Alarm, Cap, Counter, Notices
from gatehouse.limits.sliding import Granules
from gatehouse.model.limits import Bound, LimitEntry
from gatehouse.model.moment import Moment
from gatehouse.model.usage import MOST_COST

UNBOUNDED: Final = -1
"""For an amount: nobody can say."""

KEPT_PERIODS: Final = 4
"""The newest, for a clock that is set back."""


class Balance(ABC):
    """What one counter counts in one period: what running calls hold of it, and what others have used."""

    def __init__(self, period: str) -> None:
        self.period = period
        self.held = 0
        """By running calls."""
        self.shares: dict[str, int] = {}
        """The same by holder, where the limit is shared."""
        self.alarm = Alarm()

    @abstractmethod
    def used(self) -> int:
        """Settled and reserved, as of when the fund was last asked for its balance."""

    @abstractmethod
    def mark(self) -> int:
        """What thresholds go by."""

    @abstractmethod
    def add(self, amount: int, steady: int) -> int:
        """Count; returns the place to correct it at."""

    @abstractmethod
    def adjust(self, place: int, difference: int) -> None:
        """Correct what was counted there."""


class PeriodBalance(Balance):
    """Spend of one calendar period."""

    def __init__(self, period: str) -> None:
        super().__init__(period)
        self.total = 0

    def used(self) -> int:
        return self.total

    def mark(self) -> int:
        return self.total - self.held

    def add(self, amount: int, steady: int) -> int:
        self.total += amount
        return 0

    def adjust(self, place: int, difference: int) -> None:
        self.total += difference


class WindowBalance(Balance):
    """Tokens within a sliding window: a call counts where it was admitted, and leaves with its granule."""

    def __init__(self, length: int) -> None:
        super().__init__("")
        self.sliding = Granules(length)
        self.now = 0

    def used(self) -> int:
        return self.sliding.used(self.now)

    def mark(self) -> int:
        return self.sliding.used(self.now)

    def add(self, amount: int, steady: int) -> int:
        return self.sliding.add(amount, steady)

    def adjust(self, place: int, difference: int) -> None:
        self.sliding.adjust(place, difference)


class Hold:
    """What one call holds of a balance, and when it is over what it used."""

    __slots__ = ("amount", "balance", "before", "fund", "place")

    def __init__(self, fund: Fund, balance: Balance, amount: int, place: int, before: Hold | None) -> None:
        self.fund = fund
        self.balance = balance
        self.amount = amount
        self.place = place
        self.before = before
        """What the call held already when this was added to it, for a dearer candidate."""

    def whole(self) -> int:
        """What the call holds, with the holds before this one."""
        amount, before = self.amount, self.before
        while before is not None:
            amount += before.amount
            before = before.before
        return amount

    def settle(self, holder: str, amount: int, steady: int, now: Moment) -> None:
        """This was used, all told, instead of what was held. `steady`: of `now`."""
        before = self.before
        if before is not None:
            first = min(amount, before.whole())
            before.settle(holder, first, steady, now)
            amount -= first
        balance, fund = self.balance, self.fund
        balance.held -= self.amount
        if fund.shared and holder and self.amount:
            rest = balance.shares[holder] - self.amount
            if rest:
                balance.shares[holder] = rest
            else:
                del balance.shares[holder]
        if amount != self.amount:
            balance.adjust(self.place, amount - self.amount)
        alarm, mark = balance.alarm, balance.mark()
        if mark >= alarm.next or steady >= alarm.until:
            fund.tell(alarm, mark, balance.period, now)


class Fund(Counter):
    """A counter that calls reserve on."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        super().__init__(entry, notices)
        self.least_share = ENDLESS
        """The most that one key may hold, by the smallest of the hard limits."""
        self.by_bound = True
        """What nobody knows settles by the bound."""
        self.most = MOST_COST
        """The most that one call holds."""

    @abstractmethod
    def balance(self, steady: int) -> Balance:
        """The one that a call admitted now counts in: now being `steady`, and the day the calendar was turned to."""

    def amount(self, bound: Bound) -> int:
        """What a call needs at most; `UNBOUNDED`: it is to be refused."""
        return self.needs(bound.tokens, UNBOUNDED if bound.cost is None else bound.cost)

    @abstractmethod
    def needs(self, tokens: int, cost: int) -> int:
        """The same, of a bound in its parts. `cost`: `UNBOUNDED`, where nobody can say."""

    @abstractmethod
    def growing(self, bound: Bound) -> int:
        """What of it grows with the output maximum."""

    def settles(self, tokens: int | None, cost: int | None, held: int, *, estimated: bool) -> int:
        """What counts here in the end, of a call that held so much: what it used; all that was held where nobody knows,
        and no less where a limit trusts no estimate."""
        used = self.truth(tokens, cost)
        if used is None or estimated and self.by_bound and used < held:
            return held
        return used

    @abstractmethod
    def truth(self, tokens: int | None, cost: int | None) -> int | None:
        """What counts here of what a call used; `None`: nobody knows."""

    def correct(self, period: str, difference: int, at: int, now: Moment) -> None:
        """A call that was over used so much more, or less. `at`: when it was admitted, or earlier, on the steady clock.

        In a window, what it used less counts where it was charged, or before, so that it never outlasts that; what it
        used more counts now.
        """
        balance = self.kept(period, now)
        if balance is None:
            return
        balance.add(difference, at if difference < 0 else now.steady)
        alarm, mark = balance.alarm, balance.mark()
        if mark >= alarm.next or now.steady >= alarm.until:
            self.tell(alarm, mark, balance.period, now)

    @abstractmethod
    def kept(self, period: str, now: Moment) -> Balance | None:
        """The balance of that period; `None`: it is not looked at any more."""

    @abstractmethod
    def wait(self, cap: Cap, amount: int, balance: Balance, now: Moment) -> int | None:
        """Microseconds until so much may fit; 0: as soon as a call ends, whenever that is; `None`: never."""

    def used(self, steady: int) -> int:
        return self.balance(steady).used()

    def _today(self, now: Moment) -> tuple[Alarm, int, str]:
        balance = self.balance(now.steady)
        return balance.alarm, balance.mark(), balance.period

    def fits(self, balance: Balance, holder: str, amount: int) -> bool:
        """Whether no hard limit is in the way. What needs nothing always fits."""
        if not amount:
            return True
        if balance.used() + amount > self.least:
            return False
        return not (self.shared and holder) or balance.shares.get(holder, 0) + amount <= self.least_share

    def take(self, balance: Balance, holder: str, amount: int, steady: int, before: Hold | None) -> Hold:
        """Hold what was found to fit."""
        if amount > self.most:
            amount = self.most
        balance.held += amount
        if self.shared and holder and amount:
            balance.shares[holder] = balance.shares.get(holder, 0) + amount
        return Hold(self, balance, amount, balance.add(amount, steady), before)

    def _changed(self, now: Moment) -> None:
        hard = [cap for cap in self.caps if cap.hard]
        self.least_share = min([cap.share for cap in hard], default=ENDLESS)
        # Soft limits would hold whatever a caller names; to a hard one it is as good if it is more than any cap.
        self.most = ENDLESS if hard else MOST_COST
        settling = hard or self.caps
        self.by_bound = not settling or "bound" in [cap.entry.on_unknown for cap in settling]


def limited(funds: Iterable[Fund]) -> bool:
    """Whether a limit stands on any of them: counters outlive their limits, and then ask nothing of calls."""
    for fund in funds:
        if fund.caps:
            return True
    return False


class Tokens(Fund):
    """Prompt and output tokens within a sliding window."""

    def __init__(self, entry: LimitEntry, notices: Notices) -> None:
        super().__init__(entry, notices)
        self.only = WindowBalance(LENGTHS[entry.window])

    def _alarms(self) -> list[Alarm]:
        return [self.only.alarm]

    def balance(self, steady: int) -> Balance:
        only = self.only
        only.now = steady
        only.sliding.used(steady)
        return only

    def kept(self, period: str, now: Moment) -> Balance:
        return self.balance(now.steady)

    def needs(self, tokens: int, cost: int) -> int:
        return tokens

    def growing(self, bound: Bound) -> int:
        return bound.output_tokens

    def truth(self, tokens: int | None, cost: int | None) -> int | None:
        return tokens

    def changes(self, now: Moment) -> int | None:
        return self.only.sliding.changes(now.steady)

    def wait(self, cap: Cap, amount: int, balance: Balance, now: Moment) -> int | None:
        return self.only.sliding.frees(balance.used() + amount - cap.cap, now.steady)

    def idle(self, now: Moment) -> bool:
        return not self.only.held and not self.balance(now.steady).used()

    def restore(self, counted: list[tuple[int, int]], now: Moment) -> None:
        """Count again what was counted before: (steady time, amount)."""
        balance = self.balance(now.steady)
        for time, amount in counted:
            balance.add(amount, time)


class Spend(Fund):
    """Nano-dollars within a calendar period."""

    def __init__(self, entry: LimitEntry, notices: Notices, calendar: Calendar) -> None:
        super().__init__(entry, notices)
        self._calendar = calendar
        self._balances: dict[str, PeriodBalance] = {}
        self._present = PeriodBalance("")
        self._turn = -1
        """Of the calendar, when that was found."""
        self._assumed = 0
        """For a call that nobody knows the bound of; `UNBOUNDED`: such are refused."""

    def _alarms(self) -> list[Alarm]:
        return [balance.alarm for balance in self._balances.values()]

    def balance(self, steady: int) -> PeriodBalance:
        calendar = self._calendar
        if self._turn != calendar.turns:
            self._turn = calendar.turns
            self._present = self.of(calendar.period(self.window))
        return self._present

    def kept(self, period: str, now: Moment) -> PeriodBalance | None:
        return self._balances.get(period)

    def restore(self, period: str, amount: int) -> None:
        """So much was spent in a period before: what that led to has been told."""
        balance = self.of(period)
        balance.add(amount, 0)
        self.hush(balance.alarm, balance.total)

    def of(self, period: str) -> PeriodBalance:
        """The balance of any period. Old ones that nobody holds anything of are let go."""
        balances = self._balances
        found = balances.get(period)
        if found is None:
            found = balances[period] = PeriodBalance(period)
            for old in sorted(balances)[:-KEPT_PERIODS]:
                if old != period and not balances[old].held:
                    del balances[old]
        return found

    def needs(self, tokens: int, cost: int) -> int:
        return self._assumed if cost < 0 else cost

    def growing(self, bound: Bound) -> int:
        return 0 if bound.cost is None else bound.output_cost

    def truth(self, tokens: int | None, cost: int | None) -> int | None:
        return cost

    def wait(self, cap: Cap, amount: int, balance: Balance, now: Moment) -> int | None:
        if balance.used() - balance.held + amount <= cap.cap:
            return 0  # what is in the way is held by calls that run
        return self.changes(now)

    def changes(self, now: Moment) -> int | None:
        ends = self._calendar.ends(self.window)
        return None if ends is None else ends - now.unix

    def idle(self, now: Moment) -> bool:
        """A clock may be set back: what was spent in a period that has just ended is not forgotten either."""
        yesterday = Calendar()
        yesterday.turn(now.unix - LENGTHS["day"])
        period = yesterday.period(self.window)
        return not any(balance.held or balance.total and name >= period for name, balance in self._balances.items())

    def _changed(self, now: Moment) -> None:
        super()._changed(now)
        self._assumed = max([cap.entry.assumed or 0 for cap in self.caps], default=0)
        if any(cap.hard and cap.entry.assumed is None for cap in self.caps):
            self._assumed = UNBOUNDED
