"""What the collector counts of calls: each once, in bounded memory, whatever callers name."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from gatehouse.collector.tally import BOUNDS, LABEL, MOST_PAIRS, MOST_SERIES, OTHER, Tally
from gatehouse.store.present import TOKEN_PARTS
from gatehouse.store.rows import Batch, Concluded, Decided, Mark, RefusedCount
from tests.collector.lanes_on_disk import Worker, calls, collect, collecting, refusal
from tests.journal.samples import recover
from tests.store.samples import LANE, START, call_id, concluded, decided

CHAT = ("openai", "openai/chat", "gpt-4o-mini")


def _count(tally: Tally, *pairs: tuple[Decided, Concluded], refused: tuple[RefusedCount, ...] = ()) -> None:
    last = max([row.outcome_seq for _, row in pairs] + [row.seq for row in refused])
    tally.count(pairs, Batch(refused=refused, marks=(Mark(LANE, last, "0" * 64, START),)))


def _pair(number: int, asked: dict[str, Any] | None = None, **ended: Any) -> tuple[Decided, Concluded]:
    name = call_id(START, number)
    return (
        decided(name, decision_seq=2 * number + 1, **(asked or {})),
        concluded(name, outcome_seq=2 * number + 2, **ended),
    )


def _remove_store(data: Path) -> None:
    for path in data.glob("store.db*"):
        path.unlink()


def _requests(tally: Tally) -> int:
    return sum(series.ended.total() for series in tally.series.values())


def test_a_call_is_counted_where_it_belongs() -> None:
    tally = Tally()
    _count(
        tally,
        _pair(0),
        _pair(1, {"stream": True}, duration_us=60_000_000, first_token_us=50_000, replayed=True, attempts=2),
        _pair(2, outcome="upstream_error", status=502, code="UPSTREAM_ERROR", cost=None, price="not_applicable"),
        _pair(3, status=404),
        _pair(4, outcome="client_gone", status=None, cost=None, price="unknown"),
        _pair(5, outcome="cut", duration_us=None),
        _pair(6, outcome="refused", status=401, code="UNAUTHORIZED", attempts=0, cost=None),
        refused=(RefusedCount("default", "default", LANE, 20, "OVERLOADED", "too many", 7, START, START),),
    )
    series = tally.series[CHAT]
    assert series.ended == {
        ("ok", "2xx"): 2,
        ("upstream_error", "5xx"): 1,
        ("ok", "4xx"): 1,
        ("client_gone", "none"): 1,
        ("cut", "2xx"): 1,
        ("refused", "4xx"): 1,
    }
    assert sum(series.duration.counts) == 5  # not the refused one, nor the one that nobody timed
    assert series.duration.counts[BOUNDS.index(80.0)] == 1
    assert series.duration.sum_us == 60_000_000 + 4 * 123_456
    # A bound belongs to its bucket.
    assert (series.first_token.counts[0], sum(series.first_token.counts)) == (1, 1)
    sums = tally.models["openai", "gpt-4o-mini"]
    assert sums.tokens[TOKEN_PARTS.index("input")] == 7 * 70
    assert (sums.cost, sums.unpriced) == (4 * 12_345, 1)
    assert (tally.attempts, tally.replays) == ({"openai": 7}, {"openai": 1})
    assert tally.errors == {
        ("openai", "UPSTREAM_ERROR"): 1,
        ("openai", "404"): 1,
        ("openai", "cut"): 1,
        ("openai", "UNAUTHORIZED"): 1,
    }
    assert tally.refusals == {"UNAUTHORIZED": 1, "OVERLOADED": 7}


def test_models_beyond_the_bound_are_one() -> None:
    """I9: callers may name any model."""
    tally = Tally()
    _count(tally, *(_pair(number, {"model": f"m{number}"}) for number in range(MOST_PAIRS + 50)))
    assert len(tally.models) == MOST_PAIRS + 1
    assert tally.series["openai", "openai/chat", OTHER].ended.total() == 50
    assert _requests(tally) == MOST_PAIRS + 50
    # A model that has its place keeps it.
    _count(tally, _pair(2_000, {"model": "m3"}))
    assert tally.series["openai", "openai/chat", "m3"].ended.total() == 2


def test_series_beyond_the_bound_are_one_per_route() -> None:
    tally = Tally()
    names = [(f"openai/r{route}", f"m{model}") for route in range(5) for model in range(400)]
    _count(tally, *(_pair(n, {"route": route, "model": model}) for n, (route, model) in enumerate(names)))
    assert len(tally.series) <= MOST_SERIES + 5
    assert len(tally.models) <= MOST_PAIRS + 1
    assert _requests(tally) == len(names)


def test_labels_are_short_and_printable() -> None:
    tally = Tally()
    _count(tally, _pair(0, {"model": "x" * 500}), _pair(1, {"model": "a\nb\x1b"}), _pair(2, {"model": None}))
    assert {key[2] for key in tally.series} == {"x" * LABEL, "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}", ""}


def test_collecting_counts_each_call_once(tmp_path: Path) -> None:
    """Also where the store is taken away meanwhile and made anew, or a row is left out."""
    names = calls(40)

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        for number, name in enumerate(names[:20]):
            worker.decide(name, max_output=2**63 if number == 7 else 5)
            if number != 7:
                worker.conclude(name)
        worker.writer.refuse("default", refusal(call_id(START, 99)), authenticated=True)
        worker.writer.flush()
        async with collecting(tmp_path) as collector:
            while await collector.step():
                pass
            assert _requests(collector.tally) == 20
            _remove_store(tmp_path)
            for name in names[20:]:
                worker.call(name)
            worker.writer.flush()
            while await collector.step():
                pass
            assert _requests(collector.tally) == 40
            assert collector.tally.refusals == {"UNAUTHORIZED": 1}
            assert collector.tally.models["openai", "gpt-4o-mini"].cost == 39 * 12_345
        worker.writer.close()

    asyncio.run(run())


def test_the_next_collector_counts_what_is_new_to_the_store(tmp_path: Path) -> None:
    first, second, third = calls(3)

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        worker.call(first)
        worker.decide(second, stream=True)
        worker.writer.flush()
        assert _requests((await collect(tmp_path)).tally) == 1
        # Decided before, ended after: the decision comes from the store.
        worker.conclude(second, first_token_us=700)
        worker.call(third)
        worker.writer.flush()
        tally = (await collect(tmp_path)).tally
        assert tally.series[CHAT].ended == {("ok", "2xx"): 2}
        assert sum(tally.series[CHAT].first_token.counts) == 1
        assert _requests((await collect(tmp_path)).tally) == 0
        worker.writer.close()

    asyncio.run(run())


def test_an_outcome_that_comes_before_its_decision_is_counted_with_it(tmp_path: Path) -> None:
    """Recovery writes to control's lane, which may be read first."""
    [name] = calls(1)

    async def run() -> None:
        worker = Worker(tmp_path / "journal")
        worker.decide(name)
        worker.die()
        control = Worker(tmp_path / "journal", role="control")
        assert recover(tmp_path / "journal", control.writer).interrupted == 1
        lane = tmp_path / "journal" / worker.writer.lane
        lane.rename(tmp_path / "aside")
        async with collecting(tmp_path) as collector:
            while await collector.step():
                pass
            assert _requests(collector.tally) == 0
            (tmp_path / "aside").rename(lane)
            while await collector.step():
                pass
            ended: Counter[tuple[str, str]] = collector.tally.series[CHAT].ended
            assert ended == {("interrupted", "none"): 1}
        control.writer.close()

    asyncio.run(run())
