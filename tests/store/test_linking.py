"""Calls find the call they go on from: in any order, within their tenant and within a day (O13, D6, I6)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatehouse.store import linking, times
from gatehouse.store.linking import NEWEST, WINDOW
from gatehouse.store.queries import TraceFilter
from gatehouse.store.rows import Batch, LinkKey
from tests.store.samples import START, call_id, concluded, contents, decided, opened, queried

DAY = 86_400_000_000
STEPS = [call_id(START + number * 1_000_000, number) for number in range(4)]
Place = tuple[str, str | None]
"""Loop and parent."""


def part(
    call: str, *, asks: str = "", offers: str = "", tenant: str = "default", at: int = START, parent: str | None = None
) -> Batch:
    """A call with keys, one letter each."""
    links = [LinkKey(tenant, at // DAY, key * 16, call, offered=False) for key in asks]
    links += [LinkKey(tenant, at // DAY, key * 16, call, offered=True) for key in offers]
    asked, ended = decided(call, tenant=tenant, parent_id=parent), concluded(call, tenant=tenant)
    return Batch(decided=(asked,), concluded=(ended,), links=tuple(links))


def whole(*parts: Batch) -> Batch:
    return Batch(
        decided=tuple(row for each in parts for row in each.decided),
        concluded=tuple(row for each in parts for row in each.concluded),
        links=tuple(link for each in parts for link in each.links),
    )


def linked(place: Path, *batches: Batch, tenant: str = "default") -> dict[str, Place]:
    async def run() -> dict[str, Place]:
        async with opened(place) as (writer, _):
            for batch in batches:
                await writer.apply(batch)
        async with queried(place, tenant) as queries:
            page = await queries.page(TraceFilter(), 500)
        return {call.id: (call.loop, call.parent_call) for call in page.items}

    return asyncio.run(run())


CHAIN = [
    part(STEPS[0], offers="a"),
    part(STEPS[1], asks="a", offers="b"),
    part(STEPS[2], asks="b", offers="c"),
    part(STEPS[3], asks="c", offers="d"),
]
LINKED = {
    STEPS[0]: (STEPS[0], None),
    STEPS[1]: (STEPS[0], STEPS[0]),
    STEPS[2]: (STEPS[0], STEPS[1]),
    STEPS[3]: (STEPS[0], STEPS[2]),
}


def test_a_loop_is_linked_however_its_lines_arrive(new_place: Callable[[], Path]) -> None:
    """Workers' lanes are collected at their own pace: in one batch, one by one, the last first."""
    assert linked(new_place(), whole(*CHAIN)) == LINKED
    for order in itertools.permutations(CHAIN):
        if order[0] is CHAIN[0] or order[-1] is CHAIN[0] or order[0] is CHAIN[2]:
            assert linked(new_place(), *order) == LINKED, [batch.decided[0].call for batch in order]


