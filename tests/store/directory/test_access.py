"""Where the directory is, how it comes to be, and that what was committed is on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from gatehouse.store import engine, version
from gatehouse.store.directory import access
from gatehouse.store.directory.schema import LINEAGE, REVISION, metadata
from gatehouse.store.migrate import scripts
from tests.store import databases, samples
from tests.store.directory.samples import bare, event, opened


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@pytest.mark.parametrize(
    ("store", "directory"),
    [
        (None, "store.directory.db"),
        ("sqlite:///calls.db", "calls.directory.db"),
        ("sqlite:///calls", "calls.directory.db"),
    ],
)
def test_the_directory_is_a_file_beside_the_store(tmp_path: Path, store: str | None, directory: str) -> None:
    assert access.located(engine.locate(tmp_path, store)).database == str(tmp_path / directory)


def test_on_a_server_it_is_in_the_stores_database(tmp_path: Path) -> None:
    url = engine.locate(tmp_path, "postgresql://u:p@h/d")
    assert access.located(url) == url


def test_migrated_tables_are_those_declared(place: Path) -> None:
    async def run() -> None:
        async with bare(place):
            # As the owner, whatever role the directory's own connections have.
            url = access.located(databases.url(place))
            owning = engine.writer(url)
            async with engine.transaction(owning) as connection:
                assert await connection.run_sync(_differences) == []
            await owning.dispose()

    asyncio.run(run())


def test_the_release_names_its_newest_migration() -> None:
    assert scripts(LINEAGE).get_heads() == [REVISION]


def test_preparing_twice_does_nothing_the_second_time(empty_place: Path) -> None:
    async def run() -> None:
        url = access.located(databases.url(empty_place))
        assert await access.prepare(url)
        assert not await access.prepare(url)
        reading = access.reader(url)
        async with reading.connect() as connection:
            assert not await version.is_due(connection, LINEAGE)
        await reading.dispose()

    asyncio.run(run())


def test_machines_that_prepare_at_once_take_turns(empty_place: Path) -> None:
    async def run() -> None:
        url = access.located(databases.url(empty_place))
        assert sorted(await asyncio.gather(*[access.prepare(url) for _ in range(3)])) == [False, False, True]

    asyncio.run(run())


def test_the_store_and_the_directory_are_migrated_apart(empty_place: Path) -> None:
    async def run() -> None:
        async with opened(empty_place) as made, samples.opened(empty_place) as (_, writing):
            assert not await version.ensure(writing)
            # The collector holds the store: the directory is written all the same.
            async with engine.transaction(writing) as collecting:
                await collecting.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                assert (await made.default.tenant()).name == "default"
                await made.default.record(event())

    asyncio.run(run())


def test_a_directory_of_a_newer_release_is_refused_untouched(empty_place: Path) -> None:
    async def run() -> None:
        url = access.located(databases.url(empty_place))
        await access.prepare(url)
        owning = engine.writer(url)
        async with engine.transaction(owning) as connection:
            await connection.exec_driver_sql("UPDATE directory_version SET version_num = '9999'")
        await owning.dispose()
        with pytest.raises(engine.StoreVersionError, match="directory's tables are at version 9999.* restore a backup"):
            await access.prepare(url)

    asyncio.run(run())


def test_the_file_is_private_and_synced_to_disk_at_every_commit(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as made, engine.transaction(made.writing) as connection:
            assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 2
            other = sqlite3.connect(tmp_path / "store.directory.db", timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()

    asyncio.run(run())
    assert stat.S_IMODE((tmp_path / "store.directory.db").stat().st_mode) == 0o600


def test_a_reader_cannot_write(empty_place: Path) -> None:
    async def run() -> None:
        async with bare(empty_place) as (_, reading):
            with pytest.raises(engine.StoreError, match="read-?only"):
                async with engine.transaction(reading) as connection:
                    await access.as_operator(connection)
                    await connection.exec_driver_sql("DELETE FROM dir_outbox")

    asyncio.run(run())


def test_a_server_whose_tables_are_up_to_date_never_loads_alembic(tmp_path: Path) -> None:
    url = access.located(engine.locate(tmp_path, None))
    asyncio.run(access.prepare(url))
    program = f"""
import asyncio, pathlib, sys
from gatehouse.store import engine
from gatehouse.store.directory import access, operator
print(asyncio.run(access.prepare(access.located(engine.locate(pathlib.Path({str(tmp_path)!r}), None)))))
print("alembic" in sys.modules, "asyncpg" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.split() == ["False", "False", "False"]
