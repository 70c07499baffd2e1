"""One call's way through shared limits: what it took of each counter, and what becomes of that.

Pure but for `Desk.changed`, `Desk.settled` and `Desk.refund`, which take notes for the next batch.

Rules: a call that finds all it needs in leases takes two passes over them, and asks nobody. What is taken is noted with
where it was charged; what a call held is released once. A call that was released because its worker was taken for dead
(`Stake.generation`) releases nothing more. What goes back to a lease that still holds is no news to the server: it
counts as held by this worker either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.counters import ENDLESS
from gatehouse.limits.funds import Fund
from gatehouse.limits.shared.desk import Desk, Items
from gatehouse.limits.shared.holdings import HELD, SPEND, Stake
from gatehouse.limits.shared.parts import Part
from gatehouse.limits.standing import NAMES
from gatehouse.model.limits import Reserved, Settled

UNCHARGED: Final = -1
"""For a granule: the server was not asked, so it counts nothing."""
PRESENT: Final = 0
"""For a granule: whichever it is when the server hears of it."""

Got = tuple[Stake, int, int, int]
"""What a call got of one stake: how much, the granule it was charged to, and the stake's generation then."""


class Line:
    """The counters of calls that are alike, and the stakes in them."""

    __slots__ = (
        "_turned", "desk", "doors", "funds", "items", "measures", "parts", "periods", "shares", "stakes", "version",
    )  # fmt: skip

    def __init__(self, desk: Desk, doors: list[Part], parts: list[Part], holder: str, version: int) -> None:
        self.desk = desk
        self.version = version
        """Of the limits it was made by."""
        self.doors = [part.stake for part in doors]
        self.items: Items = [(stake, 1) for stake in self.doors]
        """What a call needs at the door."""
        self.parts = parts
        """Those that calls reserve on."""
        self.funds: list[Fund] = [part.fund for part in parts]
        self.stakes: list[Stake] = []
        self.periods: list[str] = []
        """By fund, where a call admitted now counts."""
        self.shares: list[Stake | None] = [part.share(holder) for part in parts]
        """By fund, the holder's, where something bounds it."""
        self._turned = -1
        """The day it counts by: `Calendar.turns`."""
        by_measure: dict[str, list[Part]] = {}
        for part in (*doors, *parts):
            by_measure.setdefault(part.counter.measure, []).append(part)
        self.measures = [Measured(measure, several) for measure, several in by_measure.items()]

    def turn(self, calendar: Calendar, unix: int) -> None:
        """Turn to the present day."""
        calendar.turn(unix)
        if self._turned == calendar.turns:
            return
        self._turned = calendar.turns
        for part in self.parts:
            part.turn(calendar)
        self.stakes = [part.stake for part in self.parts]
        self.periods = [part.period for part in self.parts]
        for measured in self.measures:
            measured.turn()


class Measured:
    """A line's hard limits by one measure."""

    __slots__ = ("_parts", "heads", "least", "reset", "stakes", "windows")

    def __init__(self, measure: str, parts: list[Part]) -> None:
        limit, remaining, reset = NAMES[measure]
        self.reset = reset.encode()
        self._parts = [part for part in parts if part.counter.least != ENDLESS]
        self.least = [part.counter.least for part in self._parts]
        self.heads = [f"{limit}{least}{remaining}".encode() for least in self.least]
        """What stands before how much is left, and `reset` before the seconds until that changes."""
        self.windows = [part.counter.window for part in self._parts]
        self.stakes = [part.stake for part in self._parts]

    def turn(self) -> None:
        """Turn to the stakes of the present period."""
        self.stakes = [part.stake for part in self._parts]


class Taken:
    """What a call holds of one fund."""

    __slots__ = ("amount", "got", "period", "share_got", "stake", "truth")

    def __init__(self, stake: Stake, period: str) -> None:
        self.stake = stake
        self.period = period
        self.amount = 0
        self.got: list[Got] = []
        """The first for the first candidate, the others for dearer ones after it."""
        self.share_got: list[Got] = []
        self.truth = 0
        """What it used, once that is known."""


