"""Servers that forget: whatever is lost, hard spend lets nobody pass until the ledger is rebuilt from what is on record
(I4, I7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.shared.limits import SharedLimits
from gatehouse.limits.shared.rebuilding import Lane, OnRecord, Rebuilder
from gatehouse.model.limits import Reserved
from tests.crash.processes import free_port
from tests.limits.shared.servers import (
    Valkey,
    admit,
    bound,
    connection,
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

CAP = 1000
SPEND = limit("spend", "total", CAP, max_reserved_share=100)
COUNTER = ("t/tenant/t/spend/total", "")


def claim() -> Claim:
    return Claim("t", "p", "k")


async def spend(limits: SharedLimits, most: int, used: int | None) -> Claim:
    """A call that reserves, and settles unless `used` is `None`."""
    call = claim()
    assert await admit(limits, call) is None
    error = await reserve(limits, call, bound(1, most))
    if isinstance(error, GatehouseError):
        raise error
    if used is not None:
        limits.settle(call, 1, used, now())
    return call


async def refused(limits: SharedLimits) -> bool:
    """Whether it lets nobody pass."""
    try:
        limits.withdraw(await spend(limits, 1, None), now())
    except GatehouseError as error:
        return error.kind is errors.OVERLOADED
    return False


def flush(on: Valkey) -> None:
    on.client().flushall()


def restart(on: Valkey) -> None:
    on.stop()
    on.start()


def evict(on: Valkey) -> None:
    """As an operator would cause it: the policy is changed, and memory runs out."""
    client = on.client()
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
    try:
        for number in range(3000):
            client.set(f"other{number}", "x" * 2000)
            if "gatehouse:{t}" not in client.keys("gatehouse*"):
                break
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
    assert "gatehouse:{t}" not in client.keys("gatehouse*")


@pytest.mark.parametrize("lose", [flush, restart, evict])
def test_i4_nobody_passes_a_hard_cap_until_what_was_lost_is_rebuilt(on: Valkey, lose: Callable[[Valkey], None]) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [SPEND]) as a, worker(on, "b", [SPEND]) as b:
            await spend(a, 300, 250)
            running = await spend(b, 400, None)
            await until(lambda: state(on).get("s|tenant/t/spend/total") == "250")
            lose(on)
            assert await refused(a)
            assert await refused(b)
            a.settle(await forced(a), 1, 0, now())
            # On record now: the outcome of `a`, the decision of `b`.
            lanes = {"a": Lane({COUNTER: 250}), "b": Lane({}, (Reserved(*COUNTER, 400),))}
            await rebuilt(on, OnRecord({COUNTER: 250}, lanes))
            b.settle(running, 1, 100, now())
            await passes(a)
            await passes(b)
            await until(lambda: settled(on) == (0, 350))
            await spend(a, CAP - 350, CAP - 350)
            with pytest.raises(GatehouseError) as error:
                await spend(b, 1, 1)
            assert error.value.kind is errors.BUDGET_EXCEEDED

    asyncio.run(run())


async def forced(limits: SharedLimits) -> Claim:
    """A call that only passes the doors: there are none."""
    call = claim()
    assert await admit(limits, call) is None
    return call


async def rebuilt(on: Valkey, openings: OnRecord) -> None:
    async def read(tenant: str) -> OnRecord:
        return openings

    async def sleep(seconds: float) -> None:
        """Nothing is leased here: what is left of the cap is less than 50 calls."""

    async with linked(on) as link:
        rebuilder = Rebuilder(link, sleep=sleep)
        assert await rebuilder.lost(["t"]) == ["t"]
        assert await rebuilder.rebuild("t", read)
        assert await rebuilder.lost(["t"]) == []


async def passes(limits: SharedLimits) -> None:
    """Waits until calls are admitted again."""
    deadline = time.monotonic() + 30
    while await refused(limits):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def settled(on: Valkey) -> tuple[int, int]:
    found = state(on)
    return int(found.get("r|tenant/t/spend/total", 0)), int(found.get("s|tenant/t/spend/total", 0))


def test_what_workers_hold_counts_before_anybody_is_admitted_again(on: Valkey) -> None:
    """A reservation whose decision was not on record when it was read: its worker says so while others still wait."""

    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [SPEND]) as a, worker(on, "b", [SPEND]) as b:
            running = await spend(b, 900, None)
            flush(on)
            await refused(a)
            await rebuilt(on, OnRecord())
            await passes(a)
            with pytest.raises(GatehouseError) as error:
                await spend(a, 101, 1)
            assert error.value.kind is errors.BUDGET_EXCEEDED
            b.withdraw(running, now())
            await until(lambda: settled(on) == (0, 0))

    asyncio.run(run())


def test_script_flush_is_not_noticed_by_anybody(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [SPEND]) as a:
            await spend(a, 100, 60)
            on.client().script_flush()
            await spend(a, 100, 60)
            await until(lambda: settled(on) == (0, 120))

    asyncio.run(run())


def test_i4_failover_to_a_lagging_replica(on: Valkey) -> None:
    """The replica lacks acknowledged writes. It is another server, and has less of the sequence: lost."""

    async def run() -> None:
        with (
            valkey("--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0") as primary,
            valkey() as replica,
        ):
            await opened(primary)
            async with worker(primary, "a", [SPEND]) as a:
                await spend(a, 100, 60)
                replica.client().replicaof("127.0.0.1", int(port))
                await until(lambda: settled(replica) == (0, 60))
                # From here it lags.
                replica.client().replicaof("NO", "ONE")
                await spend(a, 500, 500)
                await until(lambda: settled(primary) == (0, 560))
                primary.stop()
                primary.path.unlink()
                primary.path.symlink_to(replica.path)
                await until(lambda: a._connection.run is None)
                await until(lambda: a._connection.run)
                assert await refused(a)
                assert "epoch" not in state(replica)
                await rebuilt(replica, OnRecord({COUNTER: 560}, {"a": Lane({COUNTER: 560})}))
                await passes(a)
                assert settled(replica)[1] == 560

    port = str(free_port())
    asyncio.run(run())


def test_of_two_machines_one_rebuilds(on: Valkey) -> None:
    async def run() -> None:
        reading = asyncio.Event()
        go_on = asyncio.Event()

        async def read(tenant: str) -> OnRecord:
            reading.set()
            await go_on.wait()
            return OnRecord({COUNTER: 7})

        async with linked(on) as one, linked(on) as other:
            first = asyncio.ensure_future(Rebuilder(one, quiet=True).rebuild("t", read))
            await reading.wait()
            assert not await Rebuilder(other, quiet=True).rebuild("t", read)
            on.client().delete("gatehouse:{t}:fence")
            go_on.set()
            # It was too slow: the fence has fallen, so it has no effect.
            assert not await first
            assert state(on) == {}
            assert await Rebuilder(other, quiet=True).rebuild("t", read)
            assert settled(on) == (0, 7)
            assert not await Rebuilder(one, quiet=True).rebuild("t", read)

    asyncio.run(run())


def test_i4_a_dead_workers_reservations_stay_until_its_lane_is_read(on: Valkey) -> None:
    async def run() -> None:
        await opened(on)
        async with worker(on, "b", [SPEND]) as b:
            async with worker(on, "a", [SPEND]) as a:
                await spend(a, 300, 200)
                await spend(a, 500, None)
                await until(lambda: settled(on)[1] == 200)
            assert settled(on) == (500, 200)
            with pytest.raises(GatehouseError):
                await spend(b, 301, 1)
            async with linked(on) as link:
                # Its journal says that the call was cut, and used 350.
                for _ in range(2):
                    assert await Rebuilder(link).bury("t", "a", {COUNTER: 550})
            assert settled(on) == (0, 550)
            await spend(b, 450, 450)

    asyncio.run(run())


def test_rates_are_rebuilt_from_what_is_on_record(on: Valkey) -> None:
    async def run() -> None:
        hour = limit("requests", "hour", 10)
        many = limit("requests", "minute", 2000)
        at = now().unix
        recent = {hour.counter: [(at - 1_000_000, 1)] * 8, many.counter: [(at - 1_000_000, 8)]}
        await opened(on, OnRecord(recent=recent))
        async with worker(on, "a", [hour, many]) as a:
            found = [await admit(a, claim()) for _ in range(3)]
            assert [error is None for error in found] == [True, True, False]
            assert state(on)["k|tenant/t/requests/minute"] == "1"
            await a.close()
            assert state(on)["n|tenant/t/requests/minute"] == "10"

    asyncio.run(run())


def test_I4_of_a_state_that_was_lost_in_part_nothing_lies_there_twice(on: Valkey) -> None:
    """The hash is gone, the granules of its rates are not: what they lose as time passes would be lost twice."""

    async def run() -> None:
        counted, unrecorded = limit("requests", "minute", 7), limit("requests", "hour", 2000)
        await opened(on)
        async with worker(on, "a", [counted, unrecorded]) as a:
            for _ in range(3):
                assert await admit(a, claim()) is None
            on.client().delete("gatehouse:{t}")
            at = now().unix
            await opened(on, OnRecord(recent={counted.counter: [(at, 1)] * 3, unrecorded.counter: []}))
            names = [name for name in map(str, on.client().keys("gatehouse:{t}:g:*"))]
            assert names == ["gatehouse:{t}:g:tenant/t/requests/minute"]
            assert [sum(map(int, on.client().hvals(name))) for name in names] == [3]

    asyncio.run(run())


def test_a_server_that_evicts_is_not_used(on: Valkey) -> None:
    with valkey("--maxmemory-policy", "allkeys-lru") as evicting:

        async def run() -> None:
            link = connection(evicting)
            link.start()
            await until(lambda: link.trouble and "noeviction" in link.trouble)
            assert link.run is None
            evicting.client().config_set("maxmemory-policy", "noeviction")
            await until(lambda: link.run)
            await link.close()

        asyncio.run(run())


def test_redis_errors_are_a_loss_of_service_not_of_calls(on: Valkey) -> None:
    """A read-only replica, or a server out of memory: limits act as down, and nothing raises."""

    async def run() -> None:
        await opened(on)
        async with worker(on, "a", [SPEND]) as a:
            await spend(a, 100, 60)
            client: redis.Redis = on.client()
            client.replicaof("127.0.0.1", 1)
            try:
                assert await refused(a)
            finally:
                client.replicaof("NO", "ONE")
            await passes(a)
            await until(lambda: settled(on) == (0, 60))

    asyncio.run(run())
