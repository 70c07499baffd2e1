"""While the server is away: each limit says whether calls pass, nobody waits for longer than said, and what could not
be checked is for the record (I7)."""

from __future__ import annotations

import asyncio
import signal
import time

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from tests.limits.shared.servers import Clock, Valkey, admit, bound, limit, now, opened, reserve, state, until, worker

DOLLAR = 10**9


def claim() -> Claim:
    return Claim("t", "p", "k")


def silenced(on: Valkey, limits: SharedLimits) -> None:
    """From now on the server says nothing, and is not waited for as long as a busy one before."""
    on.signal(signal.SIGSTOP)
    limits._connection._timeout = 0.05


def test_i7_a_server_that_does_not_answer_is_waited_for_no_longer_than_said(on: Valkey) -> None:
    """Hard spend closed, all else open unless the limit says otherwise; what passed unchecked is for the record."""

    async def run() -> None:
        await opened(on)
        entries = [limit("requests", "hour", 10), limit("concurrency", "now", 9), limit("spend", "day", DOLLAR)]
        async with worker(on, "a", entries) as a:
            before = claim()
            assert await admit(a, before) is None
            silenced(on, a)
            try:
                call = claim()
                began = time.monotonic()
                assert await admit(a, call) is None
                assert time.monotonic() - began < 10
                assert [word.partition(":")[0] for word in call.skipped] == [f"limit {e.id}" for e in entries[:2]]
                error = await reserve(a, call, bound(1, 1))
                assert isinstance(error, GatehouseError)
                assert (error.kind, error.retry_after) == (errors.OVERLOADED, 1)
                assert entries[2].id in error.detail
                assert a.admit(claim(), now()) is None, "the next call does not even wait"
            finally:
                on.signal(signal.SIGCONT)

    asyncio.run(run())


def test_i7_only_what_could_not_be_checked_refuses_or_is_recorded(on: Valkey) -> None:
    """A call that needs nothing of a limit, or holds a lease that covers it, does not depend on the server."""

    async def run() -> None:
        await opened(on)
        clock = Clock()
        tokens = limit("tokens", "minute", 1000)
        entries = [tokens, limit("spend", "day", 1000 * DOLLAR), limit("requests", "hour", 10**6, when_down="closed")]
        async with worker(on, "a", entries, clock=clock) as a:
            first, leased, own = claim(), claim(), claim()
            assert await admit(a, first) is None
            assert await reserve(a, first, bound(100, DOLLAR)) is None
            silenced(on, a)
            try:
                assert await admit(a, leased) is None
                assert leased.skipped == ()
                assert await reserve(a, leased, bound(0, DOLLAR)) is None
                assert leased.skipped == ()
                assert await admit(a, own) is None
                assert await reserve(a, own, bound(900, 0)) is None
                assert [word.partition(":")[0] for word in own.skipped] == [f"limit {tokens.id}"]
                clock.us += 2_000_000
                assert isinstance(await admit(a, claim()), GatehouseError)
            finally:
                on.signal(signal.SIGCONT)

    asyncio.run(run())


def test_i7_each_limit_says_what_happens_while_the_server_is_away(on: Valkey) -> None:
    async def run() -> None:
        closed = limit("requests", "hour", 10, when_down="closed")
        async with worker(on, "a", [closed]) as a:
            error = await admit(a, claim())
            assert isinstance(error, GatehouseError)
            assert (error.kind, closed.id in error.detail) == (errors.OVERLOADED, True)
        spend = limit("spend", "day", 2 * DOLLAR, when_down="open")
        async with worker(on, "b", [spend]) as b:
            call = claim()
            assert await admit(b, call) is None
            assert await reserve(b, call, bound(1, DOLLAR)) is None
            assert call.skipped == (
                f"limit {spend.id}: the server has lost what limits had counted; it is being rebuilt",
            )
            b.settle(call, 1, DOLLAR, now())
            await opened(on)
            # What passed unchecked counts as soon as the ledger is back.
            await until(lambda: state(on).get("s|tenant/t/spend/day@" + b._calendar.day) == str(DOLLAR))

    asyncio.run(run())
