"""I4 over several workers: what a server forgets comes back from the journal, and dead workers hold nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gatehouse.config import settings
from gatehouse.config.settings import Settings
from gatehouse.control.sharing import Sharing
from gatehouse.errors import GatehouseError
from gatehouse.gateway.openings import Openings
from gatehouse.gateway.snapshot import build, filled
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.model.limits import Bound, Clamp, LimitEntry, Settled
from gatehouse.model.snapshot import Sections, Snapshot
from tests.journal.samples import decision, outcome, recover, turn
from tests.journal.test_recovery import die
from tests.limits.shared.servers import Valkey, connection, now, until

CAP = 1000
SPEND = LimitEntry("lim_1", "ten", "tenant", "ten", "spend", "total", CAP, max_reserved_share=100)


class Worker:
    """A worker as far as limits and its lane go."""

    def __init__(self, on: Valkey, journal: Path) -> None:
        self.writer = JournalWriter(journal, "worker", settings.Journal(), asyncio.get_running_loop())
        self.writer.open()
        self.link = connection(on)
        self.limits = SharedLimits(self.link, self.writer.lane)
        self.limits.configure({SPEND.id: SPEND}, now())
        self.limits.start()
        self._calls = 0

    async def begin(self, most: int) -> tuple[str, Claim] | GatehouseError:
        claim = Claim("ten", "prj", "key_a")
        found: object = self.limits.admit(claim, now())
        error = await found if isinstance(found, asyncio.Future) else found
        if error is None:
            found = self.limits.reserve(claim, Bound(0, most), now())
            error = await found if isinstance(found, asyncio.Future) else found
        if isinstance(error, GatehouseError):
            self.limits.withdraw(claim, now())
            return error
        assert not isinstance(error, Clamp)
        self._calls += 1
        name = f"{self.writer.lane}/{self._calls}"
        self.writer.decide("ten", decision(name, reserved=claim.reserved), lambda error: None)
        await turn(1)
        return name, claim

    async def end(self, call: tuple[str, Claim] | GatehouseError, used: int) -> None:
        assert not isinstance(call, GatehouseError)
        name, claim = call
        self.limits.settle(claim, 1, used, now())
        settled = tuple(
            Settled(held.counter, held.period, held.amount, done.amount)
            for held, done in zip(claim.reserved, claim.settled, strict=True)
        )
        self.writer.conclude("ten", outcome(name, settled=settled))
        await turn(3)

    async def kill(self) -> None:
        """As `kill -9` would: it says nothing more, to nobody."""
        die(self.writer)
        self.limits._ticking.cancel()  # type: ignore[union-attr]
        await self.link.close()

    async def close(self) -> None:
        await self.limits.close()
        self.writer.close()


class Machine:
    """One machine's control and workers, on a server."""

    def __init__(self, on: Valkey, journal: Path) -> None:
        self.on = on
        self.journal = journal
        self.snapshot: Snapshot | None = filled(build(Settings()), Sections(limits={SPEND.id: SPEND}), 1)

        async def kept() -> Openings:
            return Openings()

        self.sharing = Sharing(journal, lambda: connection(on), None, lambda: self.snapshot, kept)

    async def held(self) -> tuple[int, int]:
        """(reserved, settled) by the server."""
        found = await asyncio.to_thread(
            self.on.client().hmget, "gatehouse:{ten}", ["r|tenant/ten/spend/total", "s|tenant/ten/spend/total"]
        )
        return int(found[0] or 0), int(found[1] or 0)


@asynccontextmanager
async def machine(on: Valkey, journal: Path) -> AsyncIterator[Machine]:
    await asyncio.to_thread(on.client().flushall)
    await asyncio.to_thread(journal.mkdir)
    made = Machine(on, journal)
    running = asyncio.get_running_loop().create_task(made.sharing.run())
    try:
        await asyncio.wait_for(made.sharing.ready.wait(), 30)
        yield made
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def admits(worker: Worker, most: int, seconds: float = 30.0) -> tuple[str, Claim]:
    """Once the ledger is there."""
    deadline = time.monotonic() + seconds
    while True:
        call = await worker.begin(most)
        if not isinstance(call, GatehouseError):
            return call
        assert time.monotonic() < deadline, call.detail
        await asyncio.sleep(0.05)


async def settles_at(made: Machine, reserved: int, settled: int) -> None:
    deadline = time.monotonic() + 30
    while (found := await made.held()) != (reserved, settled):
        assert time.monotonic() < deadline, f"{found} is not {(reserved, settled)}"
        await asyncio.sleep(0.05)


def test_I4_a_server_that_forgets_is_rebuilt_from_the_lanes(valkey_server: Valkey, tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(valkey_server, tmp_path / "journal") as made:
            first, second = Worker(valkey_server, made.journal), Worker(valkey_server, made.journal)
            await until(lambda: first.link.run and second.link.run)
            await first.end(await admits(first, 300), 200)
            open_call = await admits(second, 400)
            await asyncio.to_thread(valkey_server.client().flushall)
            refused = await second.begin(1)
            assert isinstance(refused, GatehouseError) and refused.kind.code == "OVERLOADED"
            call = await admits(first, 100)
            full = await first.begin(400)
            assert isinstance(full, GatehouseError) and full.kind.code == "BUDGET_EXCEEDED"
            await first.end(call, 100)
            await second.end(open_call, 350)
            await settles_at(made, 0, 200 + 100 + 350)
            await first.close()
            await second.close()

    asyncio.run(run())


def test_a_dead_workers_calls_are_spent_once_its_lane_is_closed(valkey_server: Valkey, tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(valkey_server, tmp_path / "journal") as made:
            first, second = Worker(valkey_server, made.journal), Worker(valkey_server, made.journal)
            await until(lambda: first.link.run and second.link.run)
            await first.end(await admits(first, 100), 40)
            await admits(first, 500)
            await first.kill()
            still = await second.begin(600)
            assert isinstance(still, GatehouseError)
            control = JournalWriter(made.journal, "control", settings.Journal(), asyncio.get_running_loop())
            control.open()
            assert recover(made.journal, control).interrupted == 1
            await settles_at(made, 0, 540)
            await second.end(await admits(second, 460), 460)
            await settles_at(made, 0, 1000)
            await second.close()
            control.close()

    asyncio.run(run())


def test_a_dead_workers_calls_are_spent_though_their_limit_was_deleted_meanwhile(
    valkey_server: Valkey, tmp_path: Path
) -> None:
    """Made anew, it finds nothing that is held for ever."""

    async def run() -> None:
        async with machine(valkey_server, tmp_path / "journal") as made:
            worker = Worker(valkey_server, made.journal)
            await until(lambda: worker.link.run)
            await admits(worker, 500)
            made.snapshot = build(Settings())
            await worker.kill()
            control = JournalWriter(made.journal, "control", settings.Journal(), asyncio.get_running_loop())
            control.open()
            assert recover(made.journal, control).interrupted == 1
            await settles_at(made, 0, 500)
            control.close()

    asyncio.run(run())


def test_nothing_is_started_before_there_is_a_limit(valkey_server: Valkey, tmp_path: Path) -> None:
    async def run() -> None:
        made = Machine(valkey_server, tmp_path)
        made.snapshot = None
        task = asyncio.get_running_loop().create_task(made.sharing.run())
        await asyncio.sleep(0.05)
        assert not made.sharing.needed and not made.sharing.ready.is_set()
        task.cancel()
        await asyncio.wait((task,))

    asyncio.run(run())
