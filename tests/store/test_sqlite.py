"""The store in a SQLite file: how it is made, opened and locked."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from gatehouse.store import engine, sqlite, version
from tests.store.samples import opened


def test_the_file_is_private_and_in_wal_mode(tmp_path: Path) -> None:
    directory = tmp_path / "odd # name? 100%41"
    directory.mkdir()

    async def run() -> None:
        async with opened(directory) as (_, writing), engine.transaction(writing) as connection:
            assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
            assert (await connection.exec_driver_sql("PRAGMA page_size")).scalar_one() == sqlite.PAGE_BYTES
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
        assert connection.execute("PRAGMA page_size").fetchone() == (sqlite.PAGE_BYTES,)


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
