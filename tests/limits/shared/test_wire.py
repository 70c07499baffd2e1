"""A connection that breaks between what a worker says and what the server answers: nothing counts twice, nothing leaks,
and no cap is exceeded (I4)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.connection import Connection, server
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.limits.shared.scripts import LEDGER
from gatehouse.model.limits import LimitEntry
from tests.limits.shared.calls import CAP, TOTAL, claim, held, holds, money, passes
from tests.limits.shared.servers import Valkey, admit, bound, limit, now, opened, reserve, state, until


class Wire:
    """Stands between a worker and the server, and may lose one of the two ways."""

    def __init__(self, on: Valkey, path: Path) -> None:
        self.url = f"unix://{path}"
        self.lose: Callable[[], str] = lambda: ""
        """Asked for each piece that comes by: `request` and `answer` are lost with the connection."""
        self.lost = 0
        self._on = on
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_unix_connection(str(self._on.path))
        back = asyncio.ensure_future(self._back(far_reader, writer))
        try:
            while piece := await reader.read(65_536):
                lost = self.lose() if b"EVAL" in piece else ""
                if lost == "request":
                    self.lost += 1
                    break
                far_writer.write(piece)
                if lost == "answer":
                    self.lost += 1
                    back.cancel()
                    await asyncio.wait([back])  # two may not read at once
                    await far_reader.read(1)  # it has done it
                    break
        except OSError:
            pass
        finally:
            back.cancel()
            writer.close()
            far_writer.close()
            self._tasks.discard(task)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                writer.write(piece)
        except OSError:
            pass


@asynccontextmanager
async def wired(
    on: Valkey, folder: Path, lane: str, entries: list[LimitEntry]
) -> AsyncIterator[tuple[SharedLimits, Wire]]:
    """A worker behind a `Wire`, and a server that knows the script: its first answer has done what was asked."""
    on.client().script_load(LEDGER.text)
    wire = Wire(on, folder / f"{lane}.sock")
    await wire.start()
    link = Connection(server(wire.url), timeout=20, connect_timeout=20)
    limits = SharedLimits(link, lane)
    limits.configure({entry.id: entry for entry in entries}, now())
    limits.start()
    await until(lambda: link.run)
    try:
        yield limits, wire
    finally:
        await limits.close()
        await wire.stop()


def once(what: str) -> Callable[[], str]:
    left = [what]
    return lambda: left.pop() if left else ""


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("when_down", ["closed", "open"])
def test_i4_a_reserve_cut_off_counts_once_or_not_at_all(on: Valkey, tmp_path: Path, lost: str, when_down: str) -> None:
    """Whether the server did it or not, and whether the call goes on or not."""

    async def run() -> None:
        await opened(on)
        entry = limit("spend", "total", CAP, max_reserved_share=100, when_down=when_down)
        async with wired(on, tmp_path, "a", [entry]) as (a, wire):
            wire.lose = once(lost)
            found = await holds(a, 700)
            assert wire.lost == 1
            if lost == "answer":
                assert money(on) == (700, 0)
            if when_down == "closed":
                assert isinstance(found, GatehouseError) and found.kind is errors.OVERLOADED
                await until(lambda: money(on) == (0, 0) and a._desks["t"].told)
            else:
                assert isinstance(found, Claim) and found.skipped
                await until(lambda: money(on) == (700, 0) and a._desks["t"].told)
                a.settle(found, 1, 600, now())
                a.settle(found, 1, 600, now())
                await until(lambda: money(on) == (0, 600))

    asyncio.run(run())


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_i4_news_that_are_cut_off_count_once(on: Valkey, tmp_path: Path, lost: str) -> None:
    async def run() -> None:
        await opened(on)
        async with wired(on, tmp_path, "a", [TOTAL]) as (a, wire):
            call = await held(a, 700)
            wire.lose = once(lost)
            a.settle(call, 1, 500, now())
            await until(lambda: wire.lost)
            await until(lambda: money(on) == (0, 500) and a._desks["t"].told)
            a.settle(await passes(a, 500), 1, 500, now())
            await until(lambda: money(on) == (0, 1000))

    asyncio.run(run())


def test_i4_connections_that_break_at_random(on: Valkey, tmp_path: Path) -> None:
    """Two workers, each losing one in eight of its ways to or from the server."""
    draw = random.Random(11)
    cap = 40_000
    entries = [
        limit("spend", "total", cap, max_reserved_share=100),
        limit("concurrency", "now", 12, when_down="closed"),
        limit("requests", "hour", 900, when_down="closed"),
    ]

    async def run() -> None:
        await opened(on)
        async with wired(on, tmp_path, "a", entries) as (a, one), wired(on, tmp_path, "b", entries) as (b, two):
            one.lose = two.lose = lambda: draw.choice(["request", "answer", *[""] * 14])
            admitted = spent = running = 0
            over = asyncio.get_running_loop().time() + 2.5

            async def calls(limits: SharedLimits) -> None:
                nonlocal admitted, spent, running
                while asyncio.get_running_loop().time() < over:
                    call = claim()
                    if await admit(limits, call) is not None:
                        await asyncio.sleep(0.01)
                        continue
                    admitted, running = admitted + 1, running + 1
                    assert running <= 12
                    found = await reserve(limits, call, bound(1, draw.choice([3, 50, 400])))
                    await asyncio.sleep(draw.choice([0, 0.001, 0.02]))
                    running -= 1
                    if isinstance(found, GatehouseError):
                        limits.withdraw(call, now())
                    else:
                        limits.settle(call, 1, call.reserved[0].amount * draw.choice([0, 40, 100]) // 100, now())
                        spent += call.settled[0].amount
                    assert sum(money(on)) <= cap

            await asyncio.gather(*(calls(limits) for limits in (a, b) for _ in range(8)))
            one.lose = two.lose = lambda: ""
            assert one.lost + two.lost > 5 and admitted > 100
            await until(lambda: money(on) == (0, spent))
            await until(lambda: int(state(on).get("h|tenant/t/concurrency/now", 0)) == 0)
            assert admitted <= int(state(on)["n|tenant/t/requests/hour"]) <= 900

    asyncio.run(run())
