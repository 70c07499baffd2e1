"""The script's own rules, asked directly. Time is the server's, never lower than what is stored (`at`): so a test sets
it by storing it."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
import redis

from gatehouse.limits.shared.holdings import HELD, LOG, RATE, SPEND
from gatehouse.limits.shared.scripts import LEDGER, Batched, batched, key, packed
from tests.limits.shared.servers import Valkey, opened, state

FUTURE = 4_000_000_000_000_000
"""Unix microseconds, far ahead: time stands still there until a test moves it."""
MINUTE = 60_000_000
SECOND = 1_000_000

Counter = tuple[str, int, int, int, int, int, int, int]


class Worker:
    """Speaks to the script, batch by batch."""

    def __init__(self, on: Valkey, lane: str = "lane") -> None:
        asyncio.run(opened(on)) if not state(on) else None
        self.raw = redis.Redis(unix_socket_path=str(on.path))
        self.lane = lane
        self.turn = 0
        self.run = self.raw.info("server")["run_id"]
        self.epoch, self.seq = "", 0
        if int(state(on)["at"]) < FUTURE:
            self.at(FUTURE)

    def at(self, us: int) -> None:
        self.raw.hset(key("t"), "at", us)

    def batch(
        self, counters: list[Counter], calls: list[list[int]], refunds: list[list[int]] | None = None, **more: Any
    ) -> Batched:
        self.turn += 1
        words = (
            self.lane, more.get("turn", self.turn), self.epoch, self.seq, self.run, 10 * SECOND,
            more.get("leaving", 0), counters, refunds or [], calls,
        )  # fmt: skip
        said: Any = self.raw.eval(LEDGER.text.decode(), 1, key("t"), packed(words))
        found = batched(said)
        if found.epoch:
            self.epoch, self.seq = found.epoch, found.seq
        return found


def rate(cap: int, wish: int = 0, name: str = "r") -> Counter:
    return (name, RATE, SECOND, 0, cap, 0, 0, wish)


def log(cap: int) -> Counter:
    return ("r", LOG, MINUTE, 0, cap, 0, 0, 0)


def spend(cap: int, held: int = 0, settled: int = 0, wish: int = 0) -> Counter:
    return ("s@2026-11", SPEND, 0, -1, cap, held, settled, wish)


def held(cap: int, mine: int = 0) -> Counter:
    return ("c", HELD, 0, 0, cap, mine, 0, 0)


@pytest.mark.parametrize("counter", [rate(60), log(60)], ids=["granules", "log"])
def test_i4_no_window_admits_more_than_its_cap(on: Valkey, counter: Counter) -> None:
    """I4: at most N in any interval of length W, both ends included, whenever it begins."""
    worker = Worker(on)
    draw = random.Random(7)
    at = FUTURE
    admitted: list[int] = []
    for _ in range(700):
        at += draw.choice([0, 1, 1000, 400_000, 900_000, SECOND, 3 * SECOND])
        worker.at(at)
        if not worker.batch([counter], [[1, 1]]).results[0]:
            admitted.append(at)
    assert len(admitted) > 200
    for first, last in zip(admitted, admitted[60:], strict=False):
        assert last - first > MINUTE


def test_a_log_admits_as_soon_as_the_window_allows(on: Valkey) -> None:
    worker = Worker(on)
    assert worker.batch([log(2)], [[1, 1], [1, 1], [1, 1]]).results == ((), (), (1,))
    worker.at(FUTURE + MINUTE)
    said = worker.batch([log(2)], [[1, 1]])
    assert said.results == ((1,),)
    assert said.states[0].wait == 1
    worker.at(FUTURE + MINUTE + 1)
    assert worker.batch([log(2)], [[1, 1]]).results == ((),)


def test_granules_count_61_and_say_when_they_free(on: Valkey) -> None:
    worker = Worker(on)
    assert worker.batch([rate(2000)], [[1, 2000]]).results == ((),)
    worker.at(FUTURE + 61 * SECOND - 1)
    said = worker.batch([rate(2000)], [[1, 1]])
    assert said.results == ((1,),)
    assert said.states[0].wait == 1
    worker.at(FUTURE + 61 * SECOND)
    assert worker.batch([rate(2000)], [[1, 2000]]).results == ((),)


def test_i4_a_clock_set_back_an_hour_frees_nothing(on: Valkey) -> None:
    """Time is never lower than the last granule stored: the real clock is far behind it here, all the time."""
    worker = Worker(on)
    assert worker.batch([rate(5)], [[1, 5]]).results == ((),)
    worker.raw.hset(key("t"), "at", FUTURE - 3600 * SECOND)
    said = worker.batch([rate(5)], [[1, 1]])
    assert said.results == ((1,),)
    assert said.states[0].granule == FUTURE // SECOND
    assert said.states[0].wait > 3600 * SECOND


def test_a_cap_that_crosses_the_logs_bound_keeps_its_counts(on: Valkey) -> None:
    worker = Worker(on)
    worker.batch([log(1000)], [[1, 400]])
    worker.at(FUTURE + 10 * SECOND)
    assert worker.batch([rate(2000)], [[1, 300]]).states[0].used == 700
    worker.at(FUTURE + 20 * SECOND)
    said = worker.batch([log(1000)], [[1, 300], [1, 1]])
    assert (said.results, said.states[0].used) == (((), (1,)), 1000)
    worker.at(FUTURE + 62 * SECOND)
    assert worker.batch([log(1000)], [[1, 400], [1, 1]]).results == ((), (1,))


def test_all_limits_of_a_call_or_none(on: Valkey) -> None:
    worker = Worker(on)
    said = worker.batch([rate(10), spend(100), held(1)], [[1, 1, 2, 60, 3, 1], [1, 1, 2, 60, 3, 1], [1, 9]])
    assert said.results == ((), (2, 3), ())
    assert [one.used for one in said.states] == [10, 60, 1]


def test_what_is_held_is_said_in_absolute_numbers(on: Valkey) -> None:
    """A lost answer leaks nothing: the next batch says what the worker knows it holds."""
    worker = Worker(on)
    worker.batch([spend(100), held(5)], [[1, 70, 2, 1]])
    assert worker.batch([spend(100), held(5)], []).states[0].used == 0
    assert worker.batch([spend(100, held=30, settled=20)], []).states[0].settled == 20
    said = worker.batch([spend(100, held=30, settled=20)], [[1, 50], [1, 1]])
    assert said.results == ((), (1,))
    assert (said.states[0].used, said.states[0].settled) == (80, 20)


def test_a_batch_that_was_overtaken_does_nothing(on: Valkey) -> None:
    worker = Worker(on)
    worker.batch([spend(100)], [[1, 70]], turn=5)
    assert worker.batch([spend(100)], [[1, 20]], turn=5).status == "stale"
    assert worker.batch([spend(100)], [[1, 20]], turn=4).status == "stale"
    assert state(on)["r|s@2026-11"] == "70"


def test_leases_only_while_50_more_fit(on: Valkey) -> None:
    worker = Worker(on)
    assert worker.batch([rate(2000, wish=40)], [[1, 1]]).states[0].granted == 40
    assert worker.batch([rate(100, wish=40)], [[1, 1]]).states[0].granted == 7
    assert worker.batch([rate(90, wish=40)], [[1, 1]]).states[0].granted == 0
    assert worker.batch([spend(1000, wish=800)], [[1, 20]]).states[0].granted == 0
    assert worker.batch([spend(1021, wish=800)], [[1, 20]]).states[0].granted > 0


def test_refunds_go_where_they_were_charged(on: Valkey) -> None:
    worker = Worker(on)
    granule = worker.batch([rate(1500)], [[1, 1500]]).states[0].granule
    worker.at(FUTURE + 30 * SECOND)
    assert worker.batch([rate(1500)], [[1, 1000]], [[1, granule, 1000]]).results == ((),)
    worker.at(FUTURE + 61 * SECOND)
    assert worker.batch([rate(1500)], [], [[1, granule, 500]]).states[0].used == 1000
    assert worker.batch([rate(1500)], [], [[1, granule + 30, 5000]]).states[0].used == 0


def test_i4_a_period_that_is_not_the_present_one_is_refused(on: Valkey) -> None:
    """Month end, or a worker whose clock is wrong: the server's time says which day it is."""
    worker = Worker(on)
    old = ("s@2026-11", SPEND, FUTURE - MINUTE, FUTURE, 100, 0, 0, 0)
    assert worker.batch([old], [[1, 1]]).results == ((-1,),)
    assert worker.batch([(*old[:2], FUTURE, FUTURE + MINUTE, *old[4:])], [[1, 1]]).results == ((),)


