"""The pool: last in first out, bounded, handed on; no spinning, no swapped answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gatehouse.http.client import Ticket
from gatehouse.model.call import Origin
from gatehouse.upstream.pool import OriginPool, Upstreams
from tests.http.serving import run
from tests.upstream.farside import (
    LIMITS,
    OK,
    Caller,
    ask,
    connected,
    connector,
    far_side,
    pool_of,
    until,
)


def queued(pool: OriginPool) -> tuple[Caller, Ticket]:
    caller = Caller()
    ticket = pool.queue(caller.fiber, 5.0)
    assert ticket is not None
    return caller, ticket


# -- reuse


def test_a_connection_is_used_again_and_the_last_one_first() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            assert pool.take(careful=False) is None
            first, second = await connected(pool), await connected(pool)
            for connection in (first, second):
                await ask(connection)
                pool.give_back(connection)
            assert pool.take(careful=True) is second
            assert second.reused
            await ask(second)
            pool.give_back(second)
            assert [pool.take(careful=False) for _ in range(3)] == [second, first, None]
            assert (len(far.connections), pool.size, pool.waiting) == (2, 2, 0)
            pool.close()

    run(main())


def test_1_8_a_connection_idle_for_long_is_not_reused_for_post() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            first, second = await connected(pool), await connected(pool)
            for connection in (first, second):
                await ask(connection)
                pool.give_back(connection)
                pool.sweep(pool.now + 10.0)
            pool.sweep(pool.now + 4.0)
            assert pool.take(careful=True) is second, "14 s"
            await ask(second)
            pool.sweep(pool.now + 2.0)
            assert pool.take(careful=True) is None, "the other one: 26 s"
            assert pool.take(careful=False) is first
            pool.close()

    run(main())


def test_1_8_idle_connections_are_closed_by_the_sweep() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            connection = await connected(pool)
            await ask(connection)
            pool.give_back(connection)
            pool.sweep(pool.now + 59.0)
            assert pool.take(careful=False) is connection
            await ask(connection)
            pool.give_back(connection)
            pool.sweep(pool.now + 61.0)
            assert pool.take(careful=False) is None
            await until(lambda: pool.size == 0 and far.open_connections() == 0)

    run(main())


@pytest.mark.parametrize("how", ["closes", "resets", "says something"])
def test_1_1_idle_connections_that_die_or_speak_are_removed(how: str) -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            connections = [await connected(pool) for _ in range(3)]
            for connection in connections:
                await ask(connection)
                pool.give_back(connection)
            for theirs in far.connections:
                match how:
                    case "closes":
                        theirs.transport.close()
                    case "resets":
                        theirs.transport.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")
                        theirs.transport.abort()
                    case _:
                        theirs.transport.write(OK % (4, b"evil"))
            await until(lambda: pool.size == 0)
            assert pool.take(careful=False) is None
            assert await ask(await connected(pool)) == b"4"
            pool.close()

    run(main())


def test_1_1_answers_are_never_swapped_between_callers() -> None:
    """An upstream that sends two answers to one request, together or one after the other: the second reaches nobody."""

    async def main(later: bool) -> None:
        async with far_side() as far:
            evil = OK % (4, b"evil")
            far.answer = lambda number: OK % (4, b"%4d" % number) + (b"" if later else evil)
            pool = pool_of(far.origin)
            for number in range(1, 30):
                connection = pool.take(careful=True)
                if connection is None:
                    connection = await connected(pool)
                assert await ask(connection) == b"%4d" % number
                pool.give_back(connection)
                if later:
                    far.connections[-1].transport.write(evil)
                    await until(lambda: pool.size == 0)
            assert len(far.connections) == 29
            pool.close()

    run(main(later=False))
    run(main(later=True))


def test_1_1_a_connection_whose_answer_is_not_whole_is_not_kept() -> None:
    async def main() -> None:
        async with far_side() as far:
            far.answer = lambda number: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
            pool = pool_of(far.origin)
            connection, caller = await connected(pool), Caller()
            connection.request(caller.fiber, "POST", b"POST / HTTP/1.1\r\nhost: far\r\n\r\n", b"")
            await caller.until(lambda: connection.received == 5)
            pool.give_back(connection)
            assert pool.take(careful=False) is None
            await far.connections[0].ended.wait()
            await until(lambda: pool.size == 0)

    run(main())


# -- bounds and order


def test_never_more_connections_than_the_limit_and_waiters_are_served_in_order() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=3))
            served: list[int] = []

            async def call(number: int) -> None:
                connection = await connected(pool)
                served.append(number)
                assert pool.size <= 3
                await ask(connection)
                pool.give_back(connection)

            await asyncio.gather(*(call(number) for number in range(30)))
            assert served == list(range(30))
            assert len(far.connections) == 3
            assert (pool.size, pool.waiting) == (3, 0)
            pool.close()

    run(main())


def test_too_many_waiters_are_told_at_once() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=1, waiting=2))
            held = await connected(pool)
            tickets = [queued(pool) for _ in range(2)]
            assert pool.queue(Caller().fiber, 5.0) is None
            assert pool.waiting == 2
            pool.withdraw(tickets[0][1])
            assert pool.queue(Caller().fiber, 5.0) is not None
            held.abort()
            pool.close()

    run(main())


def test_a_connection_that_ends_makes_room_for_who_waits() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=1))
            held = await connected(pool)
            caller, ticket = queued(pool)
            pool.give_back(held)  # nothing was asked on it: not reusable
            await caller.until(lambda: ticket.connection)
            assert ticket.connection is not held
            assert len(far.connections) == 2
            pool.close()

    run(main())


def test_a_full_pool_of_connections_too_old_for_post_replaces_one() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=2))
            for connection in [await connected(pool) for _ in range(2)]:
                await ask(connection)
                pool.give_back(connection)
            pool.sweep(pool.now + 20.0)
            assert pool.take(careful=True) is None
            fresh = await connected(pool)
            assert not fresh.reused
            assert pool.size == 2
            assert far.connections[0].ended.is_set(), "the oldest"
            pool.close()

    run(main())


# -- calls that end while they wait


def test_1_6_who_withdraws_is_forgotten() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=1))
            held = await connected(pool)
            (_, first), (caller, second) = queued(pool), queued(pool)
            pool.withdraw(first)
            pool.withdraw(first)
            await ask(held)
            pool.give_back(held)
            await caller.until(lambda: second.connection)
            assert (second.connection, first.connection, first.error) == (held, None, "")
            pool.close()

    run(main())


@pytest.mark.parametrize("fresh", [True, False])
def test_1_6_a_connection_that_reaches_an_ended_call_is_handed_on(fresh: bool) -> None:
    """T: set_result and cancel in one turn leak the connection."""

    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=1))
            if fresh:
                (_, first), (caller, second) = queued(pool), queued(pool)
                await until(lambda: first.connection)
            else:
                held = await connected(pool)
                (_, first), (caller, second) = queued(pool), queued(pool)
                await ask(held)
                pool.give_back(held)
            given = first.connection
            assert given is not None
            pool.withdraw(first)
            await caller.until(lambda: second.connection)
            assert second.connection is given
            pool.withdraw(second)
            assert pool.take(careful=False) is given, "nobody waits: idle"
            assert len(far.connections) == 1
            assert await ask(given)
            pool.close()

    run(main())


def test_1_6_a_connection_lost_before_its_waiter_wakes_is_told_by_its_state() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            caller, ticket = queued(pool)
            await until(lambda: ticket.connection)
            connection = ticket.connection
            assert connection is not None
            far.connections[0].transport.abort()
            await until(lambda: connection.lost)
            connection.request(caller.fiber, "POST", b"POST / HTTP/1.1\r\n\r\n", b"")
            assert connection.lost and not connection.heard
            assert connection.failure
            pool.withdraw(ticket)
            assert pool.take(careful=False) is None
            assert pool.size == 0

    run(main())


# -- failures to connect


def test_a_failure_to_connect_reaches_exactly_one_waiter() -> None:
    async def main() -> None:
        async with far_side() as far:
            dead = Origin("http", "127.0.0.1", 1)
            pool = pool_of(dead, replace(LIMITS, connections=2))
            callers = [queued(pool) for _ in range(5)]
            for caller, ticket in callers:
                await caller.until(lambda ticket=ticket: ticket.error or ticket.connection)  # type: ignore[misc]
                assert ticket.error == "cannot connect: Connection refused"
            await until(lambda: pool.size == 0)
            assert pool.waiting == 0
            assert not far.connections

    run(main())


def test_an_attempt_whose_waiter_left_serves_the_next() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            _, first = queued(pool)
            pool.withdraw(first)
            caller, second = queued(pool)
            await caller.until(lambda: second.connection)
            assert len(far.connections) == 1
            pool.close()

    run(main())


def test_an_origin_that_accepts_and_closes_at_once_does_not_spin() -> None:
    async def main() -> None:
        async with far_side() as far:
            far.closes_at_once = True
            pool = pool_of(far.origin, replace(LIMITS, connections=4))
            calls = [queued(pool) for _ in range(10)]
            for caller, ticket in calls:
                await caller.until(lambda ticket=ticket: ticket.error or ticket.connection)  # type: ignore[misc]
            await until(lambda: pool.size == 0)
            assert len(far.connections) == 10, "one attempt per call"
            await asyncio.sleep(0.1)
            assert len(far.connections) == 10

    run(main())


def test_a_bug_in_connecting_leaves_nobody_waiting() -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        pool = OriginPool(Origin("builtin", "unknown", 0), connector(), LIMITS, ca_file=None, private=True)
        caller, ticket = queued(pool)
        await caller.until(lambda: ticket.error)
        await until(lambda: reported)
        assert isinstance(reported[0]["exception"], KeyError)
        assert pool.size == 0

    run(main())


# -- ending


def test_close_tells_who_waits_and_ends_every_connection() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=2))
            idle = await connected(pool)
            await ask(idle)
            busy = await connected(pool)
            pool.give_back(idle)
            pool.take(careful=False)
            waiting, ticket = queued(pool)
            pool.close()
            await waiting.until(lambda: ticket.error)
            assert ticket.error == "the gateway is stopping"
            await until(lambda: far.open_connections() == 0 and pool.size == 0)
            assert busy.lost

    run(main())


def test_close_while_connecting() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin)
            waiting, ticket = queued(pool)
            pool.close()
            await waiting.until(lambda: ticket.error)
            await until(lambda: pool.size == 0 and far.open_connections() == 0)

    run(main())


# -- all pools of a worker


def test_one_pool_per_origin_and_trust() -> None:
    async def main() -> None:
        pools = Upstreams(connector(), LIMITS)
        origin = Origin("https", "far.test", 443)
        one = pools.pool(origin, None, False)
        assert pools.pool(Origin("https", "far.test", 443), None, False) is one
        assert pools.pool(origin, "ca.pem", False) is not one
        assert pools.pool(origin, None, True) is not one
        assert pools.pool(Origin("https", "far.test", 8443), None, False) is not one
        pools.close()

    run(main())


def test_I9_pools_of_origins_nobody_talks_to_are_forgotten() -> None:
    """Callers may name any Azure resource."""

    async def main() -> None:
        async with far_side() as far:
            pools = Upstreams(connector(), LIMITS)
            used = pools.pool(far.origin, None, True)
            for number in range(1000):
                pools.pool(Origin("https", f"resource-{number}.test", 443), None, False)
            connection = await connected(used)
            pools.sweep(used.now)
            assert len(pools._pools) == 1
            assert pools.pool(far.origin, None, True) is used
            await ask(connection)
            used.give_back(connection)
            pools.sweep(used.now + 100.0)
            await until(lambda: used.size == 0)
            pools.sweep(used.now)
            assert not pools._pools
            pools.close()

    run(main())


def test_what_there_is_is_counted_without_the_control_plane() -> None:
    async def main() -> None:
        async with far_side() as far:
            pools = Upstreams(connector(), replace(LIMITS, connections=2))
            pool = pools.pool(far.origin, None, True)
            first, second = await connected(pool), await connected(pool)
            await ask(first)
            pool.give_back(first)
            assert pools.count() == (1, 1, 0)
            assert pool.take(careful=False) is first
            queued(pool)
            queued(pools.pool(Origin("unix", "/nowhere", 0), None, True))
            assert pools.count() == (0, 2, 1)
            assert not second.lost
            pools.close()
            await until(lambda: pool.size == 0)

    run(main())


def test_many_callers_over_few_connections_each_get_their_own_answer() -> None:
    async def main() -> None:
        async with far_side() as far:
            pool = pool_of(far.origin, replace(LIMITS, connections=5, waiting=1000))
            answers: list[bytes] = []

            async def call() -> None:
                connection = pool.take(careful=True)
                if connection is None:
                    connection = await connected(pool)
                answers.append(await ask(connection))
                pool.give_back(connection)

            await asyncio.gather(*(call() for _ in range(300)))
            assert sorted(answers, key=int) == [str(number).encode() for number in range(1, 301)]
            assert len(far.connections) <= 5
            pool.close()

    run(main())
