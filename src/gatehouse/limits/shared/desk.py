"""Where the calls of one tenant, in one worker, wait for the shared ledger: batch after batch, one at a time.

Rules
- What comes up while a batch is on its way makes the next one; so what is held can be said in absolute numbers, and the
  server steps once for all calls of an event-loop turn.
- Each batch has a turn. One whose answer was lost may still be done by the server, but never after a later one.
- State is lost where the server has no epoch, or less of a sequence than was seen. Then nobody waits: whoever asks is
  told `down` at once, and the server is asked again now and then until the control plane has rebuilt it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

import hiredis
import msgspec

from gatehouse.limits.shared.connection import Connection, Unanswered
from gatehouse.limits.shared.holdings import HELD, LEASE_US, RATE, UNTOLD, Stake
from gatehouse.limits.shared.scripts import LEDGER, Batched, State, batched, key, packed
from gatehouse.model.moment import Moment

DEAD_US: Final = 10_000_000
"""A worker that was not heard of for this long holds no concurrency any more."""
BEAT_US: Final = 1_000_000
"""How often, at least, a worker that holds anything is heard of."""
TIDY_US: Final = 60_000_000
OLD_US: Final = 7 * 86_400_000_000
"""What was settled is said again after a loss, until its period has been over for this long."""
NEWS_SECONDS: Final = 0.005
"""How long what calls gave back waits for more. What is settled of a lease that lasts waits for the next batch or tick:
held and settled together it is the same."""

_CALLS: Final = 64
_COUNTERS: Final = 400
"""Most of one batch: some milliseconds of the server."""
_NEWS: Final = 64
"""How many more counters a batch holds only to report them, whatever its calls need."""

_log: Final = logging.getLogger(__name__)

Items = list[tuple[Stake, int]]
"""What a call needs of each counter."""

Verdict = Literal["admitted", "full", "period", "down"]
Answered = Callable[[Verdict, list[tuple[Stake, State]]], None]
"""`full`: with the counters in the way. `period`: the server's day is another one."""


class Asking:
    """A call that waits."""

    __slots__ = ("answered", "items")

    def __init__(self, items: Items, answered: Answered) -> None:
        self.items = items
        self.answered = answered


class Batch:
    """What goes to the server in one step."""

    def __init__(self, sent_at: int) -> None:
        self.sent_at = sent_at
        self.stakes: dict[Stake, int] = {}
        """Each with its place, from 1."""
        self.calls: list[Asking] = []
        self.refunds: list[tuple[int, int, int]] = []
        self.held: list[tuple[int, int, int]] = []
        """Per stake what the server is told: held, settled, cap."""

    def place(self, stake: Stake) -> int:
        return self.stakes.setdefault(stake, len(self.stakes) + 1)

    def added(self, results: tuple[tuple[int, ...], ...]) -> dict[Stake, int]:
        """How much of each the admitted calls got."""
        added: dict[Stake, int] = {}
        for asking, short in zip(self.calls, results, strict=True):
            if not short:
                for stake, amount in asking.items:
                    added[stake] = added.get(stake, 0) + amount
        return added

    def counters(self) -> list[tuple[Any, ...]]:
        """As `ledger.lua` reads them."""
        lacking: dict[Stake, int] = {}
        for asking in self.calls:
            for stake, amount in asking.items:
                lacking[stake] = lacking.get(stake, 0) + amount
        for stake in lacking:
            # Too little for a call: it goes back, and may come again with the rest.
            left = stake.drop()
            if left:
                self.refunds.append((self.stakes[stake], stake.granule, left))
        counters = []
        for stake in self.stakes:
            wish = stake.wish(lacking[stake], self.sent_at) if stake in lacking else 0
            self.held.append((stake.held, stake.spent, stake.cap))
            first, second = (stake.begins, stake.ends) if stake.kind > HELD else (stake.width, 0)
            counters.append((stake.name, stake.kind, first, second, stake.cap, stake.held, stake.spent, wish))
        return counters


