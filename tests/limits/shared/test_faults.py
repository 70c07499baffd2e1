"""Servers, lanes, clocks and limits that do what they should not: nothing counts twice, nothing leaks, and no cap is
exceeded (I4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.shared.limits import monotonic_us
from gatehouse.limits.shared.rebuilding import OnRecord, Rebuilder
from gatehouse.model.limits import Settled
from gatehouse.model.moment import Moment
from tests.crash.processes import free_port
from tests.limits.shared.calls import CAP, TOTAL, claim, held, holds, money, passes
from tests.limits.shared.servers import (
    Clock,
    Valkey,
    admit,
    bound,
    limit,
    linked,
    now,
    opened,
    reserve,
    state,
    until,
    valkey,
    worker,
)

SECOND = 1_000_000


def pass_time(on: Valkey, us: int) -> None:
    """The server's, which is never lower than what is stored."""
    on.client().hset("gatehouse:{t}", "at", max(int(state(on)["at"]), now().unix) + us)


def ask(on: Valkey, *words: str | int) -> str:
    """Any command."""
    return str(on.client().execute_command(*words))  # type: ignore[no-untyped-call]


# -- what the server says


def test_i7_commands_the_server_forbids_are_a_loss_of_service(on: Valkey) -> None:
    """An ACL that is too narrow: it is told why, and nothing raises."""

    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [TOTAL]) as a:
            a.settle(await held(a, 100), 1, 60, now())
            on.client().acl_setuser("default", enabled=True, commands=["-evalsha", "-eval"])
            try:
                found = await holds(a, 100)
                assert isinstance(found, GatehouseError)
                assert (found.kind, "permission" in found.detail) == (errors.OVERLOADED, True)
            finally:
                on.client().acl_setuser("default", enabled=True, commands=["+evalsha", "+eval"])
            a.withdraw(await passes(a, 100), now())
            await until(lambda: money(on) == (0, 60))

    asyncio.run(run())


def test_a_cluster_of_one_serves_and_says_where_it_does_not(on: Valkey) -> None:
    """All keys of a tenant lie in one slot. A slot that is not there is a loss of service."""
    ports = ("--port", str(free_port()), "--cluster-port", str(free_port()), "--bind", "127.0.0.1")
    with valkey("--cluster-enabled", "yes", *ports) as cluster:

        async def run() -> None:
            ask(cluster, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: "cluster_state:ok" in ask(cluster, "CLUSTER", "INFO"))
            await opened(cluster)
            entries = [TOTAL, limit("requests", "minute", 50), limit("tokens", "minute", 10**6)]
            async with worker(cluster, "a", entries) as a:
                a.settle(await held(a, 100), 1, 60, now())
                await until(lambda: money(cluster) == (0, 60))
                slot = ask(cluster, "CLUSTER", "KEYSLOT", "gatehouse:{t}")
                ask(cluster, "CLUSTER", "DELSLOTS", slot)
                found = await holds(a, 100)
                assert isinstance(found, GatehouseError) and found.kind is errors.OVERLOADED

        asyncio.run(run())


# -- lanes


def test_a_lane_that_comes_back_under_its_old_name_is_not_served(on: Valkey) -> None:
    """Names of lanes are never used again; a copied machine would. What the first one holds and settled stands."""

    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [TOTAL]) as first:
            for _ in range(5):
                first.settle(await held(first, 100), 1, 60, now())
            await until(lambda: money(on) == (0, 300))
            async with worker(on, "a", [TOTAL]) as second:
                found = await holds(second, 100)
                assert isinstance(found, GatehouseError)
                assert (found.kind, "another worker" in found.detail) == (errors.OVERLOADED, True)
            assert money(on) == (0, 300)

    asyncio.run(run())


