"""`ports.Limits` where several workers, on one machine or many, share the counters.

What lives here: a call's steps. What does not: which counters it has (`limits.ledger`), what is in its way and how it
is told (`limits.reserving`, `limits.refusals`), how it reaches the server (`desk`), what a worker holds (`holdings`).

Rules
- A call that finds all it needs in leases goes on at once; else it waits for one batch. All limits of a call together,
  or none: what it took of leases goes back if the server refuses the rest.
- `answered` runs whether or not anybody still waits. A call that left meanwhile gives back what it got, there.
- Where the server is away, or has lost its state, each limit says whether calls pass (`when_down`; by default a hard
  limit on spend lets none pass). What passes unchecked is on the claim, for the record (I7), and is counted once the
  server is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.calendar import Calendar
from gatehouse.limits.claim import Claim
from gatehouse.limits.counters import Counter, Notices
from gatehouse.limits.funds import Fund, limited
from gatehouse.limits.ledger import Ledger, Plan
from gatehouse.limits.refusals import Shortage, longest, refusal, unbounded
from gatehouse.limits.shared.connection import Connection
from gatehouse.limits.shared.course import PRESENT, Course, Line
from gatehouse.limits.shared.desk import Desk, Items, Verdict
from gatehouse.limits.shared.holdings import Stake
from gatehouse.limits.shared.parts import Part, part_of
from gatehouse.limits.shared.reserving import ATTEMPTS, Reply, Reserving
from gatehouse.limits.shared.scripts import State
from gatehouse.limits.shared.standing import standing
from gatehouse.model.limits import Bound, Clamp, LimitEntry, LimitEvent, Settled
from gatehouse.model.moment import Moment

TICK_SECONDS: Final = 0.25
LEAVING_SECONDS: Final = 1.0
"""How long a worker that ends waits for its last word to be heard."""

_EVENTS: Final = 10_000
_LINES: Final = 4096
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic_us() -> int:
    """Microseconds of a monotonic clock that goes on while the machine sleeps: then leases end too."""
    return time.clock_gettime_ns(_CLOCK) // 1000


class SharedLimits:
    """All limits of a worker that shares them. `lane`: the worker's journal lane, by which its part is known."""

    def __init__(self, connection: Connection, lane: str, clock: Callable[[], int] = monotonic_us) -> None:
        self._connection = connection
        self._lane = lane
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._notices = Notices(_EVENTS)
        self._ledger = Ledger(self._notices)
        self._calendar = Calendar()
        self._desks: dict[str, Desk] = {}
        self._parts: dict[str, Part] = {}
        self._former: WeakValueDictionary[str, Part] = WeakValueDictionary()
        """Of counters that no limit stands on: as long as something is held of them, or to be told."""
        self._lines: dict[Plan, Line] = {}
        self._version = 0
        """Of the limits: how often they were configured."""
        self._ticking: asyncio.TimerHandle | None = None

    @property
    def active(self) -> bool:
        return bool(self._ledger.tenants)

    # -- coming and going

    def start(self) -> None:
        """Connect, and keep what is held known to the server, from now on."""
        self._connection.start()
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    async def close(self) -> None:
        """Give leases and concurrency back, if the server hears it within `LEAVING_SECONDS`; after the last call."""
        if self._ticking is not None:
            self._ticking.cancel()
        for desk in self._desks.values():
            desk.leave()
        deadline = self._loop.time() + LEAVING_SECONDS
        while not all(desk.told for desk in self._desks.values()) and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await self._connection.close()

    def _tick(self) -> None:
        for desk in self._desks.values():
            desk.tick()
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    def configure(self, entries: Mapping[str, LimitEntry], now: Moment) -> None:
        self._ledger.configure(entries, now)
        self._lines.clear()
        self._version += 1
        for name, part in tuple(self._parts.items()):
            part.changed()
            if not part.counter.caps:
                self._former[name] = self._parts.pop(name)

    # -- a call's steps

    def admit(self, claim: Claim, now: Moment) -> GatehouseError | None | Awaitable[GatehouseError | None]:
        line = self._line(claim)
        if line is None:
            return None
        course = claim.kept = Course(line)
        claim.reserves = limited(line.funds)
        return None if course.passes(self._clock()) else self._admit(claim, course, now, None)

    def _admit(
        self, claim: Claim, course: Course, now: Moment, waiting: asyncio.Future[GatehouseError | None] | None
    ) -> GatehouseError | None | Awaitable[GatehouseError | None]:
        """Try; where that takes the server, what is returned tells when it has answered. `waiting`: so it did before,
        and whoever asked waits for that."""
        line = course.line
        items = course.take(line.items, self._clock())
        if not items or line.desk.down is not None:
            error = self._unchecked(claim, course, items) if items else None
            self._entered(course, error, waiting)
            return error
        future = waiting or self._loop.create_future()

        def answered(verdict: Verdict, short: list[tuple[Stake, State]]) -> None:
            error = None
            if verdict == "down":
                error = self._unchecked(claim, course, items)
            elif verdict == "admitted":
                course.granted(items)
            else:
                course.untake(self._clock())
                shortages = _shut(short)
                if not shortages and not course.over and not future.done():
                    self._admit(claim, course, now, future)  # the limits in the way are other ones by now
                    return
                error = self._refuse(shortages, line.desk.now(now)) if shortages else None
            self._entered(course, error, future)

        line.desk.ask(items, answered)
        return future

    def _entered(
        self, course: Course, error: GatehouseError | None, waiting: asyncio.Future[GatehouseError | None] | None
    ) -> None:
        """Admitted or refused: told to whoever waits."""
        if course.over or (waiting is not None and waiting.done()):
            course.untake(self._clock())  # nobody wants it any more
        elif error is None:
            course.enter()
        if waiting is not None and not waiting.done():
            waiting.set_result(error)

    def reserve(
        self, claim: Claim, bound: Bound, now: Moment
    ) -> GatehouseError | Clamp | None | Awaitable[GatehouseError | Clamp | None]:
        course = claim.kept
        if not isinstance(course, Course) or course.over or not course.line.funds:
            return None
        line = course.line
        needed = []
        for fund in line.funds:
            amount = fund.amount(bound)
            if amount < 0:
                return unbounded(fund, bound)
            needed.append(amount)
        steady = self._clock()
        line.turn(self._calendar, line.desk.unix(steady, now))
        if not course.holds and course.affords(needed, steady):
            claim.reserved = course.reserved()
            return None
        return self._reserve(Reserving(claim, course, bound, needed, now))

    def _reserve(self, asked: Reserving) -> Reply | Awaitable[Reply]:
        """Try; where that takes the server, what is returned tells when it has answered."""
        course, claim, desk = asked.course, asked.claim, asked.course.line.desk
        steady = self._clock()
        course.line.turn(self._calendar, desk.unix(steady, asked.now))
        items = course.take(course.needs(asked.needed), steady)
        if items and desk.down is None:
            future = asked.future = asked.future or self._loop.create_future()
            desk.ask(items, lambda verdict, short: self._answered(asked, items, verdict, short))
            return future
        error = self._unchecked(claim, course, items) if items else None
        return self._conclude(asked, error)

    def _answered(self, asked: Reserving, items: Items, verdict: Verdict, short: list[tuple[Stake, State]]) -> None:
        course = asked.course
        if verdict == "admitted":
            course.granted(items)
            self._conclude(asked, None)
        elif verdict == "down":
            self._conclude(asked, self._unchecked(asked.claim, course, items))
        else:
            course.untake(self._clock())
            asked.attempts += 1
            last = asked.attempts >= ATTEMPTS
            error = None
            if verdict == "full" or last:
                now = course.line.desk.now(asked.now)
                shortages = asked.lower(self._calendar, now, dict(short))
                error = self._refuse(shortages, now) if shortages else None
            if error is None and last:
                error = self._unchecked(asked.claim, course, items)
            if error is not None or last or course.over:
                self._conclude(asked, error)
            else:
                self._reserve(asked)

    def _conclude(self, asked: Reserving, error: GatehouseError | None) -> Reply:
        course, future = asked.course, asked.future
        if course.over or (future is not None and future.done()):
            course.untake(self._clock())  # nobody wants it any more
        elif error is None:
            course.hold()
            asked.claim.reserved = course.reserved()
        reply = error or asked.clamp
        if future is not None and not future.done():
            future.set_result(reply)
        return reply

    def settle(
        self, claim: Claim, tokens: int | None, cost: int | None, now: Moment, *, estimated: bool = False
    ) -> None:
        course = claim.kept
        if not isinstance(course, Course) or course.over:
            return
        steady = self._clock()
        course.settle(tokens, cost, steady, estimated=estimated)
        claim.settled = course.settled()
        course.leave(steady)

    def withdraw(self, claim: Claim, now: Moment) -> None:
        course = claim.kept
        if not isinstance(course, Course) or course.over:
            return
        steady = self._clock()
        course.give_up(steady)
        course.leave(steady)

    def correct(self, changes: Sequence[Settled], ago: int, now: Moment) -> None:
        for one in changes:
            fund = self._ledger.known(one.counter)
            if not isinstance(fund, Fund):
                continue  # nothing is limited by it
            part, desk = self._part(fund), self._desk(fund.tenant)
            unix = desk.unix(self._clock(), now)
            if fund.measure == "spend":
                self._calendar.turn(unix)
                part.turn(self._calendar)
                stake = part.kept(one.period)
                if stake is not None:
                    stake.spent += one.amount
                    desk.changed(stake)
            elif one.amount > 0:
                desk.refund(part.stake, PRESENT, -one.amount)
            elif desk.heard:
                # Back where it was charged, by the server's clock: it must not outlast that.
                desk.refund(part.stake, (unix - ago) // part.stake.width, -one.amount)

    def lines(self, claim: Claim, now: Moment) -> bytes:
        course = claim.kept
        line = course.line if isinstance(course, Course) else None
        if line is None or line.version != self._version:
            line = self._line(claim)
        if line is None:
            return b""
        unix = line.desk.unix(self._clock(), now)
        line.turn(self._calendar, unix)
        return standing(line, self._calendar, unix)

    def events(self) -> Sequence[LimitEvent]:
        return self._notices.take()

    # -- what a call counts on

    def _line(self, claim: Claim) -> Line | None:
        plan = self._ledger.plan(claim)
        if plan is None:
            return None
        line = self._lines.get(plan)
        if line is None:
            if len(self._lines) >= _LINES:
                self._lines.clear()
            doors = [self._part(counter) for counter in plan.doors]
            parts = [self._part(counter) for counter in plan.funds]
            line = self._lines[plan] = Line(self._desk(claim.tenant), doors, parts, claim.holder, self._version)
        return line

    def _desk(self, tenant: str) -> Desk:
        found = self._desks.get(tenant)
        if found is None:
            found = self._desks[tenant] = Desk(tenant, self._lane, self._connection, self._clock, self._moved)
        return found

    def _part(self, counter: Counter) -> Part:
        found = self._parts.get(counter.name)
        if found is None:
            found = self._parts[counter.name] = self._former.get(counter.name) or Part(counter)
        if found.counter is not counter:
            found.counter = counter
            found.changed()
        return found

    # -- answers

    def _moved(self, stake: Stake, state: State) -> None:
        part = stake.owner
        if isinstance(part, Part) and stake is part.stake:
            steady = self._clock()
            part.moved(state, self._desks[part.counter.tenant].now(Moment(0, steady)))

    def _refuse(self, shortages: list[Shortage], now: Moment) -> GatehouseError:
        for short in shortages:
            if short.own < 0 and not short.never:
                self._parts[short.counter.name].refused(short.cap, now)
        return refusal(longest(shortages))

    def _unchecked(self, claim: Claim, course: Course, items: Items) -> GatehouseError | None:
        """The server cannot say: by limit, refuse, or let pass and put it on record."""
        why = course.line.desk.down or "the server does not say anything that holds"
        passed = []
        for part in dict.fromkeys(part_of(stake) for stake, _ in items):
            for cap in part.counter.caps:
                entry = cap.entry
                if entry.when_down == "closed" or (entry.when_down is None and entry.hard and entry.measure == "spend"):
                    course.untake(self._clock())
                    detail = f"limit {entry.id} cannot be checked now, and lets no call pass until it can: {why}"
                    return GatehouseError(errors.OVERLOADED, detail, retry_after=1, facts={"limit": {"id": entry.id}})
                passed.append(f"limit {entry.id}: {why}")
        claim.skipped += tuple(passed)
        course.force(items)
        return None


def _shut(short: list[tuple[Stake, State]]) -> list[Shortage]:
    return [one for stake, state in short for one in part_of(stake).shut(state)]
