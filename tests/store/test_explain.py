"""O15 over a real store: every contribution is what plain Python makes of the same calls, and they add up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import engine
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.explain import Compared, Contribution, Explanation, Metric, baseline, explain
from gatehouse.store.queries import TraceFilter
from gatehouse.store.rows import Batch
from gatehouse.store.sight import Sight
from gatehouse.store.statements import DIMENSIONS
from gatehouse.store.stretches import TooLongError
from gatehouse.store.tally import MOST_KEYS, TooManyError
from tests.store import databases, random_calls
from tests.store.random_calls import SPAN, Call
from tests.store.samples import START, call_id, concluded, decided, opened

PAIRS = random_calls.pairs(500, seed=11)
CALLS = [random_calls.merged(*pair) for pair in PAIRS]
MIDDLE = START + SPAN // 2
METRICS: tuple[Metric, ...] = ("cost", "latency", "errors")
T = TypeVar("T")
FAILED = ("refused", "upstream_error", "cut", "blocked", "interrupted")


def _ask(directory: Path, question: Callable[[Analytics], Awaitable[T]], tenant: str, most: int = MOST_KEYS) -> T:
    async def run() -> T:
        reading = engine.reader(databases.url(directory))
        try:
            return await question(Analytics(reading, Sight(tenant), most=most))
        finally:
            await reading.dispose()

    return asyncio.run(run())


def _explain(directory: Path, metric: Metric, compared: Compared, tenant: str = "default") -> Explanation:
    return _ask(directory, lambda analytics: explain(analytics, metric, compared), tenant)


@pytest.fixture(scope="module")
def data(new_place: Callable[[], Path]) -> Path:
    directory = new_place()

    async def run() -> None:
        async with opened(directory) as (writer, _):
            await random_calls.store(writer, PAIRS)

    asyncio.run(run())
    return directory


def _halves(limit: int = 100) -> Compared:
    return Compared(since=MIDDLE, until=START + SPAN, base_since=START, base_until=MIDDLE, limit=limit)


def _calls(since: int, until: int) -> list[Call]:
    return [call for call in CALLS if call["tenant"] == "default" and since <= call["started"] < until]


def _of(explanation: Explanation, dimension: str) -> list[Contribution]:
    return [item for item in explanation.items if item.dimension == dimension]


def _is_error(call: Call) -> bool:
    return call["outcome"] in FAILED or (call["status"] or 0) >= 400


@pytest.mark.parametrize("metric", METRICS)
def test_contributions_of_each_dimension_add_up(data: Path, metric: Metric) -> None:
    """Whatever is told one by one."""
    for limit in (1, 2, 100):
        found = _explain(data, metric, _halves(limit))
        assert found.change is not None and found.change != 0 and not found.too_many
        for dimension in DIMENSIONS:
            items = _of(found, dimension)
            assert sum(item.change or 0 for item in items) == found.change, dimension
            assert sum(item.calls_after for item in items) == found.after.calls
            assert sum(item.share or 0 for item in items) == pytest.approx(1)
            assert len(items) <= limit + 1
            assert [item.state for item in items[:-1]].count("rest") == 0
            told = [abs(item.change or 0) for item in items if item.state != "rest"]
            assert told == sorted(told, reverse=True)
            if metric == "errors":
                moved = (found.after.error_rate or 0) - (found.before.error_rate or 0)
                assert sum(item.error_rate_change or 0 for item in items) == pytest.approx(moved)
            for item in items:
                parts = [item.volume, item.mix, item.per_call]
                assert sum(part or 0 for part in parts) == item.change


def test_the_figures_are_those_of_the_calls(data: Path) -> None:
    before, after = _calls(START, MIDDLE), _calls(MIDDLE, START + SPAN)
    cost, latency, errors = (_explain(data, metric, _halves()) for metric in METRICS)
    for provider in ("openai", "anthropic", None):
        was, now = ([call for call in calls if call["provider"] == provider] for calls in (before, after))
        [spent] = [item for item in _of(cost, "provider") if item.value == provider]
        assert (spent.before, spent.after) == tuple(sum(call["cost"] or 0 for call in calls) for calls in (was, now))
        assert spent.calls_before == sum(call["cost"] is not None for call in was)
        [failed] = [item for item in _of(errors, "provider") if item.value == provider]
        assert (failed.before, failed.after) == tuple(sum(map(_is_error, calls)) for calls in (was, now))
        assert failed.error_rate_after == pytest.approx(sum(map(_is_error, now)) / len(now))
        [took] = [item for item in _of(latency, "provider") if item.value == provider]
        ended = [call["duration_us"] for call in now if call["duration_us"] is not None]
        assert (took.calls_after, took.after) == (len(ended), sum(ended) // len(ended))
        assert took.p95_us_before is not None and took.volume is None
    assert cost.after.unknown_price == sum(call["price"] == "unknown" for call in after)
    sizes = {item.value for item in _of(cost, "size")}
    assert sizes <= {"0-1k", "1k-4k", "4k-16k", "16k-64k", "64k+", None} and len(sizes) > 3


@settings(max_examples=15)
@given(
    metric=st.sampled_from(METRICS),
    edges=st.lists(st.integers(START, START + SPAN), min_size=4, max_size=4, unique=True),
    wanted=st.sampled_from([TraceFilter(), TraceFilter(provider="openai"), TraceFilter(model="gpt-4o")]),
)
def test_any_two_windows(data: Path, metric: Metric, edges: list[int], wanted: TraceFilter) -> None:
    first, second, third, fourth = sorted(edges)
    compared = Compared(since=third, until=fourth, base_since=first, base_until=second, filter=wanted, limit=2)
    found = _explain(data, metric, compared)
    for dimension in DIMENSIONS:
        changes = [item.change for item in _of(found, dimension)]
        if found.change is None:
            assert set(changes) <= {None}
        else:
            assert sum(change or 0 for change in changes) == found.change


def test_new_and_vanished_and_unpriced(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, _):
            old, both, unpriced = (call_id(START + n * 1_000, n) for n in range(3))
            new, again, priced = (call_id(MIDDLE + n * 1_000, n) for n in range(3))
            unknown: dict[str, Any] = {"cost": None, "price": "unknown"}
            asks = {old: "old", both: "both", unpriced: "dear", new: "new", again: "both", priced: "dear"}
            ends = {unpriced: unknown, again: {"cost": 20_000}}
            await writer.apply(
                Batch(
                    tuple(decided(call, model=model) for call, model in asks.items()),
                    tuple(concluded(call, **ends.get(call, {})) for call in asks),
                )
            )

    asyncio.run(run())
    found = _explain(place, "cost", _halves())
    models = {item.value: item for item in _of(found, "model")}
    # Calls there were before, although nobody knew what they cost.
    assert {name: item.state for name, item in models.items()} == {
        "old": "vanished",
        "both": "both",
        "dear": "both",
        "new": "new",
    }
    assert (found.before.amount, found.after.amount, found.before.unknown_price) == (24_690, 44_690, 1)
    assert {name: item.change for name, item in models.items()} == {
        "old": -12_345,
        "both": 7_655,
        "dear": 12_345,
        "new": 12_345,
    }
    assert (models["both"].tokens, models["both"].price) == (0, 7_655)
    assert found.relative == pytest.approx(20_000 / 24_690)


@pytest.mark.parametrize("wanted", [TraceFilter(), TraceFilter(provider="openai"), TraceFilter(status=(200,))])
def test_dimensions_asked_at_once_say_what_each_says_alone(data: Path, wanted: TraceFilter) -> None:
    """Rolled up or not (`tests.store.test_rollups` compares the two)."""
    asked = Asked(since=START, until=START + SPAN, filter=wanted, group_by=tuple(DIMENSIONS))

    async def together(analytics: Analytics) -> list[Any]:
        sums, durations = await analytics.sums_by_each(asked, ("calls",)), await analytics.durations_by_each(asked)
        assert list(sums) == list(durations) == list(DIMENSIONS)
        return [
            [
                {value: found["calls"] for (value,), found in sums[name].items()},
                {value: found for (value,), found in durations[name].items().items()},
                durations[name].total(),
            ]
            for name in DIMENSIONS
        ]

    async def alone(analytics: Analytics) -> list[Any]:
        found = []
        for name in DIMENSIONS:
            by = msgspec.structs.replace(asked, group_by=(name,))
            usage, latency = await analytics.usage(by), await analytics.latency(by)
            took = {row.group[name]: row.duration for row in latency.items if row.duration.calls}
            found.append([{row.group[name]: row.calls for row in usage.items}, took, latency.total.duration])
        return found

    assert _ask(data, together, "default") == _ask(data, alone, "default")


def test_what_is_told_apart_by_too_much_is_named_and_left_out(data: Path) -> None:
    """I9. Three providers, five models: together they are too many, and of the two only the models are."""
    for metric in METRICS:
        found = _ask(data, lambda analytics: explain(analytics, metric, _halves()), "default", most=4)  # noqa: B023
        assert found.too_many == ["model", "key", "size"]
        whole = _explain(data, metric, _halves())
        assert found.items == [item for item in whole.items if item.dimension not in found.too_many]
        with pytest.raises(TooManyError, match="differ in too much"):
            _ask(data, lambda analytics: explain(analytics, metric, _halves()), "default", most=1)  # noqa: B023


def test_no_calls_and_other_peoples_calls(data: Path, place: Path) -> None:
    """I6."""
    mine, theirs = (_explain(data, "errors", _halves(), tenant) for tenant in ("default", "b"))
    assert mine.after.calls + theirs.after.calls == sum(MIDDLE <= call["started"] for call in CALLS)
    nobody = _explain(data, "latency", _halves(), "c")
    assert (nobody.before.calls, nobody.before.amount, nobody.change, nobody.items) == (0, None, None, [])
    none = _explain(data, "cost", Compared(since=1, until=2, base_since=0, base_until=1))
    assert (none.change, none.relative, none.items) == (0, None, [])


def test_it_is_given_up_and_not_half_answered(data: Path) -> None:
    with pytest.raises(TooLongError, match="shorter window"):
        _ask(data, lambda analytics: explain(analytics, "cost", _halves(), patience=-1), "default")


def test_baselines() -> None:
    hour = 3_600_000_000
    assert baseline("previous", START, START + hour) == (START - hour, START)
    assert baseline("day", START, START + hour) == (START - 24 * hour, START - 23 * hour)
    assert baseline("week", START, START + hour) == (START - 168 * hour, START - 167 * hour)
    assert baseline("week", hour, 2 * hour) == (0, 0)