def test_an_outcomes_keys_link_as_well(place: Path) -> None:
    """A tool call's id comes with the answer, maybe after the call that brings its result was collected."""
    first, second = part(STEPS[0]), part(STEPS[1], asks="t")
    late = Batch(links=(LinkKey("default", START // DAY, "t" * 16, STEPS[0], offered=True),))
    assert linked(place, first, second, late)[STEPS[1]] == (STEPS[0], STEPS[0])


def test_collecting_again_changes_nothing(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, writing):
            for batch in CHAIN:
                await writer.apply(batch)
            before = await contents(writing)
            for batch in CHAIN:
                await writer.apply(batch)
            assert await contents(writing) == before

    asyncio.run(run())


def test_other_tenants_keys_are_not_seen(place: Path) -> None:
    """I6."""
    theirs = part(STEPS[0], offers="a", tenant="b")
    assert linked(place, theirs, part(STEPS[1], asks="a")) == {STEPS[1]: (STEPS[1], None)}


def test_nothing_goes_on_after_a_day(new_place: Callable[[], Path]) -> None:
    for later, found in ((WINDOW - 1000, STEPS[0]), (WINDOW + 1000, None)):
        call = call_id(START + later, 9)
        place = linked(new_place(), part(STEPS[0], offers="a"), part(call, asks="a", at=START + later))
        assert place[call][1] == found


def test_most_keys_in_common_then_the_newest(place: Path) -> None:
    """Two callers with the same conversation so far; the tool call's id tells whose answer it was."""
    same = [part(STEPS[0], offers="at"), part(STEPS[1], offers="a")]
    assert linked(place, *same, part(STEPS[2], asks="at"), part(STEPS[3], asks="a")) == {
        STEPS[0]: (STEPS[0], None),
        STEPS[1]: (STEPS[1], None),
        STEPS[2]: (STEPS[0], STEPS[0]),
        STEPS[3]: (STEPS[1], STEPS[1]),
    }


def test_what_many_share_costs_no_more_each_time(place: Path) -> None:
    """I9: a prompt that is sent again and again gives the same key; of it only the newest calls are known."""
    calls = [call_id(START + number * 1000, number) for number in range(4 * NEWEST)]
    asking, later = call_id(START + 900_000, 9), call_id(START + 901_000, 9)

    async def run() -> list[tuple[Any, ...]]:
        async with opened(place) as (writer, writing):
            for begin in range(0, len(calls), NEWEST // 2):
                batch = calls[begin : begin + NEWEST // 2]
                await writer.apply(
                    whole(*(part(call, asks="v", offers="at" if call == calls[5] else "a") for call in batch))
                )
            await writer.apply(whole(part(asking, asks="a"), part(later, asks="at")))
            return (await contents(writing))["link_keys"]

    kept = asyncio.run(run())
    newest = set(calls[-NEWEST:])
    for key, offered in (("a", True), ("v", False)):
        assert {row[3] for row in kept if (row[2], row[4]) == (key * 16, offered)} == newest
    places = linked(place)
    assert places[asking][1] == calls[-1]
    # Its conversation is every call's, and was forgotten of this one: the tool call's id still tells.
    assert places[later][1] == calls[5]


def test_the_callers_own_word_goes_first(new_place: Callable[[], Path]) -> None:
    one, two = part(STEPS[0], offers="a"), part(STEPS[1])
    assert linked(new_place(), one, two, part(STEPS[2], asks="a", parent=STEPS[1]))[STEPS[2]] == (STEPS[1], STEPS[1])
    # A name of the caller's own, and an id nobody knows, are only on record.
    for name in ("step-1", call_id(START, 77)):
        assert linked(new_place(), one, part(STEPS[2], asks="a", parent=name))[STEPS[2]] == (STEPS[0], STEPS[0])


def test_a_loop_is_listed_and_its_steps_are_counted(place: Path) -> None:
    linked(place, *CHAIN, part(call_id(START + 9_000_000, 9)))

    async def run() -> None:
        async with queried(place) as queries:
            for step, call in enumerate(STEPS, 1):
                page = await queries.page(TraceFilter(loop=call), 2)
                rest = await queries.page(TraceFilter(loop=call), 2, page.next_cursor)
                assert [each.id for each in (*page.items, *rest.items)] == STEPS[::-1]
                trace = await queries.trace(call)
                assert trace is not None and (trace.step, trace.steps, trace.loop) == (step, 4, STEPS[0])
            followed = await queries.page(TraceFilter(parent=STEPS[1]), 9)
            assert [each.id for each in followed.items] == [STEPS[2]]

    asyncio.run(run())


def test_what_the_headers_say_is_found(place: Path) -> None:
    rows = [
        decided(
            STEPS[0], group_id="g", thread_id="t", run_id="r", sequence=1, tags='["team=a","Nightly"]', job="batch_1"
        ),
        decided(STEPS[1], group_id="g", parent_id="p", tags='["team=ab"]'),
    ]

    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(decided=tuple(rows)))
        async with queried(place) as queries:
            for wanted, found in (
                (TraceFilter(group="g"), [1, 0]),
                (TraceFilter(thread="t"), [0]),
                (TraceFilter(run="r"), [0]),
                (TraceFilter(parent="p"), [1]),
                (TraceFilter(job="batch_1"), [0]),
                (TraceFilter(tag=("team=a",)), [0]),
                (TraceFilter(tag=("nightly",)), []),
                (TraceFilter(tag=("team=a", "Nightly")), [0]),
                (TraceFilter(tag=("%",)), []),
                (TraceFilter(group="h"), []),
            ):
                page = await queries.page(wanted, 9)
                assert [call.id for call in page.items] == [STEPS[number] for number in found], wanted
            shown = await queries.trace(STEPS[0])
            assert shown is not None
            assert (shown.group, shown.thread, shown.run, shown.sequence) == ("g", "t", "r", 1)
            assert (shown.tags, shown.job, shown.step, shown.steps) == (["team=a", "Nightly"], "batch_1", 1, 1)

    asyncio.run(run())


@pytest.mark.parametrize("limit", [1, 100])
def test_keys_of_earlier_days_are_forgotten_step_by_step(place: Path, limit: int) -> None:
    today = times.now() // DAY
    old = [LinkKey("default", today - 9, letter * 16, STEPS[0], offered=True) for letter in "abc"]
    new = LinkKey("default", today - linking.KEPT_DAYS, "d" * 16, STEPS[0], offered=True)

    async def run() -> None:
        async with opened(place) as (writer, writing):
            now = call_id(times.now(), 1)
            await writer.apply(Batch(decided=(decided(now),), links=(*old, new)))
            steps = 0
            while await writer.forget(times.now() - DAY, limit):
                steps += 1
            assert steps == -(-3 // limit)
            assert [row[:3] for row in (await contents(writing))["link_keys"]] == [("default", new.day, new.key)]

    asyncio.run(run())