def test_i4_what_is_known_of_an_idle_worker_may_expire_and_its_spend_counts_once(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        clock = Clock()
        concurrent = limit("concurrency", "now", 5)
        async with worker(on, "a", [TOTAL], clock=clock) as a, worker(on, "b", [concurrent], clock=clock) as b:
            a.settle(await held(a, 100), 1, 60, now())
            await until(lambda: money(on) == (0, 60) and a._desks["t"].told)
            assert await admit(b, claim()) is None
            for _ in range(4):
                pass_time(on, 4 * SECOND)
                clock.us += 4 * SECOND
                b._desks["t"].tick()
                await until(lambda: b._desks["t"].told)
            assert state(on)["l|a"] == "0"
            on.client().delete("gatehouse:{t}:w:a")
            found = await holds(a, 100)
            assert isinstance(found, GatehouseError) and found.kind is errors.OVERLOADED
            assert money(on) == (0, 60) and "epoch" not in state(on)

    asyncio.run(run())


def test_i4_a_lane_whose_part_is_gone_is_not_buried_by_guess(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [TOTAL]) as a:
            a.settle(await held(a, 100), 1, 60, now())
            await until(lambda: money(on) == (0, 60))
        on.client().delete("gatehouse:{t}:w:a")
        async with linked(on) as link:
            assert not await Rebuilder(link).bury("t", "a", {("t/tenant/t/spend/total", ""): 60})
            assert await Rebuilder(link).lost(["t"]) == ["t"]
        assert money(on) == (0, 60)

    asyncio.run(run())


# -- clocks


def silent(on: Valkey, *lanes: str, us: int) -> None:
    """Nothing was heard of them for so much longer."""
    for lane in lanes:
        on.client().hincrby(f"gatehouse:{{t}}:w:{lane}", "beat", -us)
        on.client().zincrby("gatehouse:{t}:lanes", -us, lane)


def test_i4_a_server_that_stood_still_takes_nobody_for_dead(on: Valkey) -> None:
    """Nor one whose clock was set forward: nobody was heard of meanwhile, so it says nothing about anybody."""

    async def run() -> None:
        await opened(on)
        clock = Clock()
        entries = [limit("concurrency", "now", 2)]
        async with worker(on, "a", entries, clock=clock) as a, worker(on, "b", entries, clock=clock) as b:
            assert await admit(a, claim()) is None
            assert await admit(b, claim()) is None
            # All that was said was said 15 s ago.
            silent(on, "a", "b", us=15 * SECOND)
            on.client().hincrby("gatehouse:{t}", "at", -15 * SECOND)
            for each in (a, b, a):
                assert isinstance(await admit(each, claim()), GatehouseError)
                silent(on, "a", "b", us=SECOND)
            # One that stays away is found out all the same.
            assert int(state(on)["heard"]) > now().unix + 5 * SECOND
            on.client().hset("gatehouse:{t}", "heard", now().unix)
            silent(on, "a", us=15 * SECOND)
            assert await admit(b, claim()) is None
            assert state(on)["h|tenant/t/concurrency/now"] == "2"

    asyncio.run(run())


def test_i4_workers_with_other_clocks_count_in_the_servers_period(on: Valkey) -> None:
    """Hours and days off, in both directions, and monotonic clocks that have nothing in common."""

    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "day", CAP, max_reserved_share=100), limit("requests", "minute", 3)]

        def ahead() -> int:
            return monotonic_us() + 10**15

        async with worker(on, "a", entries) as a, worker(on, "b", entries, clock=ahead) as b:
            periods = set()
            for each, hours in ((a, -30), (b, 30), (a, -30)):
                wrong = Moment(now().unix + hours * 3600 * SECOND, 0)
                call = claim()
                found = each.admit(call, wrong)
                assert asyncio.isfuture(found) and await found is None
                asked = each.reserve(call, bound(1, 300), wrong)
                assert asyncio.isfuture(asked) and await asked is None
                periods.add(call.reserved[0].period)
            assert len(periods) == 1
            assert isinstance(await admit(b, claim()), GatehouseError)
            assert state(on)[f"r|tenant/t/spend/day@{periods.pop()}"] == "900"

    asyncio.run(run())


