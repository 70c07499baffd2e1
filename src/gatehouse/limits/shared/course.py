"""One call's way through shared limits: what it took of each counter, and what becomes of that.

Pure but for `Desk.changed` and `Desk.refund`, which take notes for the next batch.

Rules: what is taken is noted with where it was charged; what a call held is released once. A call that was released
because its worker was taken for dead (`Stake.generation`) releases nothing more. What goes back to a lease that still
holds is no news to the server: it counts as held by this worker either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gatehouse.limits.funds import Fund
from gatehouse.limits.shared.desk import Desk, Items
from gatehouse.limits.shared.holdings import HELD, SPEND, Stake
from gatehouse.limits.shared.parts import Part
from gatehouse.model.limits import Bound, Reserved

UNCHARGED: Final = -1
"""For a granule: the server was not asked, so it counts nothing."""
PRESENT: Final = 0
"""For a granule: whichever it is when the server hears of it."""

Got = tuple[Stake, int, int, int]
"""What a call got of one stake: how much, the granule it was charged to, and the stake's generation then."""


class Line:
    """The counters of calls that are alike, and the stakes in them."""

    __slots__ = ("desk", "doors", "funds", "items", "parts", "shares", "turned")

    def __init__(self, desk: Desk, doors: list[Part], parts: list[Part], holder: str) -> None:
        self.desk = desk
        self.doors = doors
        self.parts = parts
        """Those that calls reserve on."""
        self.funds: list[Fund] = [part.fund for part in parts]
        self.items: Items = [(part.stake, 1) for part in doors]
        """What a call needs at the door."""
        self.shares = [part.share(holder) for part in parts]
        """The holder's, where something bounds it."""
        self.turned = -1
        """The day `parts` count by: `Calendar.turns`."""

    def needed(self, bound: Bound) -> list[int]:
        """By fund, what a call needs in all."""
        return [fund.amount(bound) for fund in self.funds]


class Taken:
    """What a call holds of one fund."""

    __slots__ = ("amount", "got", "period", "share_got", "stake", "truth")

    def __init__(self, stake: Stake, period: str) -> None:
        self.stake = stake
        self.period = period
        self.amount = 0
        self.got: list[Got] = []
        """The later ones for dearer candidates."""
        self.share_got: list[Got] = []
        self.truth = 0
        """What it used, once that is known."""


class Course:
    """One call's."""

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

    def take(self, items: Items, now: int) -> Items:
        """Of leases what they cover. Returns what is to be asked for."""
        lacking = []
        pending = self._pending
        for item in items:
            stake, amount = item
            if stake.free >= amount and now < stake.until:
                stake.free -= amount
                if stake.kind >= HELD:
                    stake.in_use += amount
                pending[stake] = (stake, amount, stake.granule, stake.generation)
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
        """Through the doors, with all that is pending."""
        pending, self._pending = self._pending, {}
        self._doors = [got for got in pending.values() if got[0].kind >= HELD]

    # -- holding

    def needs(self, needed: Sequence[int]) -> Items:
        """What the funds still need of each stake, by what each fund needs in all."""
        items: Items = []
        line = self.line
        if not self.holds:
            self._aimed = [Taken(part.stake, part.period) for part in line.parts]
        for index, more in enumerate(needed):
            if self.holds:
                # A dearer candidate: in the period where the call was admitted.
                taken = self.holds[index]
                stake = taken.stake
                if stake is not line.parts[index].stake:
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
        """All that is pending."""
        self.holds = self.holds or self._aimed
        pending, self._pending = self._pending, {}
        for taken, share in zip(self.holds, self.line.shares, strict=True):
            got = pending.get(taken.stake)
            if got is not None:
                taken.amount += got[1]
                taken.got.append(got)
                if share is not None:
                    taken.share_got.append(pending[share])

    def told(self, *, settled: bool = False) -> tuple[Reserved, ...]:
        """For the record."""
        return tuple(
            [
                Reserved(fund.name, taken.period, taken.truth if settled else taken.amount)
                for fund, taken in zip(self.line.funds, self.holds, strict=False)  # none, if it never reserved
            ]
        )

    # -- ending

    def settle(self, truths: Sequence[int | None], now: int) -> None:
        """What each fund counts in the end; `None`: all that was held."""
        for taken, truth in zip(self.holds, truths, strict=True):
            stake, whole = taken.stake, taken.amount
            used = taken.truth = whole if truth is None else truth
            for got in taken.share_got:
                self._release(got, now)
            if stake.kind == SPEND:
                stake.give_back(whole, used, now)
                self.line.desk.changed(stake)
            elif used != whole:
                self._correct_rate(taken, whole - used, now)

    def correct(self, truths: Sequence[int | None]) -> None:
        """As `settle`, once more; `None`: as it was settled."""
        for taken, truth in zip(self.holds, truths, strict=True):
            if truth is not None and truth != taken.truth:
                if taken.stake.kind == SPEND:
                    taken.stake.spent += truth - taken.truth
                    self.line.desk.changed(taken.stake)
                else:
                    self._correct_rate(taken, taken.truth - truth, taken.stake.until)
                taken.truth = truth

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
        for stake, amount, granule, _ in reversed(taken.got):
            part = min(back, amount)
            if part > 0 and granule == stake.granule and now < stake.until:
                stake.free += part
            elif part and granule != UNCHARGED:
                self.line.desk.refund(stake, granule, part)
            back -= part
            if not back:
                return
