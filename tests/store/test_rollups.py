"""Hours and days that are summed up answer as their calls do: whatever is asked, and whenever they were summed up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from gatehouse.store import engine, rolling
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.queries import TraceFilter
from gatehouse.store.rollups import CUBES, OTHER, Segment, cover, cube_for, together
from gatehouse.store.rows import Batch
from gatehouse.store.schema import rolled, rollup_durations, rollups, traces
from gatehouse.store.sight import Sight
from gatehouse.store.statements import DIMENSIONS, TOKENS
from gatehouse.store.times import DAY, HOUR
from gatehouse.store.writing import StoreWriter
from tests.store import databases, random_calls
from tests.store.samples import START, call_id, concluded, decided, opened

SPAN = 3 * DAY
PAIRS = random_calls.pairs(400, seed=11, span=SPAN)
LATER = START + SPAN + 30 * DAY
ALL = Sight("default")
SIGHTS = st.just(ALL) | st.sampled_from([Sight("b"), Sight("default", user="u1"), Sight("default", key="k1")])
ENDS = st.sampled_from([asked.started for asked, _ in PAIRS])
MOMENTS = st.integers(START - DAY, START + SPAN + DAY) | ENDS
FILTERS = st.builds(
    TraceFilter,
    provider=st.none() | st.sampled_from(["openai", "nobody"]),
    model=st.none() | st.sampled_from(["gpt-4o", "gpt-4o-mini-2024-07-18", ""]),
    route=st.none() | st.just("openai/chat"),
    caller=st.none() | st.sampled_from(["k1", "a" * 32]),
    project=st.none() | st.just("p2"),
    user=st.none() | st.just("u1"),
    team=st.none() | st.just("search"),
    environment=st.none() | st.just("prod"),
    service=st.none() | st.just("bot"),
    outcome=st.just(()) | st.just(("ok", "open")),
    code=st.just(()) | st.just(("UNAUTHORIZED",)),
    status=st.just(()) | st.just((200,)),
)


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    since, until = sorted((draw(MOMENTS), draw(MOMENTS) + 1))
    return Asked(
        since=since,
        until=until,
        filter=draw(st.just(TraceFilter()) | FILTERS),
        group_by=tuple(draw(st.lists(st.sampled_from(list(DIMENSIONS)), max_size=2, unique=True))),
        bucket=draw(st.sampled_from([None, "hour", "day", "week"])),
        limit=10_000,
    )


async def _sums_by_each(analytics: Analytics, asked: Asked) -> Any:
    found = await analytics.sums_by_each(asked, ("calls", "errors", "cost", *TOKENS))
    return {name: {str(key): values for key, values in sums.items()} for name, sums in found.items()}


async def _durations_by_each(analytics: Analytics, asked: Asked) -> Any:
    found = await analytics.durations_by_each(asked)
    return {name: {str(key): took for key, took in each.items().items()} for name, each in found.items()}


QUESTIONS: dict[str, Callable[[Analytics, Asked], Awaitable[Any]]] = {
    "usage": Analytics.usage,
    "cost": Analytics.cost,
    "latency": Analytics.latency,
    "errors": Analytics.errors,
    "models": Analytics.models,
    "keys": Analytics.keys,
    "summary": Analytics.summary,
    "stats": lambda analytics, asked: analytics.stats("7d", asked.since, asked.until),
    "logs": lambda analytics, asked: analytics.log(
        msgspec.structs.replace(asked.filter, since=asked.since, until=asked.until), 20, 40
    ),
    "each sum": _sums_by_each,
    "each duration": _durations_by_each,
    "all logs": lambda analytics, asked: analytics.log(asked.filter, 20, 100),
}


async def _roll(writer: StoreWriter, now: int = LATER, steps: int = 100_000) -> None:
    for _ in range(steps):
        if not await writer.roller.step(now):
            return


async def _counted(directory: Path, table: Any, *conditions: Any) -> int:
    reading = engine.reader(databases.url(directory), everybody=True)
    try:
        async with engine.transaction(reading) as connection:
            found = await connection.execute(select(func.count()).select_from(table).where(*conditions))
            return int(found.scalar_one())
    finally:
        await reading.dispose()


async def _answers(directory: Path, asked: Asked, names: list[str], sight: Sight = ALL) -> list[Any]:
    reading = engine.reader(databases.url(directory))
    try:
        analytics = Analytics(reading, sight, stretch=100)
        return [msgspec.to_builtins(await QUESTIONS[name](analytics, asked)) for name in names]
    finally:
        await reading.dispose()


@pytest.fixture(scope="module")
def stores(new_place: Callable[[], Path]) -> tuple[Path, Path, Path]:
    """The same calls: as they are; summed up; and summed up while they came, with a part that is not yet again."""
    plain, whole, changed = new_place(), new_place(), new_place()

    async def run() -> None:
        async with opened(plain) as (writer, _):
            await random_calls.store(writer, PAIRS)
        async with opened(whole) as (writer, _):
            await random_calls.store(writer, PAIRS)
            await _roll(writer)
        async with opened(changed) as (writer, _):
            await random_calls.store(writer, PAIRS[:300])
            await _roll(writer)
            # Late ones: their hours and days are to be summed up again, and not all are.
            await random_calls.store(writer, PAIRS[300:350])
            await _roll(writer, LATER + DAY, 40)
        async with opened(changed) as (writer, _):
            # Another writer, which knows of nothing, in the middle of a day.
            await _roll(writer, steps=5)
            await random_calls.store(writer, PAIRS[350:])
            await _roll(writer, steps=150)

    asyncio.run(run())
    return plain, whole, changed


@settings(max_examples=15)
@given(
    asked=questions(),
    names=st.lists(st.sampled_from(list(QUESTIONS)), min_size=2, max_size=3, unique=True),
    sight=SIGHTS,
)
def test_what_is_summed_up_answers_as_its_calls_do(
    stores: tuple[Path, Path, Path], asked: Asked, names: list[str], sight: Sight
) -> None:
    """O6, T8, T9, A7: no call is missed or counted twice, whoever may see which."""

    async def run() -> None:
        right, *others = [await _answers(store, asked, names, sight) for store in stores]
        for other in others:
            assert other == right

    asyncio.run(run())


def test_it_is_summed_up_and_not_all_again(stores: tuple[Path, Path, Path]) -> None:
    """Or the test above would show nothing."""

    async def run() -> None:
        plain, whole, changed = [
            [
                await _counted(store, rolled, rolled.c.grain == grain, rolled.c.cube == "projects", rolled.c.calls > 0)
                for grain in ("hour", "day")
            ]
            for store in stores
        ]
        expected = [len({(asked.tenant, asked.started // length) for asked, _ in PAIRS}) for length in (HOUR, DAY)]
        assert (plain, whole) == ([0, 0], expected)
        assert 0 < changed[0] < whole[0]
        assert 0 < changed[1] < whole[1]

    asyncio.run(run())


def test_a_window_is_covered_once() -> None:
    """Pure: the parts follow each other without gap or overlap, and whole days or hours are as long as they are."""

    @given(since=st.integers(0, 4 * DAY), length=st.integers(1, 4 * DAY), data=st.data())
    def check(since: int, length: int, data: st.DataObject) -> None:
        starts = data.draw(st.lists(st.integers(0, 8 * 24).map(lambda hour: hour * HOUR), unique=True).map(sorted))
        parts = cover(Segment("call", since, since + length), starts, "hour")
        assert [parts[0].since, *(part.until for part in parts)] == [*(part.since for part in parts), since + length]
        covered = {hour for part in parts if part.grain == "hour" for hour in range(part.since, part.until, HOUR)}
        assert covered == {hour for hour in starts if since <= hour <= since + length - HOUR}

    check()


def test_only_what_is_told_apart_is_answered_from_sums() -> None:
    assert cube_for((), ALL, TraceFilter(), ends=True) == "projects"
    assert cube_for(("provider", "model"), ALL, TraceFilter(outcome=("ok",)), ends=True) == "models"
    assert cube_for(("key",), ALL, TraceFilter(), ends=False) == "keys"
    assert cube_for(("user",), ALL, TraceFilter(), ends=True) == "users"
    assert cube_for(("user",), ALL, TraceFilter(model="m"), ends=True) == "callers"
    assert cube_for(("team", "environment"), ALL, TraceFilter(service="bot"), ends=False) == "projects"
    assert cube_for(("workspace",), ALL, TraceFilter(), ends=True) == "projects"
    assert cube_for(("service", "model", "key"), ALL, TraceFilter(team="t"), ends=True) == "callers"
    # A7: what cannot tell whose calls they were is not asked.
    own, of_key = Sight("default", user="u1"), Sight("default", key="k1")
    assert cube_for((), own, TraceFilter(), ends=True) == "users"
    assert cube_for(("model",), own, TraceFilter(), ends=False) == "callers"
    assert cube_for((), of_key, TraceFilter(), ends=True) == "keys"
    assert cube_for(("size",), own, TraceFilter(), ends=True) is None
    # Durations are not told apart by how calls ended; and some filters are known to calls alone.
    assert cube_for((), ALL, TraceFilter(outcome=("ok",)), ends=False) is None
    assert cube_for((), ALL, TraceFilter(status=(200,)), ends=True) is None
    assert cube_for((), ALL, TraceFilter(min_latency_us=1), ends=True) is None
    assert all(cube_for((name,), ALL, TraceFilter(), ends=False) for name in DIMENSIONS)
    assert together(("provider", "key", "model"), ALL, TraceFilter(), ends=True) == [("provider", "model"), ("key",)]
    assert together(DIMENSIONS, ALL, TraceFilter(status=(200,)), ends=True) == [tuple(DIMENSIONS)]


def test_sums_outlive_their_calls(place: Path) -> None:
    """Of "all", all is kept. What comes for an hour whose calls are gone does not undo its sums."""
    began = START - START % DAY + 5 * HOUR
    names = [call_id(began + n * 1000, n) for n in range(7)]

    async def run() -> None:
        asked = Asked(since=began - 5 * HOUR, until=began + DAY, group_by=("model",))
        async with opened(place) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, names[:6])), tuple(map(concluded, names[:5]))))
            await _roll(writer)
            before = await _answers(place, asked, ["usage", "cost", "latency", "errors", "summary"])
            assert before[0]["total"]["calls"] == 6
            assert await writer.forget(began + DAY, 3) == 3
            # Three of its calls are deleted, and two more come: sums of these alone would be wrong.
            await writer.apply(Batch((decided(names[6]),), (concluded(names[5]),)))
            assert await writer.forget(began + DAY, 100) == 4
            await _roll(writer, LATER + DAY)
        assert await _counted(place, traces) == 0
        assert await _answers(place, asked, ["usage", "cost", "latency", "errors", "summary"]) == before

    asyncio.run(run())


def test_hours_and_days_go_when_their_time_has_come(place: Path) -> None:
    """In small steps, hours before days, and never a part of a day's hours."""
    began = START - START % DAY
    names = [call_id(began + n * 8 * HOUR, n) for n in range(12)]
    asked = Asked(since=began, until=began + 4 * DAY, bucket="hour")

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, names)), tuple(map(concluded, names))))
            await _roll(writer)
            await writer.forget(began + 4 * DAY, 100)
            steps = 0
            while await writer.roller.forget("hour", began + 2 * DAY + 5 * HOUR):
                steps += 1
                [usage] = await _answers(place, asked, ["usage"])
                assert usage["total"]["calls"] == 12
            assert steps > 6
            # Of the first two days the days are left, each in the hour in which it began.
            hours = [(row["bucket"][11:13], row["calls"]) for row in usage["items"]]
            assert hours == [("00", 3), ("00", 3), *((hour, 1) for hour in ("00", "08", "16") * 2)]
            while await writer.roller.forget("day", began + DAY):
                pass
            [usage] = await _answers(place, asked, ["usage"])
            assert usage["total"]["calls"] == 9
            for table in (rollups, rollup_durations, rolled):
                assert await _counted(place, table, table.c.start < began + DAY) == 0

    asyncio.run(run())


