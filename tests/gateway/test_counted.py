"""I4 over deaths: what a limiter that starts counts is what the journal says, however far the openings reach."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import msgspec
import pytest

from gatehouse.config import settings
from gatehouse.gateway import openings
from gatehouse.gateway.counted import Counted, Rates, restored
from gatehouse.gateway.openings import Openings, Spent
from gatehouse.journal.reader import LaneReader, lanes
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.access import KeyEntry
from gatehouse.model.limits import Bound, LimitEntry, Measure, Reserved, ScopeKind, Settled, Window
from gatehouse.model.moment import Moment
from tests.journal.samples import decision, outcome, turn
from tests.journal.test_recovery import control, die

CAP = 100_000
SPEND = "ten/key/key_a/spend/total"
DAY = 86_400_000_000


def limit(measure: Measure, window: Window, cap: int, scope: ScopeKind = "key", scope_id: str = "key_a") -> LimitEntry:
    return LimitEntry(f"lim_{scope}_{measure}_{window}", "ten", scope, scope_id, measure, window, cap)


def now() -> Moment:
    return Moment(time.time_ns() // 1000, time.monotonic_ns() // 1000)


def rates(*entries: LimitEntry, keys: dict[str, KeyEntry] | None = None) -> Rates:
    return Rates(entries, keys or {}, now().unix)


def collected(directory: Path, upto: dict[str, int]) -> Openings:
    """What control would have kept, had it collected so far: a second opinion, on the reader that checks chains."""
    spent: dict[str, list[int]] = {}
    for info in lanes(directory):
        reader = LaneReader(directory, info.lane)
        while lines := reader.read():
            for line in lines:
                if line.seq > upto.get(info.lane, 0) or line.body is None:
                    continue
                _add(spent, line.kind, line.body)
        reader.close()
    return Openings(upto, tuple(Spent(name, "", *each) for name, each in spent.items()))


def _add(spent: dict[str, list[int]], kind: str, body: bytes) -> None:
    record = msgspec.json.decode(body)
    for one in record.get("reserved", ()) if kind == "decision" else ():
        if "/spend/" in one["counter"]:
            spent.setdefault(one["counter"], [0, 0])[1] += one["amount"]
    for one in record.get("settled", ()) if kind == "outcome" else ():
        if "/spend/" in one["counter"]:
            sums = spent.setdefault(one["counter"], [0, 0])
            sums[0] += one["amount"]
            sums[1] -= one["reserved"]


class Process:
    """A worker as far as limits go: it admits, decides on record, and settles, until it is killed."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self._chance = chance
        self.writer = JournalWriter(
            directory, "worker", settings.Journal(segment_bytes=3000), asyncio.get_running_loop()
        )
        self.writer.open()
        self.limits = LocalLimits()
        self.limits.configure({SPEND: limit("spend", "total", CAP)}, now())
        self._open: list[tuple[str, Claim]] = []
        self._calls = 0

    def restore(self, directory: Path, kept: Openings) -> int:
        counted = Counted(kept, rates(limit("spend", "total", CAP)))
        counted.read(directory)
        found = restored(counted)
        self.limits.restore(found, {}, now())
        return found.get((SPEND, ""), 0)

    async def work(self) -> None:
        for _ in range(self._chance.randrange(1, 40)):
            if self._open and self._chance.random() < 0.5:
                name, claim = self._open.pop(self._chance.randrange(len(self._open)))
                self._end(name, claim, self._chance.randrange(claim.reserved[0].amount + 1))
            else:
                self._begin(self._chance.randrange(1, 3000))
            if self._chance.random() < 0.3:
                await turn(1)
        await turn(2)

    def _begin(self, most: int) -> None:
        claim = Claim("ten", "prj", "key_a")
        assert self.limits.admit(claim, now()) is None
        if self.limits.reserve(claim, Bound(0, most), now()) is not None:
            self.limits.withdraw(claim, now())
            return
        self._calls += 1
        name = f"{self.writer.lane}/{self._calls}"
        self.writer.decide("ten", decision(name, "prj", key="key_a", reserved=claim.reserved), lambda error: None)
        self._open.append((name, claim))

    def _end(self, name: str, claim: Claim, used: int) -> None:
        self.limits.settle(claim, 1, used, now())
        settled = tuple(
            Settled(held.counter, held.period, held.amount, done.amount)
            for held, done in zip(claim.reserved, claim.settled, strict=True)
        )
        self.writer.conclude("ten", outcome(name, "prj", settled=settled))