def test_after_a_rebuild_on_a_server_whose_clock_was_set_back_calls_are_admitted(on: Valkey) -> None:
    """What is stored is an hour ahead, and stands still: workers have said what they hold by then all the same."""

    async def run() -> None:
        await opened(on)
        pass_time(on, 3600 * SECOND)
        on.client().hdel("gatehouse:{t}", "epoch")

        async def read(tenant: str) -> OnRecord:
            return OnRecord()

        async def sleep(seconds: float) -> None:
            """Nothing is leased."""

        async with worker(on, "a", [TOTAL]) as a, linked(on) as link:
            assert await Rebuilder(link, sleep=sleep).rebuild("t", read)
            a.withdraw(await passes(a, 100), now())
            assert int(state(on)["at"]) > now().unix + 3000 * SECOND

    asyncio.run(run())


# -- limits that change


def test_i4_a_lowered_cap_ends_what_was_leased(on: Valkey) -> None:
    """It holds from the next call on, not from the end of the lease; also where the old one is under way."""

    async def run() -> None:
        await opened(on)
        clock = Clock()
        spend = limit("spend", "total", 10**6, max_reserved_share=100)
        tokens = limit("tokens", "minute", 10**6, max_reserved_share=100)
        async with worker(on, "a", [spend, tokens], clock=clock) as a:

            def lower(spend_to: int, tokens_to: int) -> None:
                entries = [limit("spend", "total", spend_to, max_reserved_share=100)]
                entries.append(limit("tokens", "minute", tokens_to, max_reserved_share=100))
                a.configure({entry.id: entry for entry in entries}, now())

            for _ in range(3):
                a.settle(await held(a, 10), 1, 10, now())
            assert a._parts["t/tenant/t/spend/total"].stake.free > 10
            lower(30, 10**6)
            found = await holds(a, 10)
            assert isinstance(found, GatehouseError) and found.kind is errors.BUDGET_EXCEEDED
            lower(10**6, 10**6)
            clock.us += 2 * SECOND
            asked = asyncio.ensure_future(holds(a, 10))
            await asyncio.sleep(0)
            lower(30, 10**6)
            await asked
            found = await holds(a, 10)
            assert isinstance(found, GatehouseError) and found.kind is errors.BUDGET_EXCEEDED
            lower(10**6, 3)
            found = await holds(a, 10)
            assert isinstance(found, GatehouseError) and found.kind is errors.RATE_LIMITED

    asyncio.run(run())


@pytest.mark.parametrize("cap", [5, None])
def test_a_limit_that_is_raised_or_deleted_while_it_refuses_refuses_nobody(on: Valkey, cap: int | None) -> None:
    """The server said no by the limit that was; nothing is in the way any more."""

    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [limit("concurrency", "now", 1)]) as a:
            assert await admit(a, claim()) is None
            asked = a.admit(claim(), now())
            assert asyncio.isfuture(asked)
            await asyncio.sleep(0)
            assert a._desks["t"]._batch is not None
            entries = [] if cap is None else [limit("concurrency", "now", cap)]
            a.configure({entry.id: entry for entry in entries}, now())
            assert await asyncio.wait_for(asked, 10) is None

    asyncio.run(run())


def test_i4_a_lease_that_arrives_after_its_end_is_not_spent(on: Valkey) -> None:
    """It is counted from before it was asked for. Whoever asked has what it needs; the rest goes back."""

    async def run() -> None:
        await opened(on)
        clock = Clock()
        entries = [limit("requests", "minute", 10**6), limit("spend", "total", 10**9)]
        async with worker(on, "a", entries, clock=clock) as a:
            asked = a.admit(claim(), now())
            assert asyncio.isfuture(asked)
            await asyncio.sleep(0)
            assert a._desks["t"]._batch is not None
            clock.us += 2 * SECOND
            assert await asked is None
            assert a._parts["t/tenant/t/requests/minute"].stake.free > 0
            late = a.admit(claim(), now())
            assert asyncio.isfuture(late) and await late is None
            clock.us += 2 * SECOND
            a._desks["t"].tick()
            await until(lambda: a._desks["t"].told and not a._desks["t"].holds)
            assert state(on)["n|tenant/t/requests/minute"] == "2"

    asyncio.run(run())