def test_a_worker_without_heartbeat_holds_no_concurrency(on: Valkey) -> None:
    first, second = Worker(on, "one"), Worker(on, "two")
    assert first.batch([held(1), spend(100)], [[1, 1, 2, 60]]).results == ((),)
    assert second.batch([held(1)], [[1, 1]]).results == ((1,),)
    second.at(FUTURE + 9 * SECOND)
    assert second.batch([held(1)], [[1, 1]]).results == ((1,),)
    second.at(FUTURE + 11 * SECOND)
    assert second.batch([held(1)], [[1, 1]]).results == ((),)
    said = first.batch([held(1, mine=1), spend(100, held=60)], [[1, 1]])
    assert (said.removed, said.results) == (1, ((1,),))
    assert (state(on)["h|c"], state(on)["r|s@2026-11"]) == ("1", "60")


def test_state_that_went_missing_is_noticed(on: Valkey) -> None:
    """Whatever key is evicted, the batch that needs it says so, and nobody is served until rebuilt."""
    names = [key("t"), key("t") + b":w:lane", key("t") + b":lanes", key("t") + b":g:r", key("t") + b":t:l"]
    for lost in names:
        on.client().flushall()
        worker = Worker(on)
        counters = [rate(1000), ("l", LOG, MINUTE, 0, 1000, 0, 0, 0), spend(100), held(5)]
        assert worker.batch(counters, [[1, 1, 2, 1, 3, 1, 4, 1]]).status == "ok"
        worker.raw.delete(lost)
        worker.at(FUTURE + SECOND) if lost != key("t") else None
        assert worker.batch(counters, [[1, 1, 2, 1, 3, 1, 4, 1]]).status == "lost", lost
        assert worker.batch([spend(100)], [[1, 1]]).status == "lost"


