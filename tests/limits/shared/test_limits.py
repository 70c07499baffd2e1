"""Several workers on one server, through the port: what one counts the others see, and what a call gives back."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import cast

import pytest

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.model.limits import Bound, Clamp, Settled
from gatehouse.model.moment import Moment
from gatehouse.model.usage import MOST_COST
from gatehouse.ports import Limits
from tests.limits.shared.servers import (
    Clock,
    Valkey,
    admit,
    bound,
    limit,
    now,
    opened,
    reserve,
    state,
    until,
    worker,
)

DOLLAR = 10**9


def claim(key: str = "k") -> Claim:
    return Claim("t", "p", key)


def quiet(*workers: SharedLimits) -> bool:
    return all(desk.told and not desk.holds for one in workers for desk in one._desks.values())


def test_is_the_port() -> None:
    def takes(port: Limits[Claim]) -> None: ...

    takes(cast(SharedLimits, None))


def test_i4_two_workers_share_a_cap(on: Valkey) -> None:
    """F9: not one cap each."""

    async def run() -> None:
        await opened(on)
        entries = [limit("concurrency", "now", 5), limit("requests", "hour", 500)]
        async with worker(on, "a", entries) as a, worker(on, "b", entries) as b:
            claims = [(each, claim()) for _ in range(4) for each in (a, b)]
            found = await asyncio.gather(*(admit(each, one) for each, one in claims))
            assert [error is None for error in found].count(True) == 5
            refused = next(error for error in found if error is not None)
            assert isinstance(refused, GatehouseError)
            assert (refused.kind, refused.retry_after) == (errors.RATE_LIMITED, 1)
            for each, one in claims:
                each.withdraw(one, now())
            await until(lambda: quiet(a, b))
            assert state(on).get("h|tenant/t/concurrency/now") is None
            assert state(on)["n|tenant/t/requests/hour"] == "5"

    asyncio.run(run())


def test_i4_reserved_becomes_settled(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "total", 10 * DOLLAR), limit("tokens", "minute", 9000)]
        async with worker(on, "a", entries) as a, worker(on, "b", entries) as b:
            one, two = claim("k1"), claim("k2")
            for each, call in ((a, one), (b, two)):
                assert await admit(each, call) is None
                assert await reserve(each, call, bound(2000, 2 * DOLLAR)) is None
            assert [(r.counter, r.amount) for r in one.reserved] == [
                ("t/tenant/t/spend/total", 2 * DOLLAR),
                ("t/tenant/t/tokens/minute", 2000),
            ]
            a.settle(one, 500, DOLLAR, now())
            b.settle(two, None, None, now())
            a.settle(one, 500, DOLLAR, now())
            assert [r.amount for r in one.settled] == [DOLLAR, 500]
            assert [r.amount for r in two.settled] == [2 * DOLLAR, 2000]
            await until(lambda: quiet(a, b))
            found = state(on)
            assert (found["r|tenant/t/spend/total"], found["s|tenant/t/spend/total"]) == ("0", str(3 * DOLLAR))
            assert found["n|tenant/t/tokens/minute"] == "2500"
            assert not [name for name in found if name.startswith("h|")]

    asyncio.run(run())


def test_i4_leases_spare_the_server_and_come_back(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        clock = Clock()
        entries = [limit("requests", "minute", 100_000), limit("spend", "day", 10**6 * DOLLAR)]
        async with worker(on, "a", entries, clock=clock) as a:
            waited = 0
            for _ in range(500):
                call = claim()
                for step in (a.admit(call, now()), a.reserve(call, bound(10, DOLLAR), now())):
                    if asyncio.isfuture(step):
                        waited += 1
                        assert await step is None
                    else:
                        assert step is None
                a.settle(call, 5, DOLLAR // 2, now())
            assert waited < 50
            held = int(state(on)["r|tenant/t/spend/day@" + a._calendar.day])
            assert held > 0
            clock.us += 1_000_001
            await until(lambda: quiet(a))
            found = state(on)
            assert found["r|tenant/t/spend/day@" + a._calendar.day] == "0"
            assert found["s|tenant/t/spend/day@" + a._calendar.day] == str(250 * DOLLAR)
            await until(lambda: state(on)["n|tenant/t/requests/minute"] == "500")

    asyncio.run(run())


def test_a_lease_ends_with_its_deadline_whatever_the_worker_did_meanwhile(on: Valkey) -> None:
    """SIGSTOP of a lease holder: when it goes on, nothing it had leased counts any more."""

    async def run() -> None:
        await opened(on)
        clock = Clock()
        entries = [limit("requests", "minute", 100_000)]
        async with worker(on, "a", entries, clock=clock) as a:
            assert await admit(a, claim()) is None
            assert a.admit(claim(), now()) is None
            clock.us += 1_000_000
            assert asyncio.isfuture(step := a.admit(claim(), now()))
            assert await step is None

    asyncio.run(run())


def test_a_caller_that_leaves_while_it_waits_leaks_nothing(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("concurrency", "now", 5), limit("spend", "day", 100 * DOLLAR)]
        async with worker(on, "a", entries) as a:
            left, cancelled, stays = claim(), claim(), claim()
            waiting: list[object] = [a.admit(left, now()), a.admit(cancelled, now())]
            assert await admit(a, stays) is None
            a.withdraw(left, now())
            waiting.append(a.reserve(stays, bound(1, DOLLAR), now()))
            a.withdraw(stays, now())
            task = asyncio.ensure_future(admit(a, claim()))
            await asyncio.sleep(0)
            task.cancel()
            await until(lambda: all(asyncio.isfuture(step) and step.done() for step in waiting))
            a.withdraw(cancelled, now())
            await until(lambda: quiet(a))
            assert not [name for name in state(on) if name.startswith("h|")]
            assert state(on)["r|tenant/t/spend/day@" + a._calendar.day] == "0"

    asyncio.run(run())


def test_what_was_taken_of_leases_goes_back_where_the_rest_is_refused(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("requests", "minute", 100_000), limit("concurrency", "now", 1)]
        async with worker(on, "a", entries) as a:
            first = claim()
            assert await admit(a, first) is None
            for _ in range(5):
                assert isinstance(await admit(a, claim()), GatehouseError)
            a.withdraw(first, now())
            await a.close()
            assert state(on)["n|tenant/t/requests/minute"] == "1"

    asyncio.run(run())


def test_clamp_lowers_the_output_to_what_the_budget_affords(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "day", 10_000, at_cap="clamp", max_reserved_share=100)]
        async with worker(on, "a", entries) as a:
            call, small = claim(), claim()
            assert await admit(a, call) is None
            needs = Bound(5100, 20_400, max_output=5000, output_tokens=5000, output_cost=20_000)
            found = await reserve(a, call, needs)
            assert found == Clamp(2400)
            assert call.reserved[0].amount == 10_000
            assert await admit(a, small) is None
            error = await reserve(a, small, needs)
            assert isinstance(error, GatehouseError)
            assert error.kind is errors.BUDGET_EXCEEDED

    asyncio.run(run())


def test_one_key_may_not_hold_more_than_its_share(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "day", 100)]
        async with worker(on, "a", entries) as a, worker(on, "b", entries) as b:
            calls = [claim("k1"), claim("k1"), claim("k2"), claim("k1")]
            found = []
            for each, call in zip((a, b, a, b), calls, strict=True):
                assert await admit(each, call) is None
                found.append(await reserve(each, call, bound(1, 20 if call is calls[0] else 10)))
            assert [error is None for error in found] == [True, False, True, False]
            refused = found[1]
            assert isinstance(refused, GatehouseError)
            assert refused.facts is not None
            assert "max_reserved_share" in refused.detail
            a.settle(calls[0], 1, 20, now())
            await until(lambda: not [name for name in state(on) if name.endswith("%k1")])
            assert await reserve(b, calls[1], bound(1, 10)) is None

    asyncio.run(run())


def test_a_dearer_fallback_reserves_the_difference(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [limit("spend", "day", 1000, "key", "k")]) as a:
            call = claim()
            assert await admit(a, call) is None
            assert await reserve(a, call, bound(1, 400)) is None
            assert await reserve(a, call, bound(1, 300)) is None
            assert await reserve(a, call, bound(1, 900)) is None
            assert call.reserved[0].amount == 900
            assert isinstance(await reserve(a, call, bound(1, 1100)), GatehouseError)
            a.settle(call, 1, 50, now())
            await until(lambda: quiet(a))
            assert state(on)["s|key/k/spend/day@" + a._calendar.day] == "50"
            assert state(on)["r|key/k/spend/day@" + a._calendar.day] == "0"

    asyncio.run(run())


def test_a_mark_is_told_by_the_worker_that_passed_it(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("requests", "hour", 10), limit("requests", "day", 4, hard=False)]
        async with worker(on, "a", entries) as a, worker(on, "b", entries) as b:
            for number in range(9):
                assert await admit((a, b)[number % 2], claim()) is None
            told = [(event.kind, event.percent) for each in (a, b) for event in each.events() if event.hard]
            assert sorted(told) == [("threshold", 50), ("threshold", 80)]

    asyncio.run(run())


def test_a_limit_that_is_deleted_and_made_anew_finds_what_was_counted(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = {entry.id: entry for entry in (limit("spend", "total", 1000), limit("requests", "hour", 2))}
        async with worker(on, "a", list(entries.values())) as a:
            running = claim()
            assert await admit(a, running) is None
            assert await reserve(a, running, bound(1, 200)) is None
            a.configure({}, now())
            assert not a.active
            assert await admit(a, claim()) is None
            gc.collect()
            a.configure(entries, now())
            call = claim()
            assert await admit(a, call) is None
            assert isinstance(await admit(a, claim()), GatehouseError)
            assert isinstance(await reserve(a, call, bound(1, 100)), GatehouseError)
            a.settle(running, 1, 150, now())
            await until(lambda: quiet(a))
            assert await reserve(a, call, bound(1, 250)) is None
            a.settle(call, 1, 250, now())
            await until(lambda: quiet(a))
            assert state(on)["s|tenant/t/spend/total"] == "400"

    asyncio.run(run())


def test_the_truth_is_counted_where_it_is_above_the_bound(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        entries = [limit("tokens", "minute", 1000), limit("spend", "total", 1000)]
        async with worker(on, "a", entries) as a:
            for most, used in ((100, 300), (0, 40), (200, 50)):
                call = claim()
                assert await admit(a, call) is None
                assert await reserve(a, call, bound(most, most)) is None
                a.settle(call, used, used, now())
            await until(lambda: quiet(a))
            assert state(on)["n|tenant/t/tokens/minute"] == "390"
            assert state(on)["s|tenant/t/spend/total"] == "390"
            counters = ("t/tenant/t/tokens/minute", "t/tenant/t/spend/total")
            a.correct([Settled(counter, "", 0, 10) for counter in counters], 0, now())
            await until(lambda: quiet(a))
            assert state(on)["n|tenant/t/tokens/minute"] == "400"
            assert state(on)["s|tenant/t/spend/total"] == "400"

    asyncio.run(run())


def test_headers_tell_where_a_caller_stands(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [limit("requests", "hour", 10), limit("concurrency", "now", 3)]) as a:
            call = claim()
            assert await admit(a, call) is None
            said = a.lines(call, now()).decode()
            assert "x-gatehouse-ratelimit-limit: 10\r\nx-gatehouse-ratelimit-remaining: 9\r\n" in said
            assert "x-gatehouse-ratelimit-remaining-concurrency: 2\r\n" in said

    asyncio.run(run())


def test_month_end_counts_where_the_call_was_admitted(on: Valkey) -> None:
    """A worker whose clock is a month behind asks again by the server's day."""

    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "month", 1000)]
        async with worker(on, "a", entries) as a:
            wrong = Moment(now().unix - 40 * 86_400_000_000, 0)
            call = claim()
            assert a.admit(call, wrong) is None
            step = a.reserve(call, bound(1, 100), wrong)
            assert asyncio.isfuture(step)
            assert await step is None
            assert call.reserved[0].period == time.strftime("%Y-%m", time.gmtime())

    asyncio.run(run())


