"""Stores of every earlier release, with calls in them, become this release's, and answer as if they had always been.

What is tested follows from the migrations there are: a new one is covered without a change here.
"""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import Connection, MetaData, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.store import engine, version
from gatehouse.store.analytics import Analytics, Asked
from gatehouse.store.migrate import scripts
from gatehouse.store.queries import Queries, TraceFilter
from gatehouse.store.reading import Reader
from gatehouse.store.rows import Batch, BodyPart, Mark, RefusedCount
from gatehouse.store.schema import REVISION, metadata
from gatehouse.store.sight import Sight
from gatehouse.store.writing import StoreWriter
from tests.store import databases, random_calls
from tests.store.random_calls import SPAN
from tests.store.samples import LANE, START, call_id, concluded, contents, decided, opened

RELEASED = sorted(script.revision for script in scripts().walk_revisions() if script.revision != REVISION)
UNSPLIT: dict[str, Any] = dict.fromkeys(
    ("tokens_image_input", "tokens_image_output", "tokens_image_cache_read", "tokens_audio_cache_read")
)
UNKNOWN: dict[str, Any] = dict.fromkeys(("tags", "team", "environment", "service"))
"""The first releases did not count images and cached audio apart, and knew no tags, teams and services."""
PAIRS = [
    (msgspec.structs.replace(asked, **UNKNOWN), ended and msgspec.structs.replace(ended, **UNSPLIT))
    for asked, ended in random_calls.pairs(120, seed=3)
]
BODY = BodyPart(
    "default", "default", PAIRS[0][0].call, "request", 0, True, None, None, 4, False, zlib.compress(b"body")
)
COUNTED = RefusedCount("default", "default", LANE, 9, "UNAUTHORIZED", "no key", 5, START, START + 1)


def _upgrade_to(connection: Connection, revision: str) -> None:
    """As a release whose newest migration this was made its tables."""
    script = scripts()
    with EnvironmentContext(
        Config(), script, fn=lambda found, _: script._upgrade_revs(revision, found), destination_rev=revision
    ) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
    engine.sort_by_bytes(connection)


def _fill(connection: Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Whatever of these rows the tables have room for."""
    there = MetaData()
    there.reflect(connection)
    for name, found in rows.items():
        if name in there.tables and found:
            table = there.tables[name]
            connection.execute(
                table.insert(),
                [{key: row[key] for key in row if key in table.columns and key != "id"} for row in found],
            )


async def _rows(writing: AsyncEngine) -> dict[str, list[dict[str, Any]]]:
    async with engine.transaction(writing) as connection:
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }


async def _answers(writing: AsyncEngine) -> list[Any]:
    queries, analytics = Queries(writing, Sight("default")), Analytics(writing, Sight("default"))
    asked = Asked(since=START, until=START + SPAN, group_by=("provider", "key"), bucket="day")
    found: list[Any] = [
        await Reader(writing).report(datetime(2025, 11, 1, tzinfo=UTC), None),
        await queries.page(TraceFilter(), 100),
        await queries.page(TraceFilter(provider="openai", outcome=("ok",)), 100),
        await queries.body(BODY.call, "request"),
        *[await queries.trace(ask.call) for ask, _ in PAIRS],
    ]
    for name in ("usage", "cost", "latency", "errors", "models", "keys", "summary"):
        found.append(await getattr(analytics, name)(asked))
    found.append(await analytics.stats("7d", START, START + SPAN))
    return [msgspec.to_builtins(each) for each in found]


@pytest.mark.parametrize("revision", RELEASED)
def test_a_store_of_an_earlier_release(empty_place: Path, new_place: Any, revision: str) -> None:
    async def run() -> None:
        async with opened(new_place()) as (writer, writing):
            await random_calls.store(writer, PAIRS)
            await writer.apply(Batch(bodies=(BODY,), refused=(COUNTED,), marks=(Mark(LANE, 9, "0" * 64, START),)))
            rows, right, everything = await _rows(writing), await _answers(writing), await contents(writing)
        upgraded = engine.writer(databases.url(empty_place))
        try:
            async with engine.unhurried(upgraded) as connection:
                await connection.run_sync(_upgrade_to, revision)
                await connection.run_sync(_fill, rows)
            with pytest.raises(engine.StoreVersionError, match=f"{revision}, older than this release's {REVISION}"):
                await version.check(upgraded)
            assert await version.ensure(upgraded)
            assert not await version.ensure(upgraded)
            await version.check(upgraded)
            assert await _answers(upgraded) == right
            assert await contents(upgraded) == everything
            # And goes on.
            writer = StoreWriter(upgraded)
            assert (await writer.marks())[LANE].seq == 9
            await writer.apply(Batch((decided(call_id(START, 99)),), (concluded(call_id(START, 99)),)))
            assert await Queries(upgraded, Sight("default")).trace(call_id(START, 99)) is not None
        finally:
            await upgraded.dispose()

    asyncio.run(run())


def test_a_failed_migration_leaves_the_store_as_it_was(empty_place: Path) -> None:
    first = RELEASED[0]

    async def run() -> None:
        upgraded = engine.writer(databases.url(empty_place))
        try:
            async with engine.unhurried(upgraded) as connection:
                await connection.run_sync(_upgrade_to, first)
                # In the way of the next migration that makes anything.
                for table in metadata.sorted_tables:
                    await connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {table.name} (x INTEGER)")
            with pytest.raises(engine.StoreError, match="already exists"):
                await version.ensure(upgraded)
            with pytest.raises(engine.StoreVersionError, match=f"{first}, older"):
                await version.check(upgraded)
        finally:
            await upgraded.dispose()

    asyncio.run(run())