class Desk:
    """Sends one tenant's batches, and hands out their answers. `moved` is told of each counter a batch has changed."""

    def __init__(
        self,
        tenant: str,
        lane: str,
        connection: Connection,
        clock: Callable[[], int],
        moved: Callable[[Stake, State], None],
    ) -> None:
        self._trouble: str | None = None
        self._ahead = 0
        """The server's time less the worker's monotonic clock, in microseconds, at the last answer."""
        self._tenant = tenant
        self._lane = lane
        self._connection = connection
        self._clock = clock
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self._turn = 0
        self._epoch = ""
        self._seq = 0
        self._batch: Batch | None = None
        """On its way."""
        self._waiting: deque[Asking] = deque()
        self._refunds: dict[tuple[Stake, int], int] = {}
        """By granule."""
        self._news: dict[Stake, None] = {}
        """Stakes to be told of."""
        self._later: dict[Stake, None] = {}
        """The same; by the next tick will do."""
        self._stakes: dict[Stake, None] = {}
        """All that hold or have settled anything."""
        self._leased: set[Stake] = set()
        self._due: asyncio.TimerHandle | None = None
        self._heard_at = 0
        self._tidied_at = clock()
        self._leaving = False

    # -- what calls do

    @property
    def down(self) -> str | None:
        """Why the server cannot be asked; `None`: it can."""
        return self._trouble if self._connection.run is not None else self._connection.trouble

    def now(self, fallback: Moment) -> Moment:
        """The present, by the server's clock once it has spoken."""
        steady = self._clock()
        return Moment(self.unix(steady, fallback), steady)

    def unix(self, steady: int, fallback: Moment) -> int:
        """The same in Unix microseconds alone; `steady`: the worker's clock."""
        return steady + self._ahead if self._ahead else fallback.unix

    @property
    def heard(self) -> bool:
        """Whether the server has spoken: then its clock is known."""
        return self._ahead != 0

    def ask(self, items: Items, answered: Answered) -> None:
        """All of it or none; `answered` is called once, later. Only while not `down`."""
        self._waiting.append(Asking(items, answered))
        if self._batch is None and len(self._waiting) == 1:
            self._loop.call_soon(self._send)

    def changed(self, stake: Stake) -> None:
        """What is held or settled of it is to be told, soon."""
        self._news[stake] = None
        if self._due is None:
            self._due = self._loop.call_later(NEWS_SECONDS, self._tell)

    def settled(self, stake: Stake) -> None:
        """What was held of it is settled, and nothing is left over for others: to be told at the next occasion."""
        self._later[stake] = None

    def refund(self, stake: Stake, granule: int, amount: int) -> None:
        """Give back what was charged to a rate; below 0: charge more. `granule` 0: the present one."""
        if self.down is not None and amount > 0:
            return  # what is lost of these counts as used
        self._refunds[stake, granule] = self._refunds.get((stake, granule), 0) + amount
        if self._due is None:
            self._due = self._loop.call_later(NEWS_SECONDS, self._tell)

    def tick(self) -> None:
        """Four times a second: leases that are over, what was settled, heartbeats, and asking again after a loss."""
        now = self._clock()
        if now - self._tidied_at >= TIDY_US:
            self._tidied_at = now
            self._stakes = {stake: None for stake in self._stakes if not self._done(stake, now)}
        for stake in tuple(self._leased):
            self._expire(stake, now)
        self._news.update(self._later)
        self._later.clear()
        if self._trouble is not None:
            self._send(beat=True)
        elif now - self._heard_at >= BEAT_US:
            if self.holds or not self.told:
                self._send(beat=True)
            else:
                self._heard_at = now
        else:
            self._send()

    def _done(self, stake: Stake, now: int) -> bool:
        """Whether there is nothing to say of it any more."""
        if stake.held or stake.untold:
            return False
        return stake.kind == HELD or 0 <= stake.ends < now + self._ahead - OLD_US

    @property
    def told(self) -> bool:
        """Whether nothing waits, and the server knows everything."""
        waits = self._batch is not None or self._waiting or self._refunds or self._news or self._later
        return not waits and not any(stake.untold for stake in self._stakes)

    @property
    def holds(self) -> bool:
        """Whether some call or lease holds anything."""
        return any(stake.held for stake in self._stakes)

    def leave(self) -> None:
        """This worker ends: give back leases and concurrency. What its calls have reserved stays until their journal is
        read."""
        self._leaving = True
        now = self._clock()
        for stake in tuple(self._leased):
            stake.until = 0
            self._expire(stake, now)
        self._send(beat=True)

    # -- to the server

    def _expire(self, stake: Stake, now: int) -> None:
        granule, before = stake.granule, stake.free
        left = stake.expire(now)
        if left:
            self.refund(stake, granule, left)
        elif before and not stake.free:
            self.changed(stake)
        if now >= stake.until:
            self._leased.discard(stake)

    def _tell(self) -> None:
        self._due = None
        self._send()

    def _send(self, *, beat: bool = False) -> None:
        if self._batch is not None:
            return  # `_take` sends what came up meanwhile
        if self._connection.run is None:
            self._tell_down()
            return
        if not beat and (self._trouble is not None or not (self._waiting or self._refunds or self._news)):
            return
        batch = self._batch = Batch(self._clock())
        while self._waiting and len(batch.calls) < _CALLS and len(batch.stakes) < _COUNTERS:
            asking = self._waiting.popleft()
            batch.calls.append(asking)
            for stake, _ in asking.items:
                batch.place(stake)
        while self._refunds and len(batch.stakes) < _COUNTERS:
            (stake, granule), amount = self._refunds.popitem()
            batch.refunds.append((batch.place(stake), granule, amount))
        most = len(batch.stakes) + _NEWS
        for news in (self._news, self._later):
            while news and len(batch.stakes) < most:
                batch.place(news.popitem()[0])
        self._turn += 1
        counters = batch.counters()
        calls = [[word for stake, amount in c.items for word in (batch.stakes[stake], amount)] for c in batch.calls]
        worker = (self._lane, self._turn, self._epoch, self._seq, self._connection.run, DEAD_US, int(self._leaving))
        try:
            argument = packed((*worker, counters, batch.refunds, calls))
        except OverflowError as error:
            self._batch = None
            self._fail(batch, f"what is counted fits no number of the server's: {error}")
            return
        self._ask(argument)

    def _ask(self, argument: bytes, *, whole: bool = False) -> None:
        def said(answered: object) -> None:
            if isinstance(answered, hiredis.ReplyError) and str(answered).startswith("NOSCRIPT") and not whole:
                self._ask(argument, whole=True)  # nothing was done: the same turn again
            else:
                self._said(answered)

        self._connection.ask(LEDGER.command(key(self._tenant), argument, whole=whole), said)

    # -- from the server

    def _said(self, answered: object) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None  # noqa: S101 - one is on its way for each answer
        trouble = None
        try:
            if not isinstance(answered, bytes):
                trouble = f"the ledger's server says: {answered}"
                if isinstance(answered, Unanswered):
                    trouble = str(answered)
            else:
                found = batched(answered)
                if found.status in ("ok", "joining"):
                    self._take(batch, found)
                    return
                trouble = "the server has lost what limits had counted; it is being rebuilt"
                if found.status != "lost":
                    trouble = f"the server knows another worker by the name {self._lane}: {found.status}"
        except msgspec.MsgspecError as error:
            trouble = f"the ledger's server answered what nobody can read: {error}"
        self._fail(batch, trouble)

    def _fail(self, batch: Batch, trouble: str) -> None:
        """Nobody knows whether it was done: what is held is told anew with the next batch."""
        if trouble != self._trouble:
            _log.warning("limits of tenant %s: %s", self._tenant, trouble)
        self._trouble = trouble
        self._refunds = {place: amount for place, amount in self._refunds.items() if amount < 0}
        for stake in batch.stakes:
            if stake.kind >= HELD:
                stake.told_held = UNTOLD
                self._news[stake] = self._stakes[stake] = None
        for asking in batch.calls:
            asking.answered("down", [])
        self._tell_down()

    def _tell_down(self) -> None:
        while self._waiting:
            self._waiting.popleft().answered("down", [])

    def _take(self, batch: Batch, found: Batched) -> None:
        self._heard_at = self._clock()
        self._ahead = found.at - batch.sent_at
        if found.epoch != self._epoch:
            if self._epoch:
                self._begin_anew(batch)
            self._epoch = found.epoch
        self._seq = found.seq
        if found.removed:
            for stake in self._stakes:
                stake.released()
        added = batch.added(found.results)
        by_place = list(batch.stakes)
        for place, (stake, state) in enumerate(zip(by_place, found.states, strict=True)):
            self._settle_up(stake, state, batch, place, added.get(stake, 0), removed=bool(found.removed))
        self._tell_calls(batch, found)
        if self._waiting:
            self._send()
        elif (self._refunds or self._news) and self._due is None:
            self._due = self._loop.call_later(NEWS_SECONDS, self._tell)

    def _tell_calls(self, batch: Batch, found: Batched) -> None:
        by_place = list(batch.stakes)
        joining = found.status == "joining"
        self._trouble = "what limits had counted is being rebuilt" if joining else None
        for asking, short in zip(batch.calls, found.results, strict=True):
            if joining:
                asking.answered("down", [])
            elif not short:
                asking.answered("admitted", [])
            elif short[0] < 0:
                asking.answered("period", [])
            else:
                asking.answered("full", [(by_place[i - 1], found.states[i - 1]) for i in short])

    def _settle_up(self, stake: Stake, state: State, batch: Batch, place: int, added: int, *, removed: bool) -> None:
        """One counter after its batch."""
        stake.used, stake.settled = state.used, state.settled
        held, spent, cap = batch.held[place]
        if stake.kind >= HELD:
            stake.in_use += added
            stake.told_held = (0 if removed and stake.kind == HELD else held) + added + state.granted
            stake.told_spent = spent
            self._stakes[stake] = None
        stake.charged = state.granule
        if state.granted:
            until = batch.sent_at + (min(LEASE_US, state.left) if stake.kind == RATE else LEASE_US)
            charged = stake.granule
            old = stake.lease(state.granted, state.granule, until)
            if cap != stake.cap:
                stake.end()
            if old:
                self.refund(stake, charged, old)
            self._leased.add(stake)
        if stake.told_held + stake.told_spent != stake.held + stake.spent:
            self.changed(stake)
        elif stake.untold:
            self.settled(stake)
        self._moved(stake, state)

    def _begin_anew(self, batch: Batch) -> None:
        """Another epoch: what it knows of this worker may be old, so all is told again, and no lease holds."""
        for stake in self._stakes:
            if stake not in batch.stakes:
                stake.forget()
                self._news[stake] = None
        for stake in self._leased:
            stake.free = 0
        self._leased.clear()
        self._refunds.clear()