def test_what_a_lost_state_left_behind_counts_for_nothing(on: Valkey) -> None:
    worker = Worker(on)
    worker.batch([spend(100), held(5)], [[1, 70, 2, 1]])
    worker.raw.delete(key("t"))
    assert worker.batch([spend(100)], []).status == "lost"
    asyncio.run(opened(on))
    worker.at(FUTURE)
    worker.epoch = ""
    said = worker.batch([spend(100, held=70, settled=5), held(5, mine=1)], [])
    assert [(one.used, one.settled) for one in said.states] == [(70, 5), (1, 0)]


def test_a_lane_that_was_buried_counts_for_nothing(on: Valkey) -> None:
    worker = Worker(on)
    worker.raw.hset(key("t"), "l|lane", "b")
    assert worker.batch([spend(100)], [[1, 1]]).status == "buried"


def test_a_lower_sequence_or_another_server_is_a_loss(on: Valkey) -> None:
    worker = Worker(on)
    worker.batch([spend(100)], [[1, 1]])
    worker.raw.hincrby(key("t"), "seq", -1)
    assert worker.batch([spend(100)], [[1, 1]]).status == "lost"
    on.client().flushall()
    worker = Worker(on)
    worker.run = "another"
    assert worker.batch([spend(100)], [[1, 1]]).status == "lost"


def test_money_beyond_doubles_is_counted_to_the_nano_dollar(on: Valkey) -> None:
    """I4 above 2^53: some room is left unused, none is overdrawn."""
    worker = Worker(on)
    cap = 20_000_000 * 10**9 + 1
    total = 0
    for amount in itertools.chain([cap - 9001], [997] * 10):
        if not worker.batch([spend(cap, held=total)], [[1, amount]]).results[0]:
            total += amount
    assert cap - 9001 < total <= cap
    assert int(state(on)["r|s@2026-11"]) == total
