"""The migrations make the tables that the code declares, from nothing and from every released version."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from gatehouse.store import engine, version
from gatehouse.store.migrate import scripts
from gatehouse.store.rows import TRACE_COLUMNS
from gatehouse.store.schema import REVISION, metadata, traces
from tests.store import databases
from tests.store.samples import opened


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def test_migrated_tables_are_those_declared(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (_, writing), engine.transaction(writing) as connection:
            assert await connection.run_sync(_differences) == []

    asyncio.run(run())


def test_the_release_names_its_newest_migration() -> None:
    assert scripts().get_heads() == [REVISION]


def test_a_calls_columns_are_its_rows_fields() -> None:
    assert [column.name for column in traces.columns][1:] == list(TRACE_COLUMNS)


def test_migrating_twice_does_nothing_the_second_time(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (_, writing):
            assert not await version.ensure(writing)
            await version.check(writing)

    asyncio.run(run())


def test_a_store_of_a_newer_release_is_refused_untouched(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (_, writing):
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
            for look in (version.ensure, version.check):
                with pytest.raises(engine.StoreVersionError, match="9999, made by a newer release"):
                    await look(writing)

    asyncio.run(run())


def test_a_store_of_no_release_is_refused_untouched(place: Path) -> None:
    """As a damaged file, or another program's: said, and no process dies of it."""

    async def run() -> None:
        async with opened(place) as (_, writing):
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000x'")
            with pytest.raises(engine.StoreVersionError, match="no release has .*0000x.*; move the store away"):
                await version.ensure(writing)
            async with engine.transaction(writing) as connection:
                found = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                assert found.scalar_one() == "0000x"

    asyncio.run(run())


def test_reading_an_older_or_empty_store_says_what_to_do(empty_place: Path) -> None:
    async def run() -> None:
        writing = engine.writer(databases.url(empty_place))
        try:
            with pytest.raises(engine.StoreMissingError, match="gatehouse serve"):
                await version.check(writing)
            await version.ensure(writing)
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
            with pytest.raises(engine.StoreVersionError, match="0000, older"):
                await version.check(writing)
        finally:
            await writing.dispose()

    asyncio.run(run())


def test_a_server_whose_tables_are_up_to_date_never_loads_alembic(tmp_path: Path) -> None:
    async def prepare() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(prepare())
    program = f"""
import asyncio, pathlib, sys
from gatehouse.store import engine, version
async def run():
    writing = engine.writer(engine.locate(pathlib.Path({str(tmp_path)!r}), None))
    print(await version.ensure(writing), "alembic" in sys.modules)
    await writing.dispose()
asyncio.run(run())
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.split() == ["False", "False"]