def test_i4_a_server_that_comes_back_with_what_it_once_wrote_down_is_lost(tmp_path: Path) -> None:
    """Its state is there, and old by nobody knows how much."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with valkey(*options) as kept:

        async def run() -> None:
            await opened(kept)
            async with worker(kept, "a", [TOTAL]) as a:
                a.settle(await held(a, 100), 1, 60, now())
                await until(lambda: money(kept) == (0, 60) and a._desks["t"].told)
                kept.stop()
                kept.start()
                assert "epoch" in state(kept)
                await until(lambda: a._connection.run is None)
                await until(lambda: a._connection.run)
                found = await holds(a, 100)
                assert isinstance(found, GatehouseError) and found.kind is errors.OVERLOADED
                assert "epoch" not in state(kept)

        asyncio.run(run())


def test_i4_money_beyond_doubles_through_the_port(on: Valkey) -> None:
    """Above 2**53 nano-dollars in one total, held by two workers: to the nano-dollar, and never above."""

    async def run() -> None:
        await opened(on)
        cap = (1 << 53) + 1_000_001
        entries = [limit("spend", "total", cap, max_reserved_share=100)]
        async with worker(on, "a", entries) as a, worker(on, "b", entries) as b:
            half = (1 << 52) + 1
            one, two = await held(a, half), await held(b, half)
            found = await holds(a, 1_000_001)
            assert isinstance(found, GatehouseError) and found.kind is errors.BUDGET_EXCEEDED
            a.settle(one, 1, half - 3, now())
            b.settle(two, 1, half, now())
            await until(lambda: money(on) == (0, 2 * half - 3))

    asyncio.run(run())


def test_a_later_report_is_corrected_where_the_call_was_charged(on: Valkey) -> None:
    """By another worker, after a dearer fallback in another granule: what others are counted with there is theirs."""

    async def run() -> None:
        await opened(on)
        pass_time(on, 3600 * SECOND)
        clock = Clock()
        entries = [limit("tokens", "minute", 200, "key", "k"), limit("spend", "day", 10**6, "key", "k")]
        async with worker(on, "a", entries, clock=clock) as a, worker(on, "b", entries, clock=clock) as b:
            call, other = claim(), claim()
            assert await admit(a, call) is None
            assert await reserve(a, call, bound(100, 100)) is None
            pass_time(on, 2 * SECOND)
            clock.us += 2 * SECOND
            assert await reserve(a, call, bound(150, 150)) is None
            assert await admit(a, other) is None
            assert await reserve(a, other, bound(40, 1)) is None
            a.settle(call, None, None, now())
            await until(lambda: a._desks["t"].told)
            first, more = (Settled(one.counter, one.period, 0, -80) for one in call.settled)
            b.correct([first], 2 * SECOND, now())  # it knows nothing of the server's clock
            await held(b, 1)
            b.correct([first, more], 2 * SECOND, now())
            await until(lambda: a._desks["t"].told and b._desks["t"].told)
            granules = on.client().hgetall("gatehouse:{t}:g:key/k/tokens/minute")
            assert [int(granules[each]) for each in sorted(granules)] == [20, 90 + 1]
            period = call.settled[1].period
            assert state(on)[f"s|key/k/spend/day@{period}"] == str(call.settled[1].amount - 80)

    asyncio.run(run())


def test_calls_on_leases_are_not_worth_a_round_trip(on: Valkey) -> None:
    """I8: what is settled of a lease waits for the next batch: the server is asked now and then, not per call."""

    async def run() -> None:
        await opened(on)
        entries = [limit("spend", "total", 10**15), limit("requests", "minute", 10**9), limit("tokens", "day", 10**12)]
        async with worker(on, "a", entries) as a:
            on.client().config_resetstat()
            began = asyncio.get_running_loop().time()
            for _ in range(1500):
                call = await held(a, 1000)
                a.settle(call, 1, 700, now())
                await asyncio.sleep(0)
            seconds = asyncio.get_running_loop().time() - began
            asked = on.client().info("commandstats")["cmdstat_evalsha"]["calls"]
            assert asked < 40 + 40 * seconds
            await until(lambda: int(state(on).get("s|tenant/t/spend/total", 0)) == 1500 * 700)

    asyncio.run(run())
