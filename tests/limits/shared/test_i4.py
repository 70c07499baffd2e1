"""I4 with several workers on a real server: random concurrent calls that settle, fail, reserve more, are cancelled
while they wait or die with their worker, while time passes (month end too), workers are stopped and started again, the
clock is set back, limits change, and the server forgets all or a part. `world` is where that happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.limits.shared.rebuilding import Rebuilder
from gatehouse.model.limits import Reserved, Settled
from tests.limits.shared.servers import bound, connection, until
from tests.limits.shared.world import CAPS, CONCURRENCY, HOUR, RATES, SECOND, TOKENS, Call, World, cost_of, entries


class Shared(World):
    """Two workers, later others."""

    @initialize()
    def begin(self) -> None:
        self.wait(self._worker())
        self.wait(self._worker())
        self.wait(self._rebuild())

    # -- calls

    async def _call(self, lane: str, key: str, tokens: int, cost: int, leaves: int, uses: int | None = None) -> None:
        """`leaves`: 1 and 2: the caller leaves while it waits for the first or the second step. `uses`: ends at once,
        with so many per cent of its bound; `None`: runs on."""
        limits = self.workers[lane]
        claim = Claim("t", "p", key)
        at = self.unix
        if await self._step(limits.admit(claim, self.now()), limits, claim, leaves == 1) is not None:
            return
        if leaves != 1:
            self.admitted["many"].append((at, 1))
            if key == "k1":
                self.admitted["few"].append((at, 1))
        if (
            await self._step(limits.reserve(claim, bound(tokens, cost), self.now()), limits, claim, leaves == 2)
            is not None
        ):
            limits.withdraw(claim, self.now())
            return
        if leaves:
            limits.withdraw(claim, self.now())
            return
        self.running.append(Call(lane, claim, at, tokens))
        day = claim.reserved[1]
        assert not day.amount or self.spent()[day.counter, day.period] <= self.day
        if uses is None:
            return
        call = self.running.pop()
        limits.settle(claim, tokens, cost_of(claim) * uses // 100, self.now())
        self._ended(call)

    async def _step(self, found: object, limits: SharedLimits, claim: Claim, leaves: bool) -> object:
        if not isinstance(found, Awaitable):
            return found
        if leaves:
            limits.withdraw(claim, self.now())
        return await found

    @rule(
        lanes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
        key=st.sampled_from(["k1", "k2", "k3"]),
        tokens=st.sampled_from([1, 40, 900]),
        cost=st.sampled_from([0, 3, 50, 400]),
        leaves=st.sampled_from([0, 0, 0, 1, 2]),
        uses=st.sampled_from([None, None, 0, 40, 100]),
    )
    def calls(self, lanes: list[int], key: str, tokens: int, cost: int, leaves: int, uses: int | None) -> None:
        self.wait(
            self._together(lanes, lambda lane: self._call(lane, key, tokens, cost, leaves, uses)),
        )

    @rule(lanes=st.lists(st.integers(0, 9), min_size=3, max_size=6), cost=st.sampled_from([90, 300, 700]))
    def spending(self, lanes: list[int], cost: int) -> None:
        """Calls that use all they may: so caps are reached."""
        self.wait(self._together(lanes, lambda lane: self._call(lane, "k2", 1, cost, 0, 100)))

    async def _together(self, lanes: list[int], call: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        names = list(self.workers)
        await asyncio.gather(*(call(names[index % len(names)]) for index in lanes))

    @rule(index=st.integers(0, 50), more=st.sampled_from([1, 100, 1000]))
    def fallback(self, index: int, more: int) -> None:
        """To a dearer candidate: the difference is held too, or nothing more."""
        if self.running:
            call = self.running[index % len(self.running)]
            needs = bound(1, cost_of(call.claim) + more)
            limits = self.workers[call.lane]
            self.wait(self._step(limits.reserve(call.claim, needs, self.now()), limits, call.claim, False))

    @rule(index=st.integers(0, 50), share=st.sampled_from([None, 0, 30, 100]), withdrawn=st.booleans())
    def end(self, index: int, share: int | None, withdrawn: bool) -> None:
        """Settled with what it used, or nobody knows; or it never went upstream."""
        if not self.running:
            return
        call = self.running.pop(index % len(self.running))
        limits = self.workers[call.lane]
        if withdrawn:
            limits.withdraw(call.claim, self.now())
            return
        cost = cost_of(call.claim)
        limits.settle(call.claim, None, None if share is None else cost * share // 100, self.now())
        self._ended(call)

    @rule(index=st.integers(0, 50), lane=st.integers(0, 9), share=st.sampled_from([0, 30, 90]))
    def report(self, index: int, lane: int, share: int) -> None:
        """What a call used after all, through whichever worker, as long as it counts in present periods."""
        if not self.over or not self.workers:
            return
        call = self.over[index % len(self.over)]
        settled, call.claim.settled = call.claim.settled, ()
        calendar = Calendar()
        calendar.turn(self.unix)
        if not settled or settled[1].period != calendar.day:
            return
        name = list(self.workers)[lane % len(self.workers)]
        changes = [Settled(one.counter, one.period, 0, one.amount * share // 100 - one.amount) for one in settled]
        self.workers[name].correct(changes, self.unix - call.at, self.now())
        self._outcome(name, changes)
        call.tokens += changes[0].amount

    def _ended(self, call: Call) -> None:
        """It was forwarded: this is on record."""
        call.tokens = call.claim.settled[0].amount
        self._outcome(call.lane, call.claim.settled)
        self.over.append(call)

    def _outcome(self, lane: str, settled: Sequence[Reserved | Settled]) -> None:
        for one in settled:
            if "/spend/" in one.counter:
                period = (one.counter, one.period)
                self.settled[lane][period] = self.settled[lane].get(period, 0) + one.amount

    # -- what happens meanwhile

    @rule(us=st.sampled_from([1, SECOND, 5 * SECOND, 31 * SECOND, 61 * SECOND]))
    def time(self, us: int) -> None:
        self.wait(self._live(us))

    @rule(index=st.integers(0, 9))
    def worker_is_stopped(self, index: int) -> None:
        """SIGSTOP for 12 s, then it goes on: its leases are over, and it was taken for dead."""
        lane = list(self.workers)[index % len(self.workers)]
        for call in self.running:
            call.counts = call.counts and call.lane != lane
        self.wait(self._live(12 * SECOND, lane))

    @rule()
    def clock_set_back(self) -> None:
        """The server's clock, by an hour: what is stored is what counts. It is behind by far all the time; here the
        workers' falls back too."""
        for limits in self.workers.values():
            limits._calendar.turn(self.unix - HOUR)

    @rule(day=st.sampled_from([3000, 2000, 5000]))
    def limits_change(self, day: int) -> None:
        """A lower cap refuses; it takes nothing back."""
        self.day = day
        for limits in self.workers.values():
            limits.configure({entry.id: entry for entry in entries(day)}, self.now())

    @rule(index=st.integers(0, 9))
    def worker_dies(self, index: int) -> None:
        """`kill -9`: its lane is read to its end, its open calls were interrupted and settle by their bound."""

        async def die() -> None:
            lane = list(self.workers)[index % len(self.workers)]
            limits = self.workers.pop(lane)
            assert limits._ticking is not None
            limits._ticking.cancel()
            await limits._connection.close()
            for call in [call for call in self.running if call.lane == lane]:
                self.running.remove(call)
                self._outcome(lane, call.claim.reserved)
                self.over.append(call)
            link = connection(self.on)
            link.start()
            await until(lambda: link.run)
            await self._live(11 * SECOND)
            # Where that is lost, it is rebuilt without it.
            buried = await Rebuilder(link).bury("t", lane, self.settled[lane])
            assert buried or await Rebuilder(link).lost(["t"])
            await link.close()
            await self._worker()
            await self._back()

        self.wait(die())

    @rule()
    def server_forgets(self) -> None:
        self.on.client().flushall()

        async def nobody_passes() -> None:
            before = len(self.running)
            for lane in self.workers:
                await self._call(lane, "k3", 1, 1, 0)
            # By leases, at the most; the server lets nobody pass.
            assert len(self.running) - before <= len(self.workers)
            await self._back()

        self.wait(nobody_passes())

    @rule(index=st.integers(0, 9))
    def worker_is_replaced(self, index: int) -> None:
        """It ends its calls, gives back what it leased, and another one starts."""

        async def replace() -> None:
            lane = list(self.workers)[index % len(self.workers)]
            limits = self.workers.pop(lane)
            for call in [call for call in self.running if call.lane == lane]:
                self.running.remove(call)
                limits.settle(call.claim, 1, cost_of(call.claim) // 2, self.now())
                self._ended(call)
            await limits.close()
            await self._worker()
            await self._back()

        self.wait(replace())

    @rule(index=st.integers(0, 50))
    def server_drops_a_key(self, index: int) -> None:
        """Whichever: by whoever misses it, it is noticed or not needed."""
        names = sorted(self.on.client().keys("gatehouse:{t}*"))
        self.on.client().delete(names[index % len(names)])

        async def goes_on() -> None:
            for lane in list(self.workers):
                await self._call(lane, "k1", 40, 3, 0, 100)
            await self._live(2 * SECOND)
            await self._back()

        self.wait(goes_on())

    # -- the promise

    @invariant()
    def no_rate_is_exceeded(self) -> None:
        for name, (window, cap) in RATES.items():
            counted = self.admitted[name]
            for index, (last, _) in enumerate(counted):
                assert sum(amount for at, amount in counted[: index + 1] if last - at <= window) <= cap, name

    @invariant()
    def nothing_is_above_a_hard_cap(self) -> None:
        for (counter, _), amount in self.spent().items():
            window = counter.rpartition("/")[2]
            assert amount <= {"day": 5000, "month": CAPS["month"], "total": CAPS["key"]}[window], counter
        assert len([call for call in self.running if call.counts]) <= CONCURRENCY
        found: Any = self.on.client().hgetall("gatehouse:{t}")
        for name, cap in (("project/p/spend/month", CAPS["month"]), ("key/k2/spend/total", CAPS["key"])):
            for field in [field for field in found if field.startswith(f"r|{name}")]:
                assert int(found[field]) + int(found.get("s" + field[1:], 0)) <= cap, field
        assert int(found.get("h|project/p/concurrency/now", 0)) <= CONCURRENCY
        assert int(found.get("n|tenant/t/tokens/minute", 0)) <= TOKENS

    def teardown(self) -> None:
        """Quiescence: nothing is reserved, and what is settled is what is on record."""
        try:
            if self.workers:
                self.wait(self._quiet())
        finally:
            self.server.__exit__(None, None, None)
            self.loop.close()

    async def _quiet(self) -> None:
        await self._back()
        for call in self.running:
            self.workers[call.lane].settle(call.claim, 1, 0, self.now())
            self._outcome(call.lane, call.claim.settled)
        self.pass_time(2 * SECOND)
        for limits in self.workers.values():
            limits._desk("t").tick()
        desks = [desk for limits in self.workers.values() for desk in limits._desks.values()]
        await until(lambda: all(desk.told and not desk.holds for desk in desks))
        found: Any = self.on.client().hgetall("gatehouse:{t}")
        assert not [name for name, amount in found.items() if name[:2] in ("r|", "h|") and int(amount)]
        for (counter, period), amount in self.openings().settled.items():
            field = f"s|{counter[2:]}" + (f"@{period}" if period else "")
            assert int(found.get(field, 0)) == amount, field
        for limits in self.workers.values():
            await limits.close()


def test_i4_shared() -> None:
    run_state_machine_as_test(
        Shared,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
