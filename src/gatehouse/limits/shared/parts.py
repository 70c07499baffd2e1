"""What a worker keeps beside each counter (`limits.counters`, `limits.funds`) where the counting is done elsewhere.

A counter here says which limits stand on it, what a call needs of it, and what is told about it; its own count stays
empty. The numbers are the server's, as it last said.

Rules: a counter's name on the server is its own without the tenant, which the key has; of spend with its period; a
holder's share of it is a counter of what is held, and no more than held.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.counters import ENDLESS, LENGTHS, Alarm, Cap, Counter
from gatehouse.limits.funds import KEPT_PERIODS, Fund, PeriodBalance
from gatehouse.limits.refusals import Shortage
from gatehouse.limits.shared.holdings import HELD, LOG, RATE, SPEND, Stake
from gatehouse.limits.shared.scripts import State
from gatehouse.limits.sliding import LONGEST_LOG, PARTS
from gatehouse.model.moment import Moment


def stake_name(counter: str, period: str = "") -> str:
    """What the server knows a counter by. Raises `ValueError` if it names no tenant."""
    name = counter[counter.index("/") + 1 :]
    return f"{name}@{period}" if period else name


class Share:
    """A holder's stake in what it may hold of a counter, and the counter's `Part`: alive as long as the stake is."""

    __slots__ = ("__weakref__", "part", "stake")

    def __init__(self, part: Part, name: str) -> None:
        self.part = part
        self.stake = Stake(name, HELD, 0, self)


def part_of(stake: Stake) -> Part:
    """The counter that it is a stake in, or in the shares of."""
    owner = stake.owner
    if isinstance(owner, Share):
        return owner.part
    assert isinstance(owner, Part)  # noqa: S101 - nobody else makes stakes
    return owner


class Part:
    """One counter, and this worker's stakes in it."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.alarm = Alarm()
        self.stake = self._made("")
        """The one that a call admitted now counts in."""
        self.period = ""
        self._periods: dict[str, Stake] = {}
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()
        """By holder: as long as some `Line`, call or desk has them, so that there is never a second one."""
        self.changed()

    @property
    def fund(self) -> Fund:
        """The counter, where calls reserve on it."""
        assert isinstance(self.counter, Fund)  # noqa: S101 - a plan's `funds` are such
        return self.counter

    def changed(self) -> None:
        """The limits on it are other ones."""
        counter = self.counter
        self.alarm.next = 0
        cap = -1 if counter.least == ENDLESS else counter.least
        for stake in (self.stake, *self._periods.values()):
            _cap(stake, cap)
        for share in list(self._shares.values()):
            _cap(share.stake, self._share_cap())
        if counter.measure == "requests":
            kind = LOG if counter.least <= LONGEST_LOG else RATE
            if kind != self.stake.kind:
                self.stake.become(kind, self._width(kind))

    def turn(self, calendar: Calendar) -> None:
        """To the present period, where it counts by one."""
        counter = self.counter
        if counter.measure != "spend":
            return
        period = calendar.period(counter.window)
        if period != self.period or not self._periods:
            self.period = period
            self.stake = self.of(period)
            self.alarm = Alarm()
        if counter.window != "total":
            self.stake.begins, self.stake.ends = calendar.day_ends - LENGTHS["day"], calendar.day_ends

    def of(self, period: str) -> Stake:
        """The stake in any period. Old ones that nobody holds anything of are let go."""
        found = self._periods.get(period)
        if found is None:
            found = self._periods[period] = self._made(period)
            for old in sorted(self._periods)[:-KEPT_PERIODS]:
                if not self._periods[old].held and not self._periods[old].untold:
                    del self._periods[old]
        return found

    def kept(self, period: str) -> Stake | None:
        """The stake in a period that calls of this worker still count in; `None`: no call does."""
        return self._periods.get(period)

    def share(self, holder: str) -> Stake | None:
        """What one holder holds of it; `None`: nothing bounds that."""
        counter = self.counter
        if not isinstance(counter, Fund) or not counter.shared or counter.least_share == ENDLESS:
            return None
        found = self._shares.get(holder)
        if found is None:
            found = self._shares[holder] = Share(self, f"{stake_name(counter.name)}%{holder}")
            found.stake.cap = self._share_cap()
        return found.stake

    def seen(self, stake: Stake, share: Stake | None, holder: str) -> PeriodBalance:
        """The counter as the server last said, for finding out what is in a call's way."""
        balance = PeriodBalance("")
        balance.total = stake.used + stake.settled
        balance.held = stake.used if stake.kind == SPEND else 0
        if share is not None:
            balance.shares[holder] = share.used
        return balance

    def shut(self, state: State) -> list[Shortage]:
        """The limits on it that one more call would break."""
        wait = max(0, state.wait)  # of concurrency 0: until a call ends
        caps = [cap for cap in self.counter.caps if cap.hard and state.used >= cap.cap]
        return [Shortage(self.counter, cap, 1, state.used, wait) for cap in caps]

    # -- telling

    def moved(self, state: State, now: Moment) -> None:
        """The server's numbers have changed: tell of the marks that this batch, and no other worker's, has passed."""
        mark = state.settled if self.counter.measure == "spend" else state.used
        alarm = self.alarm
        if mark < alarm.next and now.steady < alarm.until:
            return
        if state.before >= alarm.next:
            self.counter.hush(alarm, state.before)
        self.counter.tell(alarm, mark, self.period, now)

    def refused(self, cap: Cap, now: Moment) -> None:
        """A call was refused for this limit: as good as used up."""
        self.counter.tell(self.alarm, max(self.stake.used + self.stake.settled, cap.cap), self.period, now)
        self.alarm.next = min(self.alarm.next, cap.cap + 1)

    # -- making

    def _made(self, period: str) -> Stake:
        counter = self.counter
        kind = {"requests": RATE, "tokens": RATE, "concurrency": HELD, "spend": SPEND}[counter.measure]
        stake = Stake(stake_name(counter.name, period), kind, self._width(kind), self)
        stake.cap = -1 if counter.least == ENDLESS else counter.least
        return stake

    def _width(self, kind: int) -> int:
        length = LENGTHS.get(self.counter.window, 0)
        return length if kind == LOG else length // PARTS

    def _share_cap(self) -> int:
        counter = self.counter
        return counter.least_share if isinstance(counter, Fund) and counter.least_share != ENDLESS else -1


def _cap(stake: Stake, cap: int) -> None:
    """From now on. What is leased was granted by the cap before."""
    if 0 <= cap and (cap < stake.cap or stake.cap < 0):
        stake.end()
    stake.cap = cap
