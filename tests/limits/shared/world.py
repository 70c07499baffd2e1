"""What the stateful test of shared limits plays in: workers, a server, a journal's worth of records, and time.

Time is told: the server's is never lower than what is stored, and what is stored here lies ahead of its clock; workers
have a clock of the test's. So both move together, by the test's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.limits.shared.rebuilding import Lane, OnRecord, Rebuilder
from gatehouse.model.limits import LimitEntry, Reserved
from gatehouse.model.moment import Moment
from tests.limits.shared.servers import Clock, Valkey, connection, limit, until, valkey

START = 1_806_537_599_000_000 - 30_000_000
"""Half a minute before a month ends: Unix microseconds, 2027-03-31T23:59:29Z, ahead of the server's clock."""
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

RATES = {"few": (MINUTE, 7), "many": (MINUTE, 1500)}
TOKENS = 4000
"""A minute."""
CAPS = {"day": 3000, "month": 4000, "key": 900}
CONCURRENCY = 6


def entries(day: int) -> list[LimitEntry]:
    closed: dict[str, Any] = {"when_down": "closed", "max_reserved_share": 60}
    return [
        limit("requests", "minute", RATES["few"][1], "key", "k1", **closed),
        limit("requests", "minute", RATES["many"][1], **closed),
        limit("tokens", "minute", TOKENS, **closed),
        limit("concurrency", "now", CONCURRENCY, "project", "p", **closed),
        limit("spend", "day", day, **closed),
        limit("spend", "month", CAPS["month"], "project", "p", at_cap="clamp", **closed),
        limit("spend", "total", CAPS["key"], "key", "k2", **closed),
    ]


class Call:
    """One that runs, and what is on record of it."""

    def __init__(self, lane: str, claim: Claim, at: int, tokens: int) -> None:
        self.lane = lane
        self.claim = claim
        self.at = at
        """When it came."""
        self.tokens = tokens
        """That it used or, while it runs, may use."""
        self.counts = True
        """Against concurrency; not once its worker was taken for dead."""


def cost_of(claim: Claim) -> int:
    """What it has reserved."""
    return next(one.amount for one in claim.reserved if one.counter == "t/tenant/t/spend/day")


class World(RuleBasedStateMachine):
    """Workers on a server, the clocks of all, and what is on record."""

    def __init__(self) -> None:
        super().__init__()
        self.server = valkey()
        self.on: Valkey = self.server.__enter__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.started = self.clock.us
        self.day = CAPS["day"]
        self.workers: dict[str, SharedLimits] = {}
        self.born = 0
        self.running: list[Call] = []
        self.over: list[Call] = []
        """Those that have ended, and were forwarded."""
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
            await until(lambda: all(desk.told or desk.down for desk in desks))  # noqa: B023 - awaited here

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

    def openings(self) -> OnRecord:
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
        }
        recent = {
            names[name]: [(at, amount) for at, amount in counted if at >= self.unix - RATES[name][0]]
            for name, counted in self.admitted.items()
        }
        calls = (*self.running, *self.over)
        recent["t/tenant/t/tokens/minute"] = [(call.at, call.tokens) for call in calls if call.at >= self.unix - MINUTE]
        return OnRecord(total, lanes, recent)

    async def _rebuild(self) -> None:
        async def read(tenant: str) -> OnRecord:
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
        await link.close()

    async def _back(self) -> None:
        """Until each worker has heard from the server, which has what it is to have."""
        await self._rebuild()
        for limits in self.workers.values():
            limits._desk("t").tick()
        await until(lambda: all(limits._desk("t").down is None for limits in self.workers.values()))

    def spent(self) -> dict[tuple[str, str], int]:
        """Settled and reserved by (counter, period), by what claims and records say."""
        found: dict[tuple[str, str], int] = {}
        for call in self.running:
            for one in call.claim.reserved:
                if "/spend/" in one.counter:
                    found[one.counter, one.period] = found.get((one.counter, one.period), 0) + one.amount
        for settled in self.settled.values():
            for period, amount in settled.items():
                found[period] = found.get(period, 0) + amount
        return found
