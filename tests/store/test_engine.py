"""The store's file, its connections and their errors."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from gatehouse.errors import ConfigError
from gatehouse.store import engine, version
from tests.store.samples import opened


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a database URL"),
        ("oracle://u:secret@h/db", "oracle is not available"),
        ("mysql+aiomysql://u:secret@h/db", "not available"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///x.db?mode=ro", "name a file"),
        ("sqlite:///file:x.db", "name a file"),
    ],
)
def test_a_wrong_database_url_is_named_without_its_password(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match="database.url: ") as failure:
        engine.locate(tmp_path, url)
    assert says in str(failure.value)
    assert "secret" not in str(failure.value)


def test_the_store_is_in_the_data_directory_unless_configured(tmp_path: Path) -> None:
    assert engine.locate(tmp_path, None).database == str(tmp_path / "store.db")
    assert engine.locate(tmp_path, "sqlite:////var/x.db").database == "/var/x.db"
    assert engine.locate(tmp_path, "sqlite+aiosqlite:///y.db").database == str(tmp_path / "y.db")


def test_the_file_is_private_and_in_wal_mode(tmp_path: Path) -> None:
    directory = tmp_path / "odd # name? 100%41"
    directory.mkdir()

    async def run() -> None:
        async with opened(directory) as (_, writing), engine.transaction(writing) as connection:
            assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
            assert (await connection.exec_driver_sql("PRAGMA page_size")).scalar_one() == engine.PAGE_BYTES
        for path in directory.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    asyncio.run(run())
    assert (directory / "store.db").exists()


def test_the_writer_takes_the_write_lock_when_it_begins(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (_, writing), engine.transaction(writing):
            other = sqlite3.connect(tmp_path / "store.db", timeout=0)
            try:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("BEGIN IMMEDIATE")
            finally:
                other.close()

    asyncio.run(run())


def test_a_reader_reads_while_the_writer_writes_and_cannot_write(tmp_path: Path) -> None:
    async def run() -> None:
        reading = engine.reader(engine.locate(tmp_path, None))
        async with opened(tmp_path) as (_, writing):
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                async with engine.transaction(reading) as beside:
                    assert (await beside.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 0
            with pytest.raises(engine.StoreError, match="readonly"):
                async with engine.transaction(reading) as beside:
                    await beside.exec_driver_sql("DELETE FROM lanes")
            async with engine.transaction(reading) as beside:
                assert (await beside.exec_driver_sql("SELECT count(*) FROM lanes")).scalar_one() == 1
        await reading.dispose()

    asyncio.run(run())


def test_a_failed_transaction_leaves_nothing(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as (writer, writing):
            with pytest.raises(engine.StoreError, match="no such table|does not exist"):
                async with engine.transaction(writing) as connection:
                    await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
                    await connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
            assert await writer.marks() == {}

    asyncio.run(run())


def test_what_a_removed_store_left_behind_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    """Whoever removes `store.db` alone leaves its log: SQLite would replay it into the next store."""

    async def run() -> None:
        async with opened(tmp_path) as (_, writing):
            async with engine.transaction(writing) as connection:
                await connection.exec_driver_sql("INSERT INTO lanes VALUES ('x', 1, 'h', 1)")
            assert (tmp_path / "store.db-wal").stat().st_size
            (tmp_path / "store.db").unlink()
            async with opened(tmp_path) as (writer, _):
                assert await writer.marks() == {}

    asyncio.run(run())


def test_a_new_store_needs_no_change_of_mode(tmp_path: Path) -> None:
    """Who opens a file in WAL mode waits for others; who changes its mode is told at once that it is locked."""
    engine.writer(engine.locate(tmp_path, None))
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.db"]
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA page_size").fetchone() == (engine.PAGE_BYTES,)


def test_what_is_no_database_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, " * 1000)

    async def run() -> None:
        writing = engine.writer(engine.locate(tmp_path, None))
        try:
            with pytest.raises(engine.StoreError, match=r"store\.db failed: file is not a database"):
                await version.ensure(writing)
        finally:
            await writing.dispose()

    asyncio.run(run())


def test_a_directory_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(engine.StoreError, match=r"cannot open the store .*store\.db: No such file"):
        engine.writer(engine.locate(tmp_path / "missing", None))


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    url = engine.locate(tmp_path, None)
    assert engine.identity(url) is None
    with pytest.raises(engine.StoreMissingError, match="no store at"):
        engine.check_present(url)
    (tmp_path / "store.db").touch()
    first = engine.identity(url)
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(tmp_path / "store.db")
    assert engine.identity(url) not in (None, first)


_TAKE_ALL = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""
"""What the last connection does before it throws the log away (sqlite.org/lockingv3.html, the SHARED bytes)."""


def test_a_writer_made_beside_readers_takes_nothing_from_their_locks(tmp_path: Path) -> None:
    """Closing any descriptor of a file gives up all of a process's locks on it (fcntl(2)): the file would be spoilt."""
    url = engine.locate(tmp_path, None)

    async def run() -> int:
        first = engine.writer(url)
        await version.ensure(first)
        await first.dispose()
        reading = engine.reader(url)
        async with engine.transaction(reading) as connection:
            await connection.exec_driver_sql("SELECT count(*) FROM traces")
            writing = engine.writer(url)
            taking = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _TAKE_ALL, str(url.database), stderr=asyncio.subprocess.DEVNULL
            )
            status = await taking.wait()
        await writing.dispose()
        await reading.dispose()
        return status

    assert asyncio.run(run()) == 1