def test_names_that_callers_invent_are_bounded(place: Path) -> None:
    """I9: beyond so many, names share a row; what tells everything apart is asked of the calls."""
    began = START - START % HOUR
    names, late = [call_id(began + n * 1000, n) for n in range(130)], call_id(began + 10**6, 1)

    async def run() -> None:
        async with opened(place) as (writer, writing):
            asks = tuple(decided(name, model=f"m{name}") for name in names)
            asks = *asks, decided(late, model=f"m{names[0]}")
            await writer.apply(Batch(asks, tuple(map(concluded, (*names, late)))))
            roller = rolling.Roller(writing, stretch=20, most=100)
            while await roller.step(LATER):
                pass
        asked = Asked(since=began, until=began + HOUR, group_by=("model",), limit=10_000)
        [usage] = await _answers(place, asked, ["usage"])
        assert usage["total"]["calls"] == 131
        counted = {row["group"]["model"]: row["calls"] for row in usage["items"]}
        assert (len(counted), counted[OTHER], counted[f"m{names[0]}"]) == (101, 30, 2)
        kept = {cube: await _counted(place, rolled, rolled.c.cube == cube, rolled.c.grain == "hour") for cube in CUBES}
        assert kept == {cube: 0 if cube == "callers" else 24 for cube in CUBES}
        [usage] = await _answers(place, msgspec.structs.replace(asked, group_by=("model", "key")), ["usage"])
        assert len(usage["items"]) == 130

    asyncio.run(run())