@pytest.mark.parametrize("hard", [True, False])
def test_a_bound_beyond_all_sense_neither_passes_nor_stops_others(hard: bool, on: Valkey) -> None:
    """I4, I7: whatever a body names as its output maximum; numbers of 64 bits are all that the server takes."""
    asked = bound(2**63, 2**90)

    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "day", 10 * DOLLAR, hard=hard), limit("tokens", "day", 10**6, hard=hard)]
        async with worker(on, "a", entries) as a:
            one, two = claim("k1"), claim("k2")
            for call, needs in ((one, asked), (two, bound(2000, DOLLAR))):
                assert await admit(a, call) is None
                error = await reserve(a, call, needs)
                if hard and call is one:
                    assert isinstance(error, GatehouseError) and error.retry_after is None
                    a.withdraw(call, now())
                else:
                    assert error is None
                    a.settle(call, 100, 100, now())
            if not hard:
                assert {held.amount for held in one.reserved} == {MOST_COST}
            await until(lambda: quiet(a))
            assert state(on)[f"s|tenant/t/spend/day@{one_day(on)}"] == ("100" if hard else "200")

    asyncio.run(run())


def test_a_worker_whose_numbers_have_outgrown_the_server_says_so_and_keeps_no_call_waiting(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [limit("spend", "total", 10 * DOLLAR, hard=False)]) as a:
            one = claim("k1")
            assert await admit(a, one) is None
            assert await reserve(a, one, bound(2000, DOLLAR)) is None
            a.settle(one, 2**70, 2**70, now())
            await until(lambda: a._desk("t").down)
            two = claim("k2")
            assert await admit(a, two) is None and await reserve(a, two, bound(2000, 1000 * DOLLAR)) is None
            assert two.skipped

    asyncio.run(run())


def one_day(on: Valkey) -> str:
    """The day that something was settled on."""
    return next(name for name in state(on) if name.startswith("s|tenant/t/spend/day@")).rpartition("@")[2]