def total(directory: Path) -> int:
    """Settled and reserved, by the whole journal."""
    every = {info.lane: 10**9 for info in lanes(directory)}
    return sum(each.settled + each.reserved for each in collected(directory, every).spent)


@pytest.mark.parametrize("seed", range(6))
def test_I4_killed_at_random_spend_is_never_above_the_cap(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    kept = Openings()
    for _ in range(12):

        async def life() -> None:
            process = Process(tmp_path, chance)
            begun = process.restore(tmp_path, kept)  # noqa: B023 - run at once
            assert begun == total(tmp_path)
            await process.work()
            if chance.random() < 0.2:
                process.writer.close()
            else:
                die(process.writer)

        asyncio.run(life())
        if chance.random() < 0.5:
            control(tmp_path, kill=chance.random() < 0.5)
        assert total(tmp_path) <= CAP
        if chance.random() < 0.5:
            far = {info.lane: chance.choice((0, 1, 3, 7, 10**9)) for info in lanes(tmp_path)}
            ends = {lane: min(seq, _length(tmp_path, lane)) for lane, seq in far.items()}
            kept = collected(tmp_path, ends)
    assert total(tmp_path) > CAP // 2, "the cap was never near"
    assert max(len(list((tmp_path / info.lane).glob("*.jsonl"))) for info in lanes(tmp_path)) > 1, (
        "no lane has segments"
    )


def _length(directory: Path, lane: str) -> int:
    reader = LaneReader(directory, lane)
    while reader.read():
        pass
    reader.close()
    return reader.seq


def test_rates_are_counted_from_their_windows_lines(tmp_path: Path) -> None:
    """Requests as decided, by the key a rotation began with; tokens as settled, and as reserved while nobody knows."""
    tokens = "ten/project/prj/tokens/minute"

    async def life() -> None:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        held = (Reserved(tokens, "", 500),)
        for name, key in (("a", "key_a"), ("b", "key_b"), ("c", "key_other")):
            writer.decide("ten", decision(name, "prj", key=key, reserved=held), lambda error: None)
        writer.decide("other", decision("d", "prj", key="key_a", reserved=()), lambda error: None)
        await turn(1)
        writer.conclude("ten", outcome("a", "prj", settled=(Settled(tokens, "", 500, 20),)))
        await turn(3)
        die(writer)

    asyncio.run(life())
    keys = {"key_b": KeyEntry("key_b", "ten", "prj", b"", counts_as="key_a")}
    counted = Counted(
        Openings(),
        rates(
            limit("requests", "minute", 5),
            limit("requests", "hour", 5, "tenant", "ten"),
            limit("tokens", "minute", 5, "project", "prj"),
            keys=keys,
        ),
    )
    counted.read(tmp_path)
    found = {name: sorted(amount for _, amount in each) for name, each in counted.rates.counted().items()}
    assert found == {
        "ten/key/key_a/requests/minute": [1, 1],
        "ten/tenant/ten/requests/hour": [1, 1, 1],
        tokens: [20, 500, 500],
    }
    assert all(now().unix - at < DAY for each in counted.rates.counted().values() for at, _ in each)


def test_what_corrects_the_tokens_of_an_earlier_call_counts_at_that_calls_time(tmp_path: Path) -> None:
    """I4: nothing below zero stays behind when the earlier call leaves the window."""
    tokens = "ten/project/prj/tokens/minute"

    async def life() -> None:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        writer.decide("ten", decision("a", "prj", reserved=(Reserved(tokens, "", 500),)), lambda error: None)
        await turn(1)
        writer.conclude("ten", outcome("a", "prj", settled=(Settled(tokens, "", 500, 500),)))
        writer.decide("ten", decision("b", "prj", reserved=(Reserved(tokens, "", 0),)), lambda error: None)
        await turn(1)
        read = (Settled(tokens, "", 0, 0), Settled(tokens, "", 0, -480))
        writer.conclude("ten", outcome("b", "prj", settled=read, reports="a"))
        await turn(3)
        die(writer)

    asyncio.run(life())
    counted = Counted(Openings(), rates(limit("tokens", "minute", 5, "project", "prj")))
    counted.read(tmp_path)
    assert [amount for _, amount in counted.rates.counted()[tokens]] == [20, 0]


def test_a_restored_rate_admits_no_more_than_the_cap_within_its_window(tmp_path: Path) -> None:
    entry = limit("requests", "minute", 3)

    async def life() -> None:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        for name in ("a", "b"):
            writer.decide("ten", decision(name, "prj", key="key_a"), lambda error: None)
        await turn(1)
        die(writer)

    asyncio.run(life())
    counted = Counted(Openings(), rates(entry))
    counted.read(tmp_path)
    limits = LocalLimits()
    limits.configure({entry.id: entry}, now())
    limits.restore(restored(counted), counted.rates.counted(), now())
    assert limits.admit(Claim("ten", "prj", "key_a"), now()) is None
    assert limits.admit(Claim("ten", "prj", "key_a"), now()) is not None


def test_lanes_apart_are_summed_up_from_their_beginning(tmp_path: Path) -> None:
    """For a shared ledger: what a running worker has settled since its start, whatever of it the store has."""

    async def life() -> str:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        for name in ("a", "b"):
            held = (Reserved(SPEND, "", 100),)
            writer.decide("ten", decision(name, "prj", reserved=held), lambda error: None)
        await turn(1)
        writer.conclude("ten", outcome("a", "prj", settled=(Settled(SPEND, "", 100, 30),)))
        await turn(3)
        die(writer)
        return writer.lane

    lane = asyncio.run(life())
    counted = Counted(collected(tmp_path, {lane: 3}), rates(), (lane,))
    counted.read(tmp_path)
    both = [counted.spent[SPEND, ""], counted.lanes[lane][SPEND, ""]]
    assert [(each.settled, each.reserved) for each in both] == [(30, 100), (30, 100)]


def test_what_an_outcome_says_of_an_earlier_call_counts_for_the_lane_it_stands_in(tmp_path: Path) -> None:
    async def life() -> str:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        writer.decide("ten", decision("a", "prj", reserved=(Reserved(SPEND, "", 100),)), lambda error: None)
        writer.decide("ten", decision("b", "prj"), lambda error: None)
        await turn(1)
        writer.conclude("ten", outcome("a", "prj", settled=(Settled(SPEND, "", 100, 100),)))
        writer.conclude("ten", outcome("b", "prj", settled=(Settled(SPEND, "", 0, -70),), reports="a"))
        await turn(3)
        die(writer)
        return writer.lane

    lane = asyncio.run(life())
    counted = Counted(Openings(), rates(), (lane,))
    counted.read(tmp_path)
    assert counted.lanes[lane][SPEND, ""].settled == 30 and restored(counted) == {(SPEND, ""): 30}


def test_the_file_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "openings.bin"
    assert openings.read(path) == Openings()
    made = Openings({"lane": 7}, (Spent(SPEND, "", 5, 6),))
    openings.write(path, made)
    assert openings.read(path) == made
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40] + b"\0" + content[41:], b""):
        path.write_bytes(damaged)
        assert openings.read(path) == Openings()


def test_a_journal_without_lanes_has_counted_nothing(tmp_path: Path) -> None:
    counted = Counted(Openings(), rates(limit("requests", "day", 3)))
    counted.read(tmp_path / "journal")
    assert restored(counted) == {} and [each for each in counted.rates.counted().values() if each] == []