def test_an_hour_waits_for_its_calls_to_end(place: Path) -> None:
    """What is over a moment ago is not summed up yet; what changes later is, but not at once each time."""
    began = START - START % HOUR
    names = [call_id(began + n * 1000, n) for n in range(3)]

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(tuple(map(decided, names))))
            await _roll(writer, began + HOUR + rolling.SETTLE - 1)
            assert await _counted(place, rolled) == 0
            await _roll(writer, began + HOUR + rolling.SETTLE + 60_000_000)
            assert await _counted(place, rolled, rolled.c.grain == "hour") == len(CUBES)
            await writer.apply(Batch(concluded=(concluded(names[0]),)))
            assert await _counted(place, rolled, rolled.c.grain == "hour") == 0
            await _roll(writer, began + 2 * HOUR)
            assert await _counted(place, rolled, rolled.c.grain == "hour") == 0

    asyncio.run(run())


def test_a_call_that_comes_late_for_an_hour_without_calls(place: Path) -> None:
    """Its day was summed up, and nothing after it: no call is missed."""
    began = START - START % DAY
    first, late = call_id(began + HOUR, 1), call_id(began + 5 * HOUR, 2)

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch((decided(first),), (concluded(first),)))
            await _roll(writer)
            assert await _counted(place, rolled, rolled.c.grain == "day") == len(CUBES)
            await writer.apply(Batch((decided(late),), (concluded(late),)))
            asked = Asked(since=began, until=began + DAY)
            [usage] = await _answers(place, asked, ["usage"])
            assert usage["total"]["calls"] == 2
            await _roll(writer, LATER + DAY)
            assert await _answers(place, asked, ["usage"]) == [usage]

    asyncio.run(run())
