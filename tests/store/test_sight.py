"""Whoever may see only some calls gets the answers of a store that holds no others (A7, I6)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, explain
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.explain import Compared
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.rows import Batch, BodyPart, RefusedCount
from gatehouse.store.sight import Sight
from gatehouse.store.times import DAY
from tests.store import databases, random_calls
from tests.store.samples import LANE, START, call_id, concluded, decided, opened

PAIRS = random_calls.pairs(150, seed=21, span=DAY // 2)
LATER = START + 40 * DAY
SIGHTS: dict[str, tuple[Sight, Callable[[Any], bool]]] = {
    "user": (Sight("default", user="u1"), lambda asked: asked.user_id == "u1"),
    "key": (Sight("default", key="k1"), lambda asked: asked.key_id == "k1"),
    "both": (Sight("default", user="u2", key="k2"), lambda asked: (asked.user_id, asked.key_id) == ("u2", "k2")),
    "other tenant": (Sight("b"), lambda asked: True),
}


async def _answers(place: Path, sights: Iterable[Sight]) -> list[list[Any]]:
    """Everything that can be asked, by each of these."""
    reading = engine.reader(databases.url(place))
    try:
        return [await _told(reading, sight) for sight in sights]
    finally:
        await reading.dispose()


async def _told(reading: AsyncEngine, sight: Sight) -> list[Any]:
    queries, analytics = Queries(reading, sight), Analytics(reading, sight)
    found: list[Any] = [await queries.page(TraceFilter(), 500), await queries.last()]
    for call, _ in PAIRS[:20]:
        found.append(await queries.trace(call.call))
        found.append(await queries.trace(call.trace_id))
    found.append(sorted(each.id for each in await queries.among([call.call for call, _ in PAIRS], TraceFilter())))
    for group_by in ((), ("user", "model"), ("team", "service", "environment"), ("size",), ("tag",)):
        asked = Asked(since=START, until=START + 3 * DAY, group_by=group_by, bucket="day", limit=10_000)
        found += [await analytics.usage(asked), await analytics.latency(asked)]
    asked = msgspec.structs.replace(asked, bucket=None)
    found += [await analytics.cost(asked), await analytics.errors(asked)]
    whole = Asked(since=START, until=START + 3 * DAY)
    found += [await analytics.models(whole), await analytics.keys(whole), await analytics.summary(whole)]
    found.append(await analytics.log(TraceFilter(), 20, 5))
    found.append(await analytics.stats("7d", START, START + 3 * DAY))
    compared = Compared(since=START + DAY // 4, until=START + DAY, base_since=START, base_until=START + DAY // 4)
    found.append(await explain.explain(analytics, "cost", compared))
    found.append(await explain.explain(analytics, "latency", compared))
    return [msgspec.to_builtins(each) for each in found]


def test_nothing_tells_of_other_calls(new_place: Callable[[], Path]) -> None:
    """From calls and from what is summed up."""

    async def run() -> None:
        right = []
        for sight, mine in SIGHTS.values():
            only = [(asked, end) for asked, end in PAIRS if asked.tenant == sight.tenant and mine(asked)]
            assert 5 < len(only) < len(PAIRS)
            own = new_place()
            async with opened(own) as (writer, _):
                await random_calls.store(writer, only)
            right += await _answers(own, [sight])
        every, sights = new_place(), [sight for sight, _ in SIGHTS.values()]
        async with opened(every) as (writer, _):
            await random_calls.store(writer, PAIRS)
            assert await _answers(every, sights) == right
            while await writer.roller.step(LATER):
                pass
        assert await _answers(every, sights) == right

    asyncio.run(run())


def test_bodies_loops_and_counted_refusals(place: Path) -> None:
    """What hangs on a call is seen with it, and what hangs on none with all of them."""
    theirs, mine, last = (call_id(START + n * 1_000_000, n) for n in range(3))
    told = {"loop": theirs, "group_id": "g"}
    counted = RefusedCount("default", "default", LANE, 9, "UNAUTHORIZED", "no key", 5, START, START + 1)

    async def run() -> None:
        async with opened(place) as (writer, _):
            asks = decided(theirs, user_id="u2"), decided(mine, user_id="u1", **told), decided(last, user_id="u1")
            parts = tuple(
                BodyPart("default", "default", call, "request", 0, True, None, None, 4, False, zlib.compress(b"body"))
                for call in (theirs, mine)
            )
            await writer.apply(Batch(asks, tuple(map(concluded, (theirs, mine, last))), (counted,), parts))
        reading = engine.reader(databases.url(place))
        try:
            all_of_it, own = Queries(reading, Sight("default")), Queries(reading, Sight("default", user="u1"))
            assert await all_of_it.body(theirs, "request") is not None
            assert await all_of_it.refused(None, None) == 5
            assert await own.body(theirs, "request") is None
            assert await own.body(mine, "request") is not None
            assert await own.refused(None, None) is None
            # A loop is known by its first call, and that is not theirs to see.
            for loop in (theirs, mine):
                seen = [each.id for each in (await own.page(TraceFilter(loop=loop), 10)).items]
                assert seen == [mine]
            assert len((await all_of_it.page(TraceFilter(loop=mine), 10)).items) == 2
            assert [each.id for each in (await own.page(TraceFilter(user="u2"), 10)).items] == []
        finally:
            await reading.dispose()

    asyncio.run(run())
