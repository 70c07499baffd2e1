"""Batches into tables: both halves of a call in any order and company, once each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.store import engine
from gatehouse.store.queries import TraceFilter
from gatehouse.store.rows import Batch, BodyPart, Concluded, Decided, Mark, RefusedCount
from tests.store.samples import LANE, START, call_id, concluded, contents, decided, opened, queried

CALL = call_id()
MARK = Mark(LANE, 3, "0" * 64, START)


def _stored(directory: Path, *batches: Batch) -> dict[str, list[tuple[Any, ...]]]:
    async def run() -> dict[str, list[tuple[Any, ...]]]:
        async with opened(directory) as (writer, writing):
            for batch in batches:
                await writer.apply(batch)
            return await contents(writing)

    return asyncio.run(run())


def test_both_halves_are_one_row_however_they_arrive(new_place: Callable[[], Path]) -> None:
    """I2: the outcome of recovery stands in another lane and may be collected before the decision."""
    first = decided(CALL, provider="first", streamed=True, request_bytes=None, request_sha256=None)
    second = concluded(CALL, provider="second", price_version=None, request_bytes=77, request_sha256="9" * 64)
    first_place = new_place()
    together = _stored(first_place, Batch(decided=(first,), concluded=(second,)))
    in_order = _stored(new_place(), Batch(decided=(first,)), Batch(concluded=(second,)))
    reversed_ = _stored(new_place(), Batch(concluded=(second,)), Batch(decided=(first,)))
    assert together == in_order == reversed_
    assert len(together["traces"]) == 1
    assert len(together["spans"]) == 2

    async def read() -> None:
        async with queried(first_place) as queries:
            trace = await queries.trace(CALL)
            assert trace is not None
            assert trace.provider == "second"  # who served, not who was asked first
            assert trace.price_version == "2026.11.1"  # what only the decision knew
            assert (trace.request_bytes, trace.request_sha256) == (77, "9" * 64)

    asyncio.run(read())


def test_a_decided_call_is_open_and_an_outcome_alone_is_kept(place: Path) -> None:
    early = call_id(START + 5_000)
    _stored(place, Batch(decided=(decided(CALL),), concluded=(concluded(early, outcome="interrupted"),)))

    async def read() -> None:
        async with queried(place) as queries:
            page = await queries.page(TraceFilter(), 10)
            assert [(trace.id, trace.outcome) for trace in page.items] == [(early, "interrupted"), (CALL, "open")]
            assert page.items[0].decision_record is None
            assert page.items[0].started_at == "2025-11-13T02:13:20.005000Z"
            opened_call = await queries.trace(CALL)
            assert opened_call is not None
            assert opened_call.spans == []
            assert opened_call.ended_at is None

    asyncio.run(read())


def test_what_is_stored_twice_is_there_once(new_place: Callable[[], Path]) -> None:
    part = BodyPart("default", "default", CALL, "request", 0, True, "application/json", None, 2, False, b"zz")
    count = RefusedCount("default", "default", LANE, 9, "UNAUTHORIZED", "no key", 5, START, START + 1)
    batch = Batch((decided(CALL),), (concluded(CALL),), (count,), (part,), (MARK,))
    assert _stored(new_place(), batch) == _stored(new_place(), batch, batch)


def test_the_first_outcome_of_a_call_stands(new_place: Callable[[], Path]) -> None:
    """I2: exactly one."""
    begun, first = Batch(decided=(decided(CALL),)), Batch(concluded=(concluded(CALL, outcome="cut"),))
    second = Batch(concluded=(concluded(CALL, outcome="ok", status=299),))
    assert _stored(new_place(), begun, first, second) == _stored(new_place(), begun, first)


def test_calls_of_tenants_do_not_meet(place: Path) -> None:
    """I6: the same call id in two tenants is two calls."""
    _stored(
        place,
        Batch(decided=(decided(CALL), decided(CALL, tenant="other", model="theirs"))),
        Batch(concluded=(concluded(CALL, tenant="other", outcome="cut"),)),
    )

    async def read() -> None:
        async with queried(place) as ours, queried(place, "other") as theirs:
            mine, yours = await ours.trace(CALL), await theirs.trace(CALL)
            assert mine is not None and yours is not None
            assert (mine.outcome, mine.model, len(mine.spans)) == ("open", "gpt-4o-mini", 0)
            assert (yours.outcome, yours.model, len(yours.spans)) == ("cut", "theirs", 2)

    asyncio.run(read())


def test_a_batch_is_written_whole_or_not_at_all(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, writing):
            before = await contents(writing)
            with pytest.raises(engine.StoreRowError, match="too large|out of int64 range"):
                await writer.apply(Batch((decided(CALL),), (concluded(CALL, cost=2**70),), marks=(MARK,)))
            assert await contents(writing) == before
            with pytest.raises(engine.StoreRowError, match="surrogates"):
                await writer.apply(Batch((decided(CALL, model="\ud800"),), marks=(MARK,)))
            with pytest.raises(engine.StoreRowError, match="NOT NULL|not-null"):
                await writer.apply(Batch((decided(CALL),), refused=(_nothing(),), marks=(MARK,)))
            assert await contents(writing) == before

    asyncio.run(run())


def test_marks_are_kept_by_lane(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, _):
            await writer.apply(Batch(marks=(MARK, Mark("b", 1, "1" * 64, START))))
            await writer.apply(Batch(marks=(msgspec.structs.replace(MARK, seq=9),)))
            assert {lane: mark.seq for lane, mark in (await writer.marks()).items()} == {LANE: 9, "b": 1}

    asyncio.run(run())


def test_old_calls_of_every_tenant_are_forgotten_in_whatever_order_they_came(place: Path) -> None:
    """After a rebuild from the journal the old stand behind the new."""
    new, old = call_id(START + 9_000_000), call_id(START)

    async def run() -> None:
        async with opened(place) as (writer, writing):
            for call in (new, old):
                await writer.apply(Batch(tuple(decided(call, tenant=tenant) for tenant in ("a", "b", "c"))))
            assert [await writer.forget(START + 5_000_000, 2) for _ in range(3)] == [2, 1, 0]
            left = [(row[0], row[2]) for row in (await contents(writing))["traces"]]
            assert sorted(left) == [(tenant, new) for tenant in ("a", "b", "c")]

    asyncio.run(run())


def test_old_calls_are_forgotten_with_all_they_have(place: Path) -> None:
    calls = [call_id(START + n * 1_000_000) for n in range(10)]
    parts = tuple(
        BodyPart("default", "default", call, "request", 0, True, None, None, 2, False, b"zz") for call in calls
    )
    counts = tuple(
        RefusedCount("default", "default", LANE, n, "UNAUTHORIZED", "no key", 5, START, START + n * 1_000_000)
        for n in range(10)
    )

    async def run() -> None:
        async with opened(place) as (writer, writing):
            await writer.apply(Batch(tuple(map(decided, calls)), tuple(map(concluded, calls)), counts, parts, (MARK,)))
            cutoff = START + 6_000_000
            assert [await writer.forget(cutoff, 4) for _ in range(3)] == [4, 2, 0]
            held = await contents(writing)
            assert {row[2] for row in held["traces"]} == set(calls[6:])
            assert {row[1] for row in held["spans"]} == set(calls[6:])
            assert {row[2] for row in held["bodies"]} == set(calls[6:])
            assert len(held["refusals"]) == 4
            assert list(await writer.marks()) == [LANE]

    asyncio.run(run())


@settings(max_examples=15)
@given(data=st.data())
def test_any_order_and_any_cut_into_batches_gives_the_same_tables(
    new_place: Callable[[], Path], data: st.DataObject
) -> None:
    calls = [call_id(START + n * 1000, n) for n in range(data.draw(st.integers(1, 6)))]
    halves: list[Decided | Concluded] = [decided(call) for call in calls]
    halves += [concluded(call) for call in calls if data.draw(st.booleans())]
    mixed = data.draw(st.permutations(halves))
    batches, at = [], 0
    while at < len(mixed):
        size = data.draw(st.integers(1, len(mixed)))
        batches.append(_batch(mixed[at : at + size]))
        at += size
    assert _stored(new_place(), *batches) == _stored(new_place(), _batch(halves))


def _batch(halves: list[Decided | Concluded]) -> Batch:
    return Batch(
        tuple(half for half in halves if isinstance(half, Decided)),
        tuple(half for half in halves if isinstance(half, Concluded)),
    )


def _nothing() -> RefusedCount:
    bad: Any = None
    return RefusedCount("default", "default", LANE, 9, None, bad, 5, START, START)