class Course:
    """What one call has taken, holds and gives back."""

    __slots__ = ("_aimed", "_doors", "_pending", "holds", "line", "over")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.holds: list[Taken] = []
        """One per fund, once it has reserved."""
        self.over = False
        self._aimed: list[Taken] = []
        """What `holds` is to be: of the periods that were present when it was asked for."""
        self._doors: list[Got] = []
        self._pending: dict[Stake, Got] = {}
        """Taken, and not yet kept or given back."""

    # -- taking

    def passes(self, now: int) -> bool:
        """Pass the doors, where leases cover all of it; else nothing is taken."""
        doors = self.line.doors
        for stake in doors:
            if stake.free < 1 or now >= stake.until:
                return False
        for stake in doors:
            stake.free -= 1
            if stake.kind >= HELD:
                stake.in_use += 1
                self._doors.append((stake, 1, 0, stake.generation))
        return True

    def affords(self, needed: list[int], now: int) -> bool:
        """Hold what is needed by fund, where leases cover all of it; else nothing is taken. Of a call that holds
        nothing yet."""
        line = self.line
        stakes, shares, periods = line.stakes, line.shares, line.periods
        for index, amount in enumerate(needed):
            stake, share = stakes[index], shares[index]
            if amount > 0 and (stake.free < amount or now >= stake.until):
                return False
            if share is not None and amount > 0 and (share.free < amount or now >= share.until):
                return False
        for index, amount in enumerate(needed):
            stake, share = stakes[index], shares[index]
            taken = Taken(stake, periods[index])
            if amount > 0:
                taken.amount = amount
                taken.got.append(_leased(stake, amount))
                if share is not None:
                    taken.share_got.append(_leased(share, amount))
            self.holds.append(taken)
        return True

    def take(self, items: Items, now: int) -> Items:
        """Take of leases what they cover. Returns what is to be asked for."""
        lacking = []
        pending = self._pending
        for item in items:
            stake, amount = item
            if stake.free >= amount and now < stake.until:
                pending[stake] = _leased(stake, amount)
            else:
                lacking.append(item)
        return lacking

    def granted(self, items: Items) -> None:
        """The server has charged these, and the desk has taken them down."""
        for stake, amount in items:
            self._pending[stake] = (stake, amount, stake.charged, stake.generation)

    def force(self, items: Items) -> None:
        """Nobody could be asked, and the call goes on: what it holds is told later."""
        for stake, amount in items:
            if stake.kind >= HELD:
                stake.in_use += amount
                self.line.desk.changed(stake)
            self._pending[stake] = (stake, amount, UNCHARGED, stake.generation)

    def untake(self, now: int) -> None:
        """The call may not go on: nothing is held of what was pending."""
        pending, self._pending = self._pending, {}
        for got in pending.values():
            stake, amount, granule, _ = got
            if stake.kind >= HELD:
                self._release(got, now)
            elif granule == stake.granule and now < stake.until:
                stake.free += amount
            elif granule != UNCHARGED:
                self.line.desk.refund(stake, granule, amount)

    def enter(self) -> None:
        """Pass the doors with all that is pending."""
        pending, self._pending = self._pending, {}
        self._doors = [got for got in pending.values() if got[0].kind >= HELD]

    # -- holding

    def needs(self, needed: Sequence[int]) -> Items:
        """What the funds still need of each stake, by what each fund needs in all."""
        items: Items = []
        line = self.line
        if not self.holds:
            self._aimed = [Taken(stake, period) for stake, period in zip(line.stakes, line.periods, strict=True)]
        for index, fund in enumerate(line.funds):
            more = min(needed[index], fund.most)
            if self.holds:
                # A dearer candidate: in the period where the call was admitted.
                taken = self.holds[index]
                stake = taken.stake
                if stake is not line.stakes[index]:
                    stake.begins, stake.ends = 0, -1
                more -= taken.amount
            else:
                stake = self._aimed[index].stake
            if more > 0:
                items.append((stake, more))
                share = line.shares[index]
                if share is not None:
                    items.append((share, more))
        return items

    def hold(self) -> None:
        """Hold all that is pending."""
        self.holds = self.holds or self._aimed
        pending, self._pending = self._pending, {}
        for taken, share in zip(self.holds, self.line.shares, strict=True):
            got = pending.get(taken.stake)
            if got is not None:
                taken.amount += got[1]
                taken.got.append(got)
                if share is not None:
                    taken.share_got.append(pending[share])

    def reserved(self) -> tuple[Reserved, ...]:
        """What the decision's record says."""
        funds = self.line.funds
        return tuple([Reserved(funds[at].name, taken.period, taken.amount) for at, taken in enumerate(self.holds)])

    def settled(self) -> tuple[Settled, ...]:
        """What the outcome's record says."""
        funds, told = self.line.funds, []
        for index, taken in enumerate(self.holds):  # none, if it never reserved
            told.append(Settled(funds[index].name, taken.period, taken.amount, taken.truth))
        return tuple(told)

    # -- ending

    def settle(self, tokens: int | None, cost: int | None, now: int, *, estimated: bool) -> None:
        """Each fund counts what `Fund.settles` says."""
        line = self.line
        for index, taken in enumerate(self.holds):
            self._settle(taken, line.funds[index].settles(tokens, cost, taken.amount, estimated=estimated), now)

    def give_up(self, now: int) -> None:
        """The call was never forwarded: it used nothing."""
        for taken in self.holds:
            self._settle(taken, 0, now)

    def _settle(self, taken: Taken, used: int, now: int) -> None:
        stake, whole = taken.stake, taken.amount
        taken.truth = used
        for got in taken.share_got:
            self._release(got, now)
        if stake.kind == SPEND:
            if stake.give_back(whole, used, now):
                self.line.desk.changed(stake)
            else:
                self.line.desk.settled(stake)
        elif used != whole:
            self._correct_rate(taken, whole - used, now)

    def leave(self, now: int) -> None:
        """The call is over."""
        self.over = True
        doors, self._doors = self._doors, []
        for got in doors:
            self._release(got, now)

    def _release(self, got: Got, now: int) -> None:
        stake, amount, _, generation = got
        if generation == stake.generation:
            stake.in_use -= amount
            if now < stake.until:
                stake.free += amount
            else:
                self.line.desk.changed(stake)

    def _correct_rate(self, taken: Taken, back: int, now: int) -> None:
        """Give back so much of a rate, the newest first, to the lease if it still holds; below 0: charge more."""
        if not taken.got:
            self.line.desk.refund(taken.stake, PRESENT, back)
        for index in range(len(taken.got) - 1, -1, -1):
            stake, amount, granule, generation = taken.got[index]
            part = min(back, amount)
            taken.got[index] = (stake, amount - part, granule, generation)
            if part > 0 and granule == stake.granule and now < stake.until:
                stake.free += part
            elif part and granule != UNCHARGED:
                self.line.desk.refund(stake, granule, part)
            back -= part
            if not back:
                return


def _leased(stake: Stake, amount: int) -> Got:
    """Take an amount of what is leased, which is enough."""
    stake.free -= amount
    if stake.kind >= HELD:
        stake.in_use += amount
    return (stake, amount, stake.granule, stake.generation)
